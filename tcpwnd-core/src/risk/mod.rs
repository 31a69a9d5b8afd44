//! Is a host at risk: what its settings, its counters and its listeners say before anything is
//! watched.
//!
//! Constraint: each finding says what was read. What could not be read is said too, and is never
//! taken to be in order.

mod counters;
mod listener;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::label::labels;
use serde::Serialize;

pub use listener::{ListenerReport, Scale};

/// Listen queues that are shorter than this are worth a word, connections: what a rolling restart
/// brings in the time of a round trip.
pub const QUEUE: u32 = 1_024;

labels! {
    /// How much a finding matters.
    Level {
        /// In order.
        Ok = "ok",
        /// Worth knowing; damages nothing by itself.
        Notice = "notice",
        /// Connections will be damaged if clients come all at once, or are already.
        Risk = "risk",
    }
}

/// What was read of a host: its settings, counters and listeners, all of one network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Settings.
    pub settings: Settings,
    /// TcpExt of /proc/net/netstat, by name; empty where it could not be read.
    pub counters: BTreeMap<String, u64>,
    /// Listening TCP sockets; `None` where the kernel did not list them.
    pub listeners: Option<Vec<Listener>>,
    /// What could not be seen, and why, a sentence each.
    pub unseen: Vec<String>,
}

/// Settings below /proc/sys; `None` for what could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// `net.ipv4.tcp_syncookies`.
    pub tcp_syncookies: Option<u32>,
    /// `net.ipv4.tcp_timestamps`.
    pub tcp_timestamps: Option<u32>,
    /// `net.ipv4.tcp_window_scaling`.
    pub tcp_window_scaling: Option<u32>,
    /// `net.core.somaxconn`, connections.
    pub somaxconn: Option<u32>,
    /// `net.ipv4.tcp_max_syn_backlog`, connections.
    pub tcp_max_syn_backlog: Option<u32>,
    /// `tcp_rmem[1]`, bytes: the receive buffer of a socket that nobody has set.
    pub tcp_rmem_default: Option<u32>,
    /// `tcp_rmem[2]`, bytes.
    pub tcp_rmem_max: Option<u32>,
    /// `net.core.rmem_max`, bytes.
    pub rmem_max: Option<u32>,
    /// `net.ipv4.tcp_adv_win_scale`, where this kernel heeds it.
    pub tcp_adv_win_scale: Option<i8>,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Local address.
    pub addr: IpAddr,
    /// Local port.
    pub port: u16,
    /// Connections that wait for accept().
    pub queue_len: u32,
    /// How many may: the smaller of listen()'s backlog and `somaxconn` at that moment.
    pub queue_limit: u32,
    /// Receive buffer, bytes; `None` where the kernel did not say.
    pub rcvbuf: Option<u32>,
    /// Who has it open, as far as that could be seen.
    pub process: Option<Process>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, of at most 15 bytes.
    pub name: String,
    /// It is a Kafka broker, by its command line.
    pub kafka: bool,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What was looked at.
    pub about: &'static str,
    /// What was read.
    pub read: String,
    /// Why it matters, in a sentence.
    pub why: String,
    /// What to do, most useful first; empty where nothing is to be done.
    pub remedies: Vec<Remedy>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// What to set, or to do.
    pub what: &'static str,
    /// What it is now.
    pub present: Option<i64>,
    /// What to set it to.
    pub proposed: Option<i64>,
}

/// What was made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assessment {
    /// The highest level of all findings; never `ok` where something that counts was not seen.
    pub level: Level,
    /// The settings as they were read.
    pub settings: Settings,
    /// What the settings say.
    pub findings: Vec<Finding>,
    /// The counters that were looked at; without those that the kernel does not have.
    pub counters: BTreeMap<&'static str, u64>,
    /// What the counters say that are not 0.
    pub happened: Vec<Finding>,
    /// The listeners, by port; `None` where the kernel did not list them.
    pub listeners: Option<Vec<ListenerReport>>,
    /// What could not be seen, and why.
    pub unseen: Vec<String>,
}

impl Finding {
    fn new(level: Level, about: &'static str, read: impl ToString, why: impl Into<String>) -> Self {
        Self {
            level,
            about,
            read: read.to_string(),
            why: why.into(),
            remedies: Vec::new(),
        }
    }

    fn set(
        mut self,
        what: &'static str,
        present: impl Into<i64>,
        proposed: impl Into<i64>,
    ) -> Self {
        self.remedies.push(Remedy {
            what,
            present: Some(present.into()),
            proposed: Some(proposed.into()),
        });
        self
    }

    fn instead(mut self, what: &'static str) -> Self {
        self.remedies.push(Remedy {
            what,
            present: None,
            proposed: None,
        });
        self
    }
}

/// Says how a host stands.
#[must_use]
pub fn assess(host: &Host) -> Assessment {
    let settings = &host.settings;
    let listeners = host.listeners.as_deref().map(|all| {
        let reports = all.iter().map(|one| ListenerReport::of(one, settings));
        let mut reports: Vec<_> = reports.collect();
        reports.sort_by_key(|listener| (listener.port, listener.addr));
        reports
    });
    let findings = settings::findings(settings);
    let happened = counters::findings(&host.counters, settings);
    let levels = findings.iter().chain(&happened).map(|one| one.level);
    let of_listeners = listeners.iter().flatten().map(|one| one.level);
    let least = if host.is_seen() {
        Level::Ok
    } else {
        Level::Notice
    };
    Assessment {
        level: levels.chain(of_listeners).fold(least, Level::max),
        settings: *settings,
        findings,
        counters: counters::looked_at(&host.counters),
        happened,
        listeners,
        unseen: host.unseen.clone(),
    }
}

impl Host {
    /// Whether everything was read that can make a difference.
    fn is_seen(&self) -> bool {
        self.settings.are_seen() && !self.counters.is_empty() && self.listeners.is_some()
    }
}
