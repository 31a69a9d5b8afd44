//! Findings as log lines of `run`: key=value, one line each, made for journald and its readers.

use std::io::{self, Write};

use jiff::Timestamp;
use tcpwnd_core::findings::{ClosedFlow, Finding, WindowSeen};

use super::held_back::{Port, Report};
use super::owner;
use super::table::Factor;
use crate::commands::session::Sink;
use crate::host::clock;

/// Writes findings as text.
pub struct Log<W> {
    out: W,
}

impl<W: Write> Log<W> {
    /// Writes to `out`.
    pub const fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> Log<W> {
    /// Says what was held back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn held_back(&mut self, report: &Report) -> io::Result<()> {
        let time = clock::rfc3339(Timestamp::now());
        let Report { sort, lines } = report;
        write!(
            self.out,
            "{time} {} lines={lines} of={}",
            Report::KIND,
            sort.of
        )?;
        for (name, value) in [("verdict", sort.verdict), ("cause", sort.cause)] {
            if let Some(value) = value {
                write!(self.out, " {name}={value}")?;
            }
        }
        match sort.port {
            Port::Local(port) => writeln!(self.out, " local_port={port}"),
            Port::Remote(port) => writeln!(self.out, " remote_port={port}"),
        }
    }
}

impl<W: Write> Sink for Log<W> {
    fn handshake(&mut self, finding: &Finding) -> io::Result<()> {
        if !finding.is_finding() {
            return Ok(());
        }
        let time = clock::rfc3339(clock::wall(finding.ktime_ns));
        writeln!(self.out, "{time} {}", finding_line(finding))
    }

    fn closed(&mut self, closed: &ClosedFlow) -> io::Result<()> {
        let time = clock::rfc3339(clock::wall(closed.ktime_ns));
        writeln!(
            self.out,
            "{time} closed local={} remote={} netns={} role={} bytes_received={} open_seconds={:.3}",
            closed.flow.local(),
            closed.flow.remote(),
            closed.flow.netns(),
            closed.role,
            closed.bytes_received,
            closed.open_seconds,
        )
    }

    fn window(&mut self, _: &WindowSeen) -> io::Result<()> {
        // `run` does not confirm.
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn finding_line(finding: &Finding) -> String {
    let mut line = format!(
        "{} cause={} local={} remote={} netns={} role={} path={}",
        finding.verdict.name(),
        finding.verdict.cause().unwrap_or("none"),
        finding.flow.local(),
        finding.flow.remote(),
        finding.flow.netns(),
        finding.role,
        finding.path,
    );
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            line.push_str(&format!(" {key}={value}"));
        }
    };
    let shift = |shift: Option<u8>| shift.map_or("none".to_owned(), |shift| shift.to_string());
    let receive = finding.receive;
    add(
        "advertised",
        receive.map(|receive| shift(receive.advertised)),
    );
    add("used", receive.map(|receive| shift(receive.used)));
    add(
        "factor",
        receive.map(|receive| Factor(receive.factor).to_string()),
    );
    add(
        "peer_window_bytes",
        receive.map(|receive| receive.peer_window_bytes.to_string()),
    );
    let send = finding.send.filter(|send| Factor(send.factor).is_damage());
    add(
        "send_factor",
        send.map(|send| Factor(send.factor).to_string()),
    );
    let ceiling = finding.impact.ceiling_bytes_per_second;
    let inputs: Vec<String> = finding
        .inputs
        .iter()
        .map(|(name, at)| format!("{name}:{}>{}", at.synack, at.ack))
        .collect();
    add("inputs", (!inputs.is_empty()).then(|| inputs.join(",")));
    add(
        "ceiling_bytes_per_second",
        ceiling.map(|ceiling| format!("{ceiling:.0}")),
    );
    owner::pairs(&finding.listener)
        .into_iter()
        .for_each(|(key, value)| add(key, Some(value)));
    line
}

#[cfg(test)]
mod tests {
    use tcpwnd_core::findings::Finding;

    use super::{Log, Sink};
    use crate::output::json::Json;
    use crate::output::table::{Style, Table};
    use crate::testing;

    /// What the log, JSON and the table make of it, the last two without and with `--all`.
    fn written(finding: &Finding) -> [String; 5] {
        let style = Style {
            wide: false,
            colour: false,
            roles: false,
        };
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        let table = |all| {
            let text = written(&|out| {
                let mut table = Table::new(out, style, all).unwrap();
                table.handshake(finding).unwrap();
            });
            text.replace(&format!("{}\n", style.header()), "")
        };
        let json = |all| written(&|out| Json::new(out, all).handshake(finding).unwrap());
        let log = written(&|out| Log::new(out).handshake(finding).unwrap());
        [log, json(false), json(true), table(false), table(true)]
    }

    #[test]
    fn what_is_ignored_is_written_only_with_all_and_is_marked() {
        let record = testing::unscaled(9092, 40_000);
        let mut engine = testing::engine().with_ignored(|_| true);
        let [log, json, all_json, table, all_table] =
            written(&testing::finding(&mut engine, &record));
        assert_eq!([log, json, table], [""; 3]);
        let verdict = r#""verdict":"scale_lost","cause":"peer_did_not_offer","ignored":true,"#;
        assert!(all_json.contains(verdict), "{all_json}");
        let end =
            " scale_lost peer_did_not_offer (ignored) (at most 328 kB/s each way at 200 ms RTT)\n";
        assert!(all_table.ends_with(end), "{all_table}");

        let anybody = written(&testing::finding(&mut testing::engine(), &record));
        for text in anybody {
            assert!(text.contains("peer_did_not_offer"), "{text}");
            assert!(!text.contains("(ignored)") && !text.contains("\"ignored\":true"));
        }
    }
}
