//! The table for people: fixed columns with `bcc`'s words.
//!
//! Constraint: a column keeps its width whatever comes, except the last; so columns stay columns
//! for eyes and for awk.

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use jiff::tz::TimeZone;
use tcpwnd_core::findings::{ClosedFlow, Evidence, Finding, WindowSeen};
use tcpwnd_core::{LostCause, Verdict};

use crate::commands::session::Sink;
use crate::host::clock;

/// Width of an IPv4 address, and with -w of an IPv6 address, characters.
const NARROW: usize = 15;
const WIDE: usize = 39;

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'a> {
    /// Time of day, HH:MM:SS.
    pub time: String,
    /// This host's end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// Which end this host is.
    pub role: &'a str,
    /// How the connection came about.
    pub path: &'a str,
    /// Shift count that was announced; `None` without the option or without evidence.
    pub advertised: Option<u8>,
    /// Shift count that is used.
    pub used: Option<u8>,
    /// How many times too small this host's window looks to the peer.
    pub factor: Option<f64>,
    /// This host's window as the peer computes it, bytes.
    pub peer_window: Option<u64>,
    /// The verdict.
    pub verdict: &'a str,
    /// Its cause; empty for none.
    pub cause: &'a str,
    /// What is to be said of the cause; empty for nothing.
    pub note: &'a str,
    /// How many times too small the peer's window looks to this host, where that is not 1.
    pub send_factor: Option<f64>,
}

/// How the table is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// IPv6 addresses are not cut.
    pub wide: bool,
    /// Verdicts are coloured.
    pub colour: bool,
    /// There is a column for the role, as more than one is looked at or not the usual one.
    pub roles: bool,
}

impl Style {
    /// Characters that an address takes.
    #[must_use]
    pub fn addr_width(self) -> usize {
        if self.wide { WIDE } else { NARROW }
    }

    /// The first line.
    #[must_use]
    pub fn header(self) -> String {
        let w = self.addr_width();
        format!(
            "{:<8} {:<w$} {:>5} {:<w$} {:>5} {}{:<9} {:>3} {:>4} {:>7} {:>10} {:<10} CAUSE",
            "TIME",
            "LADDR",
            "LPORT",
            "RADDR",
            "RPORT",
            self.role("ROLE"),
            "PATH",
            "ADV",
            "USED",
            "FACTOR",
            "PEER_WND",
            "VERDICT",
        )
    }

    /// The column of the role with what stands before the next one, or nothing.
    fn role(self, text: &str) -> String {
        if self.roles {
            format!("{text:<6} ")
        } else {
            String::new()
        }
    }

    /// A line, without its end.
    #[must_use]
    pub fn row(self, row: &Row<'_>) -> String {
        let w = self.addr_width();
        let verdict = format!("{:<10}", row.verdict);
        let verdict = match (self.colour, row.verdict) {
            (true, "mismatch") => format!("\x1b[31m{verdict}\x1b[0m"),
            (true, "scale_lost") => format!("\x1b[33m{verdict}\x1b[0m"),
            _ => verdict,
        };
        let send = row
            .send_factor
            .map(|factor| format!(" (peer's window: {})", Factor(factor)));
        let line = format!(
            "{:<8} {:<w$} {:>5} {:<w$} {:>5} {}{:<9} {:>3} {:>4} {:>7} {:>10} {verdict} {}{}{}",
            row.time,
            address(row.local.ip(), w),
            row.local.port(),
            address(row.remote.ip(), w),
            row.remote.port(),
            self.role(row.role),
            row.path,
            dash(row.advertised),
            dash(row.used),
            dash(row.factor.map(Factor)),
            dash(row.peer_window),
            row.cause,
            row.note,
            send.unwrap_or_default(),
        );
        line.trim_end().to_owned()
    }
}

/// Writes findings, or every handshake, as lines of a table.
pub struct Table<W> {
    out: W,
    style: Style,
    all: bool,
    zone: TimeZone,
}

impl<W: Write> Table<W> {
    /// Begins with the header. With `all` every handshake is written, else findings only.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(mut out: W, style: Style, all: bool) -> io::Result<Self> {
        writeln!(out, "{}", style.header())?;
        out.flush()?;
        Ok(Self {
            out,
            style,
            all,
            zone: TimeZone::system(),
        })
    }

    /// Writes text below the table.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write> Sink for Table<W> {
    fn handshake(&mut self, finding: &Finding) -> io::Result<()> {
        if !self.all && !finding.verdict.is_finding() {
            return Ok(());
        }
        let time = clock::hms(clock::wall(finding.ktime_ns), &self.zone);
        writeln!(self.out, "{}", self.style.row(&Row::of(finding, time)))
    }

    fn closed(&mut self, _: &ClosedFlow) -> io::Result<()> {
        // The table is about handshakes; JSON has the rest.
        Ok(())
    }

    fn window(&mut self, _: &WindowSeen) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<'a> Row<'a> {
    fn of(finding: &'a Finding, time: String) -> Self {
        let receive = finding.receive;
        let send = finding.send.map(|send| send.factor);
        Self {
            time,
            local: finding.flow.local(),
            remote: finding.flow.remote(),
            role: finding.role.name(),
            path: finding.path.name(),
            note: note(finding),
            advertised: receive.and_then(|receive| receive.advertised),
            used: receive.and_then(|receive| receive.used),
            factor: receive.map(|receive| receive.factor),
            peer_window: receive.map(|receive| receive.peer_window_bytes),
            verdict: finding.verdict.name(),
            cause: finding.verdict.cause().unwrap_or_default(),
            send_factor: send.filter(|factor| Factor(*factor).is_damage()),
        }
    }
}

