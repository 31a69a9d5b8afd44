//! The lines that `tcpwnd trace --json` prints, as far as the scenarios look at them.
//!
//! Constraint: written from the documented schema, not shared with the agent, so that a change of
//! the outward contract shows up here as a failure.

mod answer;
mod summary;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

pub use answer::{Answer, CarriedOver};
pub use summary::{Listener, ReceiveBuffer, Summary};

/// One line.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// A handshake and its verdict.
    Handshake(Box<Handshake>),
    /// A window that a connection under watch has sent.
    Window(Window),
    /// The end of a connection that had a finding.
    Closed(Closed),
    /// The books, at the end.
    Summary(Box<Summary>),
    /// What kept the agent from working.
    Error {
        /// One line.
        error: String,
    },
}

/// What an end of a connection is called.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Endpoint {
    addr: IpAddr,
    port: u16,
}

impl Endpoint {
    /// The same as a socket address.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        SocketAddr::new(self.addr, self.port)
    }
}

/// Which connection a line is about.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Flow {
    /// Inode of the network namespace.
    pub netns: u64,
    /// Index of the interface that the socket is bound to; 0 for none.
    pub ifindex: u32,
    /// The observed host's end.
    pub local: Endpoint,
    /// The peer's end.
    pub remote: Endpoint,
}

/// A handshake and its verdict.
#[derive(Debug, Clone, Deserialize)]
pub struct Handshake {
    /// `ok`, `mismatch`, `scale_lost` or `unverified`.
    pub verdict: String,
    /// Why, unless `ok`.
    pub cause: Option<String>,
    /// It is no finding, for its peer is one that never scales.
    pub ignored: bool,
    /// `server` or `client`: which end this host is.
    pub role: String,
    /// `normal`, `cookie`, `fast_open` or `unknown`.
    pub path: String,
    /// `established`, `died` or `closed_early`.
    pub outcome: String,
    /// Which connection.
    pub flow: Flow,
    /// Who listens where it came in.
    pub listener: Owner,
    /// The direction in which this host receives.
    pub receive: Option<Receive>,
    /// The direction in which this host sends.
    pub send: Option<Send>,
    /// What the damage comes to.
    pub impact: Impact,
    /// What the verdict rests on.
    pub evidence: Evidence,
    /// What the scale is computed from and changed between SYN+ACK and ACK, by name.
    #[serde(default)]
    pub inputs: BTreeMap<String, Changed>,
}

impl Handshake {
    /// The round-trip time that the ceiling is computed with: the handshake's for a SYN cookie,
    /// whose timestamp is up to 64 ticks older than its SYN+ACK.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        let Impact {
            srtt_us,
            handshake_us,
            ..
        } = self.impact;
        let us = if self.path == "cookie" {
            handshake_us.or(srtt_us)
        } else {
            srtt_us.or(handshake_us)
        };
        us.map(Duration::from_micros)
    }

    /// Scale in the SYN+ACK, as reported.
    #[must_use]
    pub fn advertised(&self) -> Option<u8> {
        self.receive.as_ref().and_then(|receive| receive.advertised)
    }

    /// Scale that the socket uses, as reported.
    #[must_use]
    pub fn used(&self) -> Option<u8> {
        self.receive.as_ref().and_then(|receive| receive.used)
    }
}

/// What a verdict rests on.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Evidence {
    /// The SYN+ACK.
    pub synack: Option<SynAck>,
}

/// A SYN+ACK.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct SynAck {
    /// Scale; none without the option.
    pub window_scale: Option<u8>,
    /// It carried timestamps.
    pub timestamps: bool,
    /// It permitted selective acknowledgements.
    pub sack: bool,
    /// It carried none of these; of a connection that this host accepted this is not said.
    pub bare: Option<bool>,
}

/// An input at both moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Changed {
    /// When the SYN+ACK was built.
    pub synack: i64,
    /// When the ACK of the cookie came.
    pub ack: i64,
}

/// How this host's windows arrive at the peer.
#[derive(Debug, Clone, Deserialize)]
pub struct Receive {
    /// Scale in the SYN+ACK; none without the option.
    pub advertised: Option<u8>,
    /// Scale of the socket; none without window scaling.
    pub used: Option<u8>,
    /// 2^(used − advertised).
    pub factor: f64,
    /// `none`, `too_small` or `overrun`.
    pub damage: String,
    /// The window as the peer computes it, in bytes.
    pub peer_window_bytes: u64,
}

/// How the peer's windows arrive at this host.
#[derive(Debug, Clone, Deserialize)]
pub struct Send {
    /// Scale in the SYN; none without the option.
    pub offered: Option<u8>,
    /// Scale by which the socket reads the peer's windows; none without window scaling.
    pub used: Option<u8>,
    /// How many times too small this host takes the window for.
    pub factor: f64,
    /// `none`, `too_small` or `overrun`.
    pub damage: String,
}

/// The largest segment that the server may send, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct SmallSegment {
    /// What both ends could take.
    pub possible: u16,
    /// What it keeps to.
    pub used: u16,
}

/// What the damage comes to.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Impact {
    /// Smoothed round-trip time, in microseconds; none where the kernel has not measured it.
    pub srtt_us: Option<u64>,
    /// From the SYN+ACK to the ACK, in microseconds.
    pub handshake_us: Option<u64>,
    /// Window per round trip of the direction that is held back most, in bytes per second.
    pub ceiling_bytes_per_second: Option<f64>,
    /// Segments that a SYN cookie made smaller.
    pub segment: Option<SmallSegment>,
}

/// Who has a listener open.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Owner {
    /// Name of its namespace; in the summary it stands beside the owners.
    #[serde(default)]
    pub netns_name: Option<String>,
    /// The process.
    pub process: Option<Process>,
    /// Path of the cgroup that the socket was made in.
    pub cgroup: Option<String>,
    /// The container.
    pub container: Option<Container>,
    /// The pod.
    pub pod: Option<Pod>,
    /// systemd's unit.
    pub unit: Option<String>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Others with the same socket.
    pub others: u32,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Container {
    /// What runs it.
    pub runtime: Option<String>,
    /// Its id.
    pub id: String,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pod {
    /// Its uid.
    pub uid: String,
}

/// A window that a connection under watch has sent.
#[derive(Debug, Clone, Deserialize)]
pub struct Window {
    /// Which connection.
    pub flow: Flow,
    /// The window that the kernel chose, in bytes.
    pub window_bytes: u32,
    /// The field of the TCP header, not scaled.
    pub on_wire: u32,
    /// The window as the peer computes it, in bytes.
    pub peer_window_bytes: u32,
    /// It bears the finding out.
    pub confirmed: bool,
}

/// The end of a connection that had a finding.
#[derive(Debug, Clone, Deserialize)]
pub struct Closed {
    /// `server` or `client`.
    pub role: String,
    /// Which connection.
    pub flow: Flow,
}
