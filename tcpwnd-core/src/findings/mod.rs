//! The schema of what is reported, version 1: what `trace`, `run` and every later source print.
//!
//! Constraint: core has no clock; whoever prints a line says what time it was.

mod evidence;
mod listener;
mod opened;
mod place;
#[cfg(test)]
mod tests;

pub use evidence::{
    AcceptQueue, AcceptedEvidence, AckEvidence, ChildEvidence, InputsEvidence, SynAckEvidence,
    SynEvidence,
};
pub use listener::{Listener, Process};
pub use opened::{GrantEvidence, OfferEvidence, OpenedEvidence, SettingEvidence};
pub use place::{Container, Place, Pod};

use crate::detect::window_scale::{ChangedInput, Damage, Held, Path, Role, Segment, Verdict};
use crate::flow::Flow;
use crate::label::labels;
use serde::Serialize;
use std::collections::BTreeMap;

/// Version of the schema: the field `schema` of every line.
pub const SCHEMA: u32 = 1;

/// One line of output: what every kind has in common, around what it says.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'a, T> {
    schema: u32,
    kind: &'static str,
    time: &'a str,
    #[serde(flatten)]
    body: T,
}

impl<'a, T: Serialize> Line<'a, T> {
    /// A line of `kind` at `time` (RFC 3339, UTC, microseconds).
    pub fn new(kind: &'static str, time: &'a str, body: T) -> Self {
        Self {
            schema: SCHEMA,
            kind,
            time,
            body,
        }
    }
}

labels! {
    /// Where a connection went from SYN_RECV, or SYN_SENT.
    Outcome {
        /// To ESTABLISHED.
        Established = "established",
        /// To CLOSE, by a reset or because its child was dropped.
        Died = "died",
        /// To FIN_WAIT1: the application closed it before the ACK came.
        ClosedEarly = "closed_early",
    }
}

impl From<tcpwnd_common::Outcome> for Outcome {
    fn from(outcome: tcpwnd_common::Outcome) -> Self {
        match outcome {
            tcpwnd_common::Outcome::Established => Self::Established,
            tcpwnd_common::Outcome::Died => Self::Died,
            tcpwnd_common::Outcome::ClosedEarly => Self::ClosedEarly,
        }
    }
}

/// A handshake that ended, judged: kind `handshake`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// When it left SYN_RECV or SYN_SENT, nanoseconds of CLOCK_MONOTONIC.
    #[serde(skip)]
    pub ktime_ns: u64,
    /// The kernel will report its end.
    #[serde(skip)]
    pub tracked: bool,
    /// The kernel will report its next windows.
    #[serde(skip)]
    pub watched: bool,
    /// The verdict and its cause.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Scaling was lost by the doing of a peer that was said not to be worth a finding.
    pub ignored: bool,
    /// Which end this host is.
    pub role: Role,
    /// How the connection came about.
    pub path: Path,
    /// Where it went from SYN_RECV or SYN_SENT.
    pub outcome: Outcome,
    /// Which connection.
    pub flow: Flow,
    /// Where it came in, and who listens there.
    pub listener: Listener,
    /// This host's windows as the peer reads them.
    pub receive: Option<Receive>,
    /// The peer's windows as this host reads them.
    pub send: Option<Send>,
    /// What the damage comes to.
    pub impact: Impact,
    /// For a mismatch by cookie: what its shift count is computed from and was not the same when
    /// the SYN+ACK was built and when its ACK came, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<&'static str, ChangedInput>,
    /// What the verdict rests on.
    pub evidence: Evidence,
}

impl Finding {
    /// Kind of the line.
    pub const KIND: &'static str = "handshake";

    /// Whether it is worth a line by itself: what [`Verdict::is_finding`] says, unless it is
    /// ignored.
    #[must_use]
    pub const fn is_finding(&self) -> bool {
        !self.ignored && self.verdict.is_finding()
    }

    /// Whether the connection counts as damaged: what [`Verdict::is_damaged`] says, unless it is
    /// ignored.
    #[must_use]
    pub const fn is_damaged(&self) -> bool {
        !self.ignored && self.verdict.is_damaged()
    }
}

