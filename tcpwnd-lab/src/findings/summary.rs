//! The last line: the books.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Owner;

/// The books.
#[derive(Debug, Clone, Deserialize)]
pub struct Summary {
    /// Connections that left SYN_RECV, from the kernel programs' counters.
    pub handshakes: u64,
    /// Sound ones.
    pub ok: u64,
    /// Damaged: advertised and used differ.
    pub mismatch: u64,
    /// Damaged: no scaling although there could be.
    pub scale_lost: u64,
    /// The same, but for a peer that never scales: no finding.
    pub ignored: u64,
    /// Not judged for want of evidence.
    pub unverified: u64,
    /// Lost on the way, by stage; null where the kernel cannot tell.
    pub lost: BTreeMap<String, Option<u64>>,
    /// Whether the agent finds its books balanced.
    pub balanced: bool,
    /// Handshakes by role.
    pub roles: BTreeMap<String, u64>,
    /// Handshakes by path.
    pub paths: BTreeMap<String, u64>,
    /// One entry a listener.
    pub listeners: Vec<Listener>,
    /// What came of watching damaged connections.
    pub confirmation: Confirmation,
    /// One entry a probe.
    pub probes: Vec<Probe>,
    /// The programs' counters, by name.
    pub counters: BTreeMap<String, u64>,
    /// Damaged connections that were open at the end, by host.
    pub reconnect: Vec<Reconnect>,
    /// The agent's exit code.
    pub exit_code: i32,
}

/// What came of watching damaged connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Confirmation {
    /// Whose windows were looked at.
    pub watched: u64,
    /// Whose windows were sent with the scale of the finding.
    pub confirmed: u64,
    /// Whose windows were not.
    pub contradicted: u64,
}

/// Damaged connections with one host, and how to close them.
#[derive(Debug, Clone, Deserialize)]
pub struct Reconnect {
    /// How many.
    pub connections: usize,
    /// Commands for a shell.
    pub commands: Vec<String>,
}

impl Summary {
    /// Handshakes that were counted and then lost, over all stages.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let stages = self.lost.iter().filter(|(stage, _)| *stage != MISSED_RUNS);
        stages.filter_map(|(_, lost)| *lost).sum()
    }

    /// State changes that the kernel did not show to the agent's program, if it can tell. Each
    /// may have been a handshake, which was then not counted at all.
    #[must_use]
    pub fn missed_runs(&self) -> u64 {
        self.lost.get(MISSED_RUNS).copied().flatten().unwrap_or(0)
    }

    /// Changes of state that the first program did not see and another did, and the runs of all
    /// that the kernel says it skipped.
    ///
    /// # Errors
    /// When the summary lacks one of them.
    pub fn stood_in(&self) -> Result<(u64, Option<u64>)> {
        let stood_in = self.counters.get("stood_in").context("no stood_in")?;
        let mut probes = self.probes.iter();
        let changes = probes.find(|probe| probe.probe == "inet_sock_set_state");
        Ok((*stood_in, changes.context("no inet_sock_set_state")?.missed))
    }
}

/// The stage before any counting.
const MISSED_RUNS: &str = "missed_runs";

/// A listener's receive buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct ReceiveBuffer {
    /// sk_rcvbuf, bytes.
    pub bytes: u32,
    /// SO_RCVBUF was set.
    pub locked: bool,
}

/// A listener's cookies.
#[derive(Debug, Clone, Deserialize)]
pub struct Listener {
    /// Local port.
    pub port: u16,
    /// Inode of the network namespace.
    pub netns: u64,
    /// Its name.
    pub netns_name: Option<String>,
    /// Who has it open.
    pub owners: Vec<Owner>,
    /// SYN+ACKs built for it.
    pub synacks: u64,
    /// Those of them with a cookie.
    pub cookies_sent: u64,
    /// Valid cookies that came back.
    pub cookies_valid: u64,
    /// Cookies that did not check out.
    pub cookies_rejected: u64,
    /// Packets that the kernel dropped at it.
    pub drops: u64,
    /// Its receive buffer.
    pub receive_buffer: ReceiveBuffer,
    /// Valid cookies that became a connection.
    pub cookies_accepted: u64,
    /// SYNs and ACKs that were turned away while the accept queue was full.
    pub overflows: u64,
}

/// A probe.
#[derive(Debug, Clone, Deserialize)]
pub struct Probe {
    /// Its name.
    pub probe: String,
    /// `fentry`, `kprobe`, …; null where the probe is not there.
    pub mechanism: Option<String>,
    /// Runs of its programs.
    pub runs: u64,
    /// Runs that the kernel skipped, where it can tell.
    pub missed: Option<u64>,
}