/// A factor that is a power of two, as people say it: 64, or 1/8.
pub struct Factor(pub f64);

impl Factor {
    /// Whether it is anything but 1.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        // Powers of two have no rounding errors.
        self.0 != 1.0
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.0 >= 1.0 {
            format!("{:.0}", self.0)
        } else {
            format!("1/{:.0}", 1.0 / self.0)
        };
        f.pad(&text)
    }
}

/// What else the SYN+ACK of a server did not grant: of a SYN cookie without timestamps, nothing.
fn note(finding: &Finding) -> &'static str {
    let (Verdict::ScaleLost(LostCause::PeerDidNotGrant), Evidence::Opened(evidence)) =
        (finding.verdict, &finding.evidence)
    else {
        return "";
    };
    let timestamps = evidence.synack.is_some_and(|synack| synack.timestamps);
    if evidence.is_bare() {
        ", nor timestamps nor SACK"
    } else if !timestamps && evidence.tcp_timestamps.established != 0 {
        ", nor timestamps"
    } else {
        ""
    }
}

/// A value, or a dash where it is not known.
pub fn dash(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// An address in `width` characters; where it is cut, the last one says so.
pub fn address(addr: IpAddr, width: usize) -> String {
    let mut text = addr.to_string();
    if text.len() > width {
        text.truncate(width - 1);
        text.push('~');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Row, Style};

    const PLAIN: Style = Style {
        wide: false,
        colour: false,
        roles: false,
    };

    fn row() -> Row<'static> {
        Row {
            time: "12:00:01".to_owned(),
            local: "10.9.0.1:9092".parse().unwrap(),
            remote: "10.9.0.2:40000".parse().unwrap(),
            role: "server",
            path: "cookie",
            advertised: Some(1),
            used: Some(7),
            factor: Some(64.0),
            peer_window: Some(1024),
            verdict: "mismatch",
            cause: "cookie_ignored_rcvbuf",
            note: "",
            send_factor: None,
        }
    }

    #[test]
    fn columns_are_aligned() {
        let lines = [PLAIN.header(), PLAIN.row(&row())].join("\n");
        let expected = "\
TIME     LADDR           LPORT RADDR           RPORT PATH      ADV USED  FACTOR   PEER_WND VERDICT    CAUSE
12:00:01 10.9.0.1         9092 10.9.0.2        40000 cookie      1    7      64       1024 mismatch   cookie_ignored_rcvbuf";
        assert_eq!(lines, expected);
    }

    #[test]
    fn there_is_a_column_for_the_role_where_it_is_asked_for() {
        let style = Style {
            roles: true,
            ..PLAIN
        };
        let row = Row {
            local: "10.9.0.2:40000".parse().unwrap(),
            remote: "10.9.0.1:9092".parse().unwrap(),
            role: "client",
            path: "normal",
            advertised: Some(7),
            used: None,
            factor: Some(1.0),
            peer_window: Some(64_240),
            verdict: "scale_lost",
            cause: "peer_did_not_grant",
            note: ", nor timestamps nor SACK",
            ..row()
        };
        let lines = [style.header(), style.row(&row)].join("\n");
        let expected = "\
TIME     LADDR           LPORT RADDR           RPORT ROLE   PATH      ADV USED  FACTOR   PEER_WND VERDICT    CAUSE
12:00:01 10.9.0.2        40000 10.9.0.1         9092 client normal      7    -       1      64240 scale_lost peer_did_not_grant, nor timestamps nor SACK";
        assert_eq!(lines, expected);
    }

    #[test]
    fn ipv6_is_cut_unless_wide() {
        let long = "[fd00:1111:2222:3333:4444:5555:6666:7777]:9092";
        let row = Row {
            local: long.parse().unwrap(),
            ..row()
        };
        let narrow = PLAIN.row(&row);
        assert!(narrow.contains(" fd00:1111:2222~  9092 "), "{narrow}");
        let wide = Style {
            wide: true,
            ..PLAIN
        }
        .row(&row);
        assert!(
            wide.contains(" fd00:1111:2222:3333:4444:5555:6666:7777  9092 "),
            "{wide}"
        );
    }

    #[test]
    fn what_is_unknown_is_a_dash() {
        let row = Row {
            advertised: None,
            used: None,
            factor: None,
            peer_window: None,
            verdict: "unverified",
            cause: "no_record",
            path: "unknown",
            ..row()
        };
        let line = PLAIN.row(&row);
        assert!(
            line.ends_with("unknown     -    -       -          - unverified no_record"),
            "{line}"
        );
    }

    #[test]
    fn overruns_and_the_other_direction_are_shown() {
        let row = Row {
            factor: Some(1.0 / 128.0),
            send_factor: Some(128.0),
            ..row()
        };
        let line = PLAIN.row(&row);
        assert!(line.contains("  1/128 "), "{line}");
        assert!(line.ends_with(" (peer's window: 128)"), "{line}");
    }

    #[test]
    fn colour_surrounds_the_padded_verdict() {
        let line = Style {
            colour: true,
            ..PLAIN
        }
        .row(&row());
        assert!(
            line.contains("\x1b[31mmismatch  \x1b[0m cookie_ignored_rcvbuf"),
            "{line:?}"
        );
    }
}
