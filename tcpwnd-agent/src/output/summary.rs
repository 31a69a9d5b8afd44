//! The end of a trace: what was seen, whether it adds up, and what to do.
//!
//! Constraint: every figure comes from the books or from the programs' counters; nothing is
//! computed here but the words.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;
use tcpwnd_common::{Counter, ListenerSlot};
use tcpwnd_core::books::{Books, Totals};

use super::confirmation::Confirmation;
use super::impact::Worst;
use super::listener::Listener;
use super::reconnect::Group;
use super::remedy::{self, Hints, Queue};
use crate::host::settings::Settings;
use crate::host::who::Directory;
use crate::probes::{CountersSnapshot, ProbeStatus};

/// Listeners that the text lists; JSON has all.
const LISTED: usize = 10;

/// Kind of the JSON line.
pub const KIND: &str = "summary";

/// Everything that a summary says, as JSON says it.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The books.
    #[serde(flatten)]
    pub totals: Totals,
    /// Every listener that sent a SYN+ACK.
    pub listeners: Vec<Listener>,
    /// The damaged direction that is held back most.
    pub worst: Option<Worst>,
    /// What came of watching damaged connections.
    pub confirmation: Confirmation,
    /// What became of each hook.
    pub probes: Vec<Probe>,
    /// The programs' counters.
    pub counters: BTreeMap<&'static str, u64>,
    /// What to do, most useful first.
    pub remedy: Vec<String>,
    /// Damaged connections that were open at the end, and how to close them.
    pub reconnect: Vec<Group>,
    /// What the trace ends with.
    pub exit_code: u8,
}

/// A hook.
#[derive(Debug, Serialize)]
pub struct Probe {
    probe: &'static str,
    mechanism: Option<&'static str>,
    symbol: &'static str,
    reason: Option<String>,
    runs: u64,
    missed: Option<u64>,
}

impl Summary {
    /// Puts it together; the exit code is decided later.
    #[must_use]
    pub fn new(
        totals: Totals,
        listeners: &[ListenerSlot],
        directory: &Directory,
        probes: Vec<ProbeStatus>,
        counters: &CountersSnapshot,
    ) -> Self {
        let counters = Counter::ALL
            .iter()
            .map(|counter| (counter.name(), counters.get(*counter)));
        Self {
            totals,
            listeners: listeners
                .iter()
                .map(|slot| Listener::of(slot, directory))
                .collect(),
            worst: None,
            confirmation: Confirmation::default(),
            probes: probes.into_iter().map(Probe::of).collect(),
            counters: counters.collect(),
            remedy: Vec::new(),
            reconnect: Vec::new(),
            exit_code: 0,
        }
    }

    /// Adds what it comes to and what to do.
    pub fn advise(&mut self, hints: &Hints, settings: &Settings, reconnect: Vec<Group>) {
        let busiest = self.listeners.iter().max_by_key(|at| at.cookies_sent);
        let queue = busiest.map(|listener| Queue {
            limit: listener.accept_queue.limit,
            cookies: listener.cookies_sent,
        });
        self.worst = hints.worst;
        self.remedy = remedy::steps(hints, settings, queue);
        self.reconnect = reconnect;
    }

    /// Why the result cannot be relied on; empty when it can.
    #[must_use]
    pub fn doubts(&self, min_handshakes: u64) -> Vec<String> {
        let totals = &self.totals;
        let count = |counter: Counter| self.counters.get(counter.name()).copied().unwrap_or(0);
        let mut doubts = Vec::new();
        let mut doubt = |number: u64, text: &str| {
            if number > 0 {
                doubts.push(format!("{} {text}", grouped(number)));
            }
        };
        doubt(
            totals.lost.transport,
            "handshakes found no room in the ring buffer (raise --ring-bytes)",
        );
        doubt(
            totals.lost.decode,
            "records could not be decoded (agent and programs differ)",
        );
        doubt(
            count(Counter::SocketUnreadable),
            "sockets could not be read when they changed state",
        );
        doubt(
            totals.lost.missed_runs.unwrap_or(0),
            "changes of state were skipped by the kernel",
        );
        if !totals.balanced {
            doubts.push(
                "the books do not balance: handshakes were lost on an unknown way".to_owned(),
            );
        }
        if totals.judged < min_handshakes {
            doubts.push(format!(
                "{} handshakes were judged, fewer than the {} of --min-handshakes",
                grouped(totals.judged),
                grouped(min_handshakes)
            ));
        }
        doubts
    }

