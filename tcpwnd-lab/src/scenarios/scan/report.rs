//! What `tcpwnd scan --json` prints.
//!
//! Constraint: written from the documented schema, not shared with the agent.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::super::bench::Bench;
use crate::findings::Flow;

/// One line.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Suspect(Box<Suspect>),
    Scan(Box<Totals>),
    Error { error: String },
}

/// A suspect.
#[derive(Debug, Deserialize)]
pub struct Suspect {
    flow: Flow,
    /// The weights of its reasons, added up.
    pub score: u32,
    reasons: Vec<Reason>,
    settled: Option<Settled>,
}

#[derive(Debug, Deserialize)]
struct Reason {
    reason: String,
}

#[derive(Debug, Deserialize)]
#[expect(
    dead_code,
    reason = "printed when a suspect is settled wrongly, or not"
)]
struct Settled {
    verdict: String,
    advertised: Option<u8>,
    stops_at_edge: u32,
    window_sizes: u32,
    other_stops: u32,
    bytes: u64,
    consistent: Vec<u8>,
    why: Option<String>,
}

/// The last line.
#[derive(Debug, Deserialize)]
pub struct Totals {
    /// Connections of listeners.
    pub connections: u64,
    /// Connections of which nothing can be said.
    pub others: u64,
    /// How many are suspect.
    pub suspects: usize,
    /// What was not seen.
    pub unseen: Vec<String>,
    /// What came of watching.
    pub confirmed: Option<Confirmed>,
}

/// What came of watching.
#[derive(Debug, Deserialize)]
pub struct Confirmed {
    /// How many, by outcome.
    pub outcomes: BTreeMap<String, usize>,
}

/// Everything that a scan printed.
#[derive(Debug)]
pub struct Report {
    /// In the order printed.
    pub suspects: Vec<Suspect>,
    /// The last line.
    pub totals: Totals,
}

impl Report {
    /// Scans from the calling thread's namespace, without watching.
    pub fn of(bench: &Bench, more: &[&str]) -> Result<Self> {
        let mut arguments = vec!["scan", "--json", "--port", "9092"];
        arguments.extend(more);
        let done = bench.launch.command(&arguments).output();
        let done = done.context("failed to start tcpwnd")?;
        ensure!(
            done.status.code() == Some(0),
            "scan ended with {}: {}",
            done.status,
            String::from_utf8_lossy(&done.stderr)
        );
        let text = String::from_utf8_lossy(&done.stdout);
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        Self::read(&lines)
    }

    /// Reads its lines.
    pub fn read(lines: &[String]) -> Result<Self> {
        let (mut suspects, mut totals) = (Vec::new(), None);
        for line in lines {
            let parsed = serde_json::from_str(line)
                .with_context(|| format!("not a line of the schema: {line}"))?;
            match parsed {
                Line::Suspect(suspect) => suspects.push(*suspect),
                Line::Scan(line) => totals = Some(*line),
                Line::Error { error } => bail!("tcpwnd reported an error: {error}"),
            }
        }
        let totals = totals.context("no totals")?;
        Ok(Self { suspects, totals })
    }
}

impl Suspect {
    /// The peer.
    pub fn remote(&self) -> SocketAddr {
        self.flow.remote.address()
    }

    /// Whether it is suspect for this reason.
    pub fn has(&self, reason: &str) -> bool {
        self.reasons.iter().any(|at| at.reason == reason)
    }

    /// What was settled.
    pub fn verdict(&self) -> Result<&str> {
        let settled = self.settled.as_ref();
        settled
            .map(|settled| settled.verdict.as_str())
            .with_context(|| format!("it was not watched: {self:?}"))
    }

    /// What the peer was told, according to the verdict.
    pub fn advertised(&self) -> Option<u8> {
        self.settled.as_ref()?.advertised
    }
}
