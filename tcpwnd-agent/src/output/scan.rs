//! What a scan found: a table for people, or JSON lines.
//!
//! Constraint: a suspect is never called a finding.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use tcpwnd_core::scan::{Outcome, Scan, Suspect, Why};

use crate::commands::confirm::Watched;

use super::json::Json;
use super::reconnect::Group;
use super::table::{Factor, Style, address, dash};

/// Kind of the JSON line that ends a scan.
pub const KIND: &str = "scan";

/// What a scan comes to, as JSON says it.
#[derive(Debug, Serialize)]
pub struct Totals {
    /// Network namespaces that were looked into.
    pub namespaces: usize,
    /// Connections that came through a listener that is still there.
    pub connections: u64,
    /// Connections of which nothing can be said: opened here, or their listener is gone.
    pub others: u64,
    /// How many connections are suspect.
    pub suspects: usize,
    /// How many of them for each reason.
    pub reasons: BTreeMap<&'static str, usize>,
    /// What could not be seen, and why, a sentence each.
    pub unseen: Vec<String>,
    /// What reading and comparing took, seconds.
    pub seconds: f64,
    /// What came of watching the suspects; `None` without that.
    pub confirmed: Option<Confirmed>,
    /// What the command ends with.
    pub exit_code: u8,
}

/// What came of watching the suspects.
#[derive(Debug, Serialize)]
pub struct Confirmed {
    /// Suspects that were watched.
    pub watched: usize,
    /// How many for each outcome.
    pub outcomes: BTreeMap<&'static str, usize>,
    /// Records that got lost on their way.
    pub records_lost: u64,
    /// Damaged connections that are open, and how to close them.
    pub reconnect: Vec<Group>,
}

impl Totals {
    /// Adds it up.
    #[must_use]
    pub fn new(scan: &Scan, namespaces: usize, unseen: Vec<String>, took: Duration) -> Self {
        let mut reasons: BTreeMap<_, _> = Why::ALL.iter().map(|why| (why.name(), 0)).collect();
        for reason in scan.suspects.iter().flat_map(|suspect| &suspect.reasons) {
            *reasons.entry(reason.reason.name()).or_default() += 1;
        }
        Self {
            namespaces,
            connections: scan.passive,
            others: scan.others,
            suspects: scan.suspects.len(),
            reasons,
            unseen,
            seconds: took.as_secs_f64(),
            confirmed: None,
            exit_code: 0,
        }
    }

    /// Notes what came of watching the suspects.
    pub fn confirmed(&mut self, scan: &Scan, watched: Watched, reconnect: Vec<Group>) {
        let mut outcomes: BTreeMap<_, _> = Outcome::ALL.iter().map(|at| (at.name(), 0)).collect();
        for suspect in &scan.suspects {
            *outcomes.entry(suspect.outcome().name()).or_default() += 1;
        }
        self.confirmed = Some(Confirmed {
            watched: watched.suspects,
            outcomes,
            records_lost: watched.records_lost,
            reconnect,
        });
    }

    /// The same for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{} of {} connections are suspect, in {} network namespace{}; looked at in {:.2} s",
            self.suspects,
            self.connections,
            self.namespaces,
            if self.namespaces == 1 { "" } else { "s" },
            self.seconds
        );
        if self.others > 0 {
            let _ = writeln!(
                out,
                "  {} others were opened by this host, or their listener is gone: nothing can be \
                 said of them",
                self.others
            );
        }
        for (reason, count) in self.reasons.iter().filter(|(_, count)| **count > 0) {
            let _ = writeln!(out, "  {reason:<26} {count}");
        }
        if let Some(confirmed) = &self.confirmed {
            confirmed.describe(&mut out);
        }
        if !self.unseen.is_empty() {
            out.push_str("not seen:\n");
        }
        for unseen in &self.unseen {
            let _ = writeln!(out, "  {unseen}");
        }
        if self.suspects > 0 && self.confirmed.is_none() {
            out.push_str(
                "a suspect is no finding: what the SYN+ACK announced is recorded nowhere (--confirm \
                 watches what the peers do)\n",
            );
        }
        out
    }
}

impl Confirmed {
    fn describe(&self, out: &mut String) {
        let outcomes: Vec<_> = self
            .outcomes
            .iter()
            .map(|(outcome, count)| format!("{count} {outcome}"))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{} watched: {}", self.watched, outcomes.join(", "));
        if self.records_lost > 0 {
            let _ = writeln!(
                out,
                "  {} records were lost on their way",
                self.records_lost
            );
        }
        if self.reconnect.is_empty() {
            return;
        }
        let _ = writeln!(
            out,
            "what to do: reconnect the damaged clients; closing the connection heals it (tcpwnd \
             check says what makes it happen again)"
        );
        for group in &self.reconnect {
            let _ = writeln!(out, "  {}: {}", group.host, group.connections);
            for command in &group.commands {
                let _ = writeln!(out, "    {command}");
            }
        }
    }
}

/// Writes the suspects and what they come to as a table.
///
/// # Errors
/// When it cannot be written.
pub fn table(mut out: impl Write, style: Style, scan: &Scan, totals: &Totals) -> io::Result<()> {
    if !scan.suspects.is_empty() {
        writeln!(out, "{}", header(style))?;
    }
    for suspect in &scan.suspects {
        writeln!(out, "{}", row(style, suspect))?;
    }
    out.write_all(totals.text().as_bytes())?;
    out.flush()
}

fn header(style: Style) -> String {
    let w = style.addr_width();
    format!(
        "{:<w$} {:>5} {:<w$} {:>5} {:>4} {:>8} {:>8} {:>7} {:>5} {:<10} {:>4} REASONS",
        "LADDR",
        "LPORT",
        "RADDR",
        "RPORT",
        "USED",
        "LISTENER",
        "SIBLINGS",
        "FACTOR",
        "SCORE",
        "VERDICT",
        "TOLD"
    )
}

fn row(style: Style, suspect: &Suspect) -> String {
    let w = style.addr_width();
    let (local, remote) = (suspect.flow.local(), suspect.flow.remote());
    let reasons: Vec<_> = suspect.reasons.iter().map(|at| at.reason.name()).collect();
    let settled = suspect.settled.as_ref();
    let verdict = settled.map_or("suspect", |settled| settled.verdict.name());
    let verdict = match (style.colour, verdict) {
        (true, "mismatch") => format!("\x1b[31m{verdict:<10}\x1b[0m"),
        _ => format!("{verdict:<10}"),
    };
    let factor = settled
        .and_then(|settled| settled.factor)
        .or(suspect.factor);
    format!(
        "{:<w$} {:>5} {:<w$} {:>5} {:>4} {:>8} {:>8} {:>7} {:>5} {verdict} {:>4} {}",
        address(local.ip(), w),
        local.port(),
        address(remote.ip(), w),
        remote.port(),
        dash(suspect.used),
        dash(suspect.listener),
        dash(suspect.siblings.map(|siblings| siblings.scale)),
        dash(factor.map(Factor)),
        suspect.score,
        dash(settled.and_then(|settled| settled.advertised)),
        reasons.join(",")
    )
}

/// Writes the suspects and what they come to as JSON lines.
///
/// # Errors
/// When it cannot be written.
pub fn json(out: impl Write, scan: &Scan, totals: &Totals) -> io::Result<()> {
    let mut json = Json::new(out, true);
    for suspect in &scan.suspects {
        json.now(Suspect::KIND, suspect)?;
    }
    json.now(KIND, totals)?;
    json.end()
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