    /// The text for people.
    #[must_use]
    pub fn text(&self, books: &Books, took: Duration, doubts: &[String]) -> String {
        let mut out = String::from("\n");
        let mut line = |text: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{text}");
        };
        line(self.verdict());
        line(self.counts(took));
        let mut busiest: Vec<&Listener> = self.listeners.iter().collect();
        busiest.sort_by_key(|listener| Reverse((listener.cookies_sent, listener.synacks)));
        for listener in busiest.iter().take(LISTED) {
            line(listener.text(books, &self.listeners));
            for owner in listener.owners() {
                line(format!("  {owner}"));
            }
        }
        if busiest.len() > LISTED {
            line(format!("and {} listeners more", busiest.len() - LISTED));
        }
        for text in opened(books) {
            line(text);
        }
        if let Some(worst) = &self.worst {
            line(worst.text());
        }
        self.confirmation.text().into_iter().for_each(&mut line);
        for doubt in doubts {
            line(format!("inconclusive: {doubt}"));
        }
        if !self.remedy.is_empty() {
            line("what to do, in this order:".to_owned());
        }
        for (number, step) in self.remedy.iter().enumerate() {
            line(format!("  {}. {step}", number + 1));
            if step.starts_with(remedy::RECONNECT) {
                self.commands().into_iter().for_each(&mut line);
            }
        }
        out
    }

    /// The damaged connections that are open, and what closes them.
    fn commands(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for group in self.reconnect.iter().take(LISTED) {
            let count = grouped(group.connections as u64);
            let how = if group.commands.is_empty() {
                format!(", in network namespace {}", group.netns)
            } else {
                ", closed by".to_owned()
            };
            lines.push(format!("     {count} open with {}{how}", group.host));
            lines.extend(
                group
                    .commands
                    .iter()
                    .map(|command| format!("       {command}")),
            );
        }
        if self.reconnect.len() > LISTED {
            let more = self.reconnect.len() - LISTED;
            lines.push(format!("     and {more} groups more (-j has them)"));
        }
        lines
    }

    fn verdict(&self) -> String {
        let totals = &self.totals;
        match (totals.mismatch, totals.scale_lost) {
            (0, 0) if totals.judged > 0 => "no damaged connection was seen".to_owned(),
            (0, 0) if totals.ignored > 0 => "no handshake was judged but ignored ones".to_owned(),
            (0, 0) => "no handshake was judged".to_owned(),
            (mismatch, lost) => {
                let mut parts = Vec::new();
                if mismatch > 0 {
                    parts.push(format!("{} with a wrong window scale", grouped(mismatch)));
                }
                if lost > 0 {
                    parts.push(format!("{} without window scaling", grouped(lost)));
                }
                format!("damaged connections: {}", parts.join(", "))
            }
        }
    }

    fn counts(&self, took: Duration) -> String {
        let totals = &self.totals;
        let mut parts = vec![format!("{} ok", grouped(totals.ok))];
        let mut part = |number: u64, name: &str| {
            if number > 0 {
                parts.push(format!("{} {name}", grouped(number)));
            }
        };
        part(totals.mismatch, "mismatch");
        part(totals.scale_lost, "scale_lost");
        part(totals.ignored, "ignored");
        let unexplained =
            totals.unverified - totals.unverified_before_start - totals.not_established;
        part(unexplained, "unverified");
        part(totals.unverified_before_start, "older than the trace");
        part(totals.not_established, "never established");
        part(totals.lost.events(), "lost");
        part(
            totals.lost.filtered_out_in_user_space,
            "left out by the filter",
        );
        let causes: Vec<String> = totals
            .causes
            .iter()
            .map(|(cause, count)| format!("{cause} {}", grouped(*count)))
            .collect();
        let causes = if causes.is_empty() {
            String::new()
        } else {
            format!(" ({})", causes.join(", "))
        };
        let took = humantime::format_duration(Duration::from_secs(took.as_secs()));
        let handshakes = grouped(totals.handshakes);
        format!(
            "{handshakes} handshakes in {took}: {}{causes}",
            parts.join(", ")
        )
    }
}

/// What was opened here, by the port that it leads to, the busiest first.
fn opened(books: &Books) -> Vec<String> {
    let mut ports: Vec<_> = books.remote_ports().collect();
    ports.sort_by_key(|(port, counts)| (Reverse(counts.handshakes()), *port));
    let listed = ports.iter().take(LISTED).map(|(port, counts)| {
        let damaged = counts.mismatches() + counts.scales_lost();
        format!(
            "opened to :{port}: {} connections, {} of them damaged",
            grouped(counts.handshakes()),
            grouped(damaged)
        )
    });
    let mut lines: Vec<_> = listed.collect();
    if ports.len() > LISTED {
        lines.push(format!("and to {} ports more", ports.len() - LISTED));
    }
    lines
}

impl Probe {
    fn of(status: ProbeStatus) -> Self {
        Self {
            probe: status.probe.name(),
            mechanism: status.mechanism.map(crate::probes::Mechanism::name),
            symbol: status.symbol,
            reason: status.reason,
            runs: status.runs,
            missed: status.missed,
        }
    }
}

/// A number with commas.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
