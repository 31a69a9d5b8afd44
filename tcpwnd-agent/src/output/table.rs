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

use super::impact;
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
    pub note: String,
    /// How many times too small the peer's window looks to this host, where that is not 1.
    pub send_factor: Option<f64>,
    /// What the connection can do at most, where it is held back.
    pub impact: Option<String>,
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
            .map(|factor| format!("peer's window: {}", Factor(factor)));
        let more: Vec<_> = [send, row.impact.clone()].into_iter().flatten().collect();
        let more = if more.is_empty() {
            String::new()
        } else {
            format!(" ({})", more.join("; "))
        };
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
            more,
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
        if !self.all && !finding.is_finding() {
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
        let ignored = if finding.ignored { " (ignored)" } else { "" };
        Self {
            time,
            local: finding.flow.local(),
            remote: finding.flow.remote(),
            role: finding.role.name(),
            path: finding.path.name(),
            note: format!("{}{ignored}", not_granted(finding)),
            advertised: receive.and_then(|receive| receive.advertised),
            used: receive.and_then(|receive| receive.used),
            factor: receive.map(|receive| receive.factor),
            peer_window: receive.map(|receive| receive.peer_window_bytes),
            verdict: finding.verdict.name(),
            cause: finding.verdict.cause().unwrap_or_default(),
            send_factor: send.filter(|factor| Factor(*factor).is_damage()),
            impact: impact::text(&finding.impact),
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
fn not_granted(finding: &Finding) -> &'static str {
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
#[path = "table_tests.rs"]
mod tests;