/// What a verdict rests on, by the role of this host.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Evidence {
    /// Of a connection that it accepted.
    Accepted(AcceptedEvidence),
    /// Of one that it opened.
    Opened(OpenedEvidence),
}

/// This host's windows as the peer reads them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Receive {
    /// Shift count in this host's SYN+ACK or SYN; `None` without the option, or where it is not
    /// known of a SYN.
    pub advertised: Option<u8>,
    /// Shift count of the socket; `None` when it does not scale.
    pub used: Option<u8>,
    /// How many times too small the peer takes the window for: 2^(used − advertised); to a
    /// peer that did not grant scaling nothing counts as advertised.
    pub factor: f64,
    /// What that does.
    pub damage: Damage,
    /// The window as the peer computes it, bytes.
    pub peer_window_bytes: u64,
    /// The window as the socket means it, bytes.
    pub socket_window_bytes: u32,
}

/// The peer's windows as this host reads them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Send {
    /// Shift count in the peer's SYN or SYN+ACK; `None` without the option, or where the SYN was not
    /// seen.
    pub offered: Option<u8>,
    /// Shift count of the socket; `None` when it does not scale.
    pub used: Option<u8>,
    /// How many times too small this host takes the window for: 2^(in effect − used), where the
    /// shift in effect is the offered one if the SYN+ACK granted scaling, else 0.
    pub factor: f64,
    /// What that does.
    pub damage: Damage,
}

/// What a connection can do as it left the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Impact {
    /// Smoothed round-trip time, microseconds; `None` when not measured yet.
    pub srtt_us: Option<u32>,
    /// From the SYN+ACK to the ACK, microseconds; `None` when it is not known which was answered.
    pub handshake_us: Option<u64>,
    /// The one of the two that ceilings are computed with.
    pub rtt_us: Option<u64>,
    /// What holds back the peer, when it sends.
    pub receive: Option<Held>,
    /// What holds back this host, when it sends.
    pub send: Option<Held>,
    /// Window per round trip of the direction that is held back most, bytes per second.
    pub ceiling_bytes_per_second: Option<f64>,
    /// Segments of this host that a SYN cookie made smaller.
    pub segment: Option<Segment>,
}

/// A damaged connection that ended: kind `closed`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClosedFlow {
    /// When, nanoseconds of CLOCK_MONOTONIC.
    #[serde(skip)]
    pub ktime_ns: u64,
    /// Which end this host is.
    pub role: Role,
    /// Which connection.
    pub flow: Flow,
    /// Received in all, bytes.
    pub bytes_received: u64,
    /// Smoothed round-trip time, microseconds; `None` when never measured.
    pub srtt_us: Option<u32>,
    /// How long it was open.
    pub open_seconds: f64,
    /// Windows of it that were seen; `None` where none was looked at, or it is not remembered.
    pub windows_seen: Option<u32>,
    /// Whether windows were seen, all with the shift count of the finding; `None` likewise.
    pub confirmed: Option<bool>,
}

impl ClosedFlow {
    /// Kind of the line.
    pub const KIND: &'static str = "closed";
}

/// A window that a connection under watch announced: kind `window`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WindowSeen {
    /// When, nanoseconds of CLOCK_MONOTONIC.
    #[serde(skip)]
    pub ktime_ns: u64,
    /// Which connection.
    pub flow: Flow,
    /// The window as the socket means it, bytes.
    pub window_bytes: u32,
    /// Shift count that the socket uses; 0 when it does not scale.
    pub scale_used: u8,
    /// The window field of the header.
    pub on_wire: u64,
    /// The window as the peer computes it, bytes; `None` when it is not known what the peer was
    /// told.
    pub peer_window_bytes: Option<u64>,
    /// Shift count in the SYN+ACK; `None` without the option or when not known.
    pub advertised: Option<u8>,
    /// How many windows of the connection were seen before.
    pub number: u8,
    /// No more will be seen.
    pub last: bool,
    /// It bears the finding out: it is known what the peer was told, and the shift count that the
    /// window was sent with is the one that the finding takes the socket to use.
    pub confirmed: bool,
}

impl WindowSeen {
    /// Kind of the line.
    pub const KIND: &'static str = "window";
}
