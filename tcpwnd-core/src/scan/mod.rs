//! Connections that exist already: which of them are suspect, and why.
//!
//! Constraint: the kernel keeps no record of what a SYN+ACK announced. So a suspect is no finding:
//! its reasons say what was read, and only what its peer does can settle it.

mod listener;
mod peer;
mod reason;
mod settled;
mod tcp_info;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

pub use peer::Peer;
pub use reason::{Reason, Siblings, Why};
pub use settled::{Outcome, Settled};
pub use tcp_info::TcpInfo;

use crate::flow::Flow;
use crate::risk::Settings;

/// Connections of a listener from which on their majority means something.
const FEW: usize = 4;

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Local address.
    pub addr: IpAddr,
    /// Local port.
    pub port: u16,
    /// Interface that it is bound to; 0 when it is not.
    pub ifindex: u32,
    /// It takes no IPv4.
    pub only_v6: bool,
    /// Receive buffer, bytes; `None` where the kernel did not say.
    pub rcvbuf: Option<u32>,
}

/// A connected socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Which connection.
    pub flow: Flow,
    /// The kernel's number for this socket, which no other ever has (`sock_gen_cookie`).
    pub cookie: u64,
    /// What it says of itself.
    pub info: TcpInfo,
}

/// What was read of a network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Settings; `rmem_max` is the machine's, where it is known.
    pub settings: Settings,
    /// Listening sockets.
    pub listeners: Vec<Listener>,
    /// Connected sockets.
    pub sockets: Vec<Socket>,
}

/// A connection that may be damaged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suspect {
    /// Which connection.
    pub flow: Flow,
    /// The kernel's number for its socket.
    #[serde(skip)]
    pub cookie: u64,
    /// Its place in the ranking comes from this: the weights of its reasons, added up.
    pub score: u32,
    /// Shift count that it uses; `None` without scaling.
    pub used: Option<u8>,
    /// Shift count that its listener would announce now; `None` where that is not known.
    pub listener: Option<u8>,
    /// What most connections of its listener use; `None` where there are few, or no majority.
    pub siblings: Option<Siblings>,
    /// How many times too small its windows look to the peer, if what the listener would announce
    /// now, or else what the siblings use, is what it was told. `None` where that is not known.
    pub factor: Option<f64>,
    /// Why it is suspect, the weightiest reason first.
    pub reasons: Vec<Reason>,
    /// What its socket says.
    pub socket: TcpInfo,
    /// What its peer did while it was watched; `None` when it was not.
    pub settled: Option<Settled>,
    /// It was gone when the watch was over.
    pub ended: bool,
}

impl Suspect {
    /// Kind of the line.
    pub const KIND: &'static str = "suspect";

    /// What is settled.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let settled = self.settled.as_ref();
        settled.map_or(Outcome::Undecided, |settled| settled.verdict)
    }

    /// Whether it is known to be damaged, and open.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        !self.ended && matches!(self.outcome(), Outcome::Mismatch | Outcome::ScaleLost)
    }
}

/// What came of looking at a namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// The suspects, the weightiest first.
    pub suspects: Vec<Suspect>,
    /// Connections that came through a listener that is still there.
    pub passive: u64,
    /// Connections of which nothing can be said: opened by this host, or their listener is gone.
    pub others: u64,
}

impl Scan {
    /// Takes in what was found elsewhere.
    pub fn add(&mut self, other: Self) {
        self.passive += other.passive;
        self.others += other.others;
        self.suspects.extend(other.suspects);
        self.rank();
    }

    fn rank(&mut self) {
        self.suspects
            .sort_by_key(|suspect| (std::cmp::Reverse(suspect.score), suspect.flow));
    }
}

/// Looks for suspects among the connections that `wanted` lets through. Siblings are counted among
/// all of them.
#[must_use]
pub fn scan(namespace: &Namespace, wanted: impl Fn(&Flow) -> bool) -> Scan {
    let listeners = &namespace.listeners;
    let announced = listener::all_announced(listeners, &namespace.settings);
    // By port: the listeners that have to be looked at for a connection are few.
    let mut at_port: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (index, listener) in listeners.iter().enumerate() {
        at_port.entry(listener.port).or_default().push(index);
    }
    let of: Vec<_> = namespace
        .sockets
        .iter()
        .map(|socket| {
            let here = at_port.get(&socket.flow.0.local_port)?;
            listener::of(socket, listeners, here)
        })
        .collect();
    let siblings = siblings(&namespace.sockets, &of, listeners.len());
    let mut scan = Scan::default();
    for (socket, of) in namespace.sockets.iter().zip(&of) {
        if !wanted(&socket.flow) {
            continue;
        }
        let Some(of) = *of else {
            scan.others += 1;
            continue;
        };
        scan.passive += 1;
        let (announced, siblings) = (announced[of].as_ref(), siblings[of]);
        let reasons = reason::reasons(socket, announced, siblings.as_ref());
        if reasons.is_empty() {
            continue;
        }
        let used = socket.info.used();
        let told = announced
            .map(|announced| announced.scale)
            .or(siblings.map(|siblings| siblings.scale));
        scan.suspects.push(Suspect {
            flow: socket.flow,
            cookie: socket.cookie,
            score: reasons.iter().map(|reason| reason.weight).sum(),
            used,
            listener: announced.map(|announced| announced.scale),
            siblings,
            factor: used
                .zip(told)
                .map(|(used, told)| 2_f64.powi(i32::from(used) - i32::from(told))),
            reasons,
            socket: socket.info,
            settled: None,
            ended: false,
        });
    }
    scan.rank();
    scan
}

/// What most connections of each listener use.
fn siblings(sockets: &[Socket], of: &[Option<usize>], listeners: usize) -> Vec<Option<Siblings>> {
    let mut counts = vec![BTreeMap::<u8, usize>::new(); listeners];
    for (socket, of) in sockets.iter().zip(of) {
        if let (Some(of), Some(used)) = (*of, socket.info.used()) {
            *counts[of].entry(used).or_default() += 1;
        }
    }
    let majority = |counts: &BTreeMap<u8, usize>| {
        let of: usize = counts.values().sum();
        let (scale, agree) = counts.iter().max_by_key(|(_, count)| **count)?;
        (of >= FEW && 2 * agree > of).then_some(Siblings {
            scale: *scale,
            agree: *agree,
            of,
        })
    };
    counts.iter().map(majority).collect()
}
