//! What a record says of this very connection.
//!
//! Constraint: nothing of another connection with the same addresses gets through. The tie is
//! the sequence number of the SYN+ACK, which is the one before the first that the child sends.

use super::evidence;
use super::proxied::Proxied;
use crate::tcp_options::Options;
use tcpwnd_common::{HandshakeRecord, Inputs, SynAck, handshake_flags, synack_flags};

/// Most that a Fast Open child can have had acknowledged before its handshake was over: the
/// window of a SYN is never scaled (RFC 7323, section 2.2).
const MAX_EARLY_DATA: u32 = 65_535;

/// The SYN+ACKs that the connection can have come of, and what belongs to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paired<'a> {
    /// The first SYN+ACK of the connection's sequence number.
    pub first: &'a SynAck,
    /// Its options.
    pub packet: Option<Options>,
    /// The last one of that sequence number that said something else.
    pub other: Option<&'a SynAck>,
    /// SYN+ACKs of that sequence number; `None` where only the first one is known.
    pub synacks: Option<u32>,
    /// Options of the SYN that the first one answered.
    pub syn: Option<Options>,
    /// What the first one's shift count was computed from.
    pub inputs: Option<&'a Inputs>,
    /// Options of the ACK.
    pub ack: Option<Options>,
    /// Window field of the ACK's header.
    pub ack_window: u16,
    /// The cookie path made the child.
    pub cookie_accepted: bool,
    /// A SYN proxy took the connection in: all of the above is between that and the stack.
    pub proxied: Option<Proxied<'a>>,
}

/// What shows which of several SYN+ACKs the peer acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The timestamp that the peer echoed.
    pub echo: Option<u32>,
    /// SYN+ACKs of that sequence number; `None` where only the first one is known.
    pub synacks: Option<u32>,
}

impl<'a> Paired<'a> {
    /// Takes from a record what belongs to its connection; `None` when nothing does.
    pub(crate) fn of(record: &'a HandshakeRecord) -> Option<Self> {
        let handshake = &record.handshake;
        const OTHERS: u32 = handshake_flags::SIMULTANEOUS | handshake_flags::MARKS;
        if record.record_found == 0 || handshake.flags & OTHERS != 0 {
            return None;
        }
        if answers(record, &handshake.first) {
            let differ = handshake.flags & handshake_flags::SYNACKS_DIFFER != 0;
            return Some(Self {
                other: differ.then_some(&handshake.last),
                synacks: Some(handshake.synacks),
                syn: evidence::options(&handshake.syn),
                inputs: Some(&handshake.inputs),
                proxied: Proxied::of(record, handshake.first.flags, true),
                ..Self::to(record, &handshake.first)
            });
        }
        // A SYN cookie can be answered after the peer was sent another one. SYN and inputs are of
        // the later one.
        let previous = handshake.flags & handshake_flags::PREVIOUS_KEPT != 0
            && handshake.last.ktime_ns != 0
            && answers(record, &handshake.last);
        previous.then(|| Self::to(record, &handshake.last))
    }

    fn to(record: &'a HandshakeRecord, first: &'a SynAck) -> Self {
        let ack = &record.handshake.ack;
        Self {
            first,
            packet: evidence::options(&first.options),
            other: None,
            synacks: None,
            syn: None,
            inputs: None,
            ack: ack_of(record, first),
            ack_window: ack.options.window,
            cookie_accepted: record.handshake.flags & handshake_flags::COOKIE_ACCEPTED != 0,
            proxied: Proxied::of(record, first.flags, false),
        }
    }

    /// How the peer answered: the stack, or the proxy that stands in for it.
    pub(super) fn answer(&self) -> Answer {
        match &self.proxied {
            Some(proxied) => Answer {
                echo: proxied.echo(),
                synacks: proxied.synack.map(|synack| synack.synacks),
            },
            None => Answer {
                echo: self
                    .ack
                    .and_then(|ack| ack.timestamps)
                    .map(|timestamps| timestamps.tsecr),
                synacks: self.synacks,
            },
        }
    }

    /// Whether a SYN cookie made the connection.
    pub(super) fn is_cookie(&self) -> bool {
        self.cookie_accepted || self.first.flags & synack_flags::COOKIE != 0
    }
}

/// Whether a BPF program made the request that this very connection comes of.
pub(super) fn is_of_bpf_request(record: &HandshakeRecord) -> bool {
    is_marked(record, handshake_flags::BPF_REQUEST)
}

/// Whether this very connection was made by a SYN cookie that the stack has not sent while it was
/// watched.
pub(super) fn is_of_foreign_cookie(record: &HandshakeRecord) -> bool {
    is_marked(record, handshake_flags::FOREIGN_COOKIE)
}

fn is_marked(record: &HandshakeRecord, flag: u32) -> bool {
    record.record_found != 0
        && record.handshake.flags & flag != 0
        && answers(record, &record.handshake.first)
}

/// Whether the child answers `synack`.
///
/// A Fast Open child may have had data acknowledged by now; for it `snd_una` as the ACK found it
/// is the witness.
fn answers(record: &HandshakeRecord, synack: &SynAck) -> bool {
    let first = synack.isn.wrapping_add(1);
    if record.child.snd_una == first {
        return true;
    }
    synack.flags & synack_flags::FAST_OPEN != 0
        && ack_of(record, synack).is_some()
        && record.child.snd_una.wrapping_sub(first) <= MAX_EARLY_DATA
}

/// Options of the ACK, if it is the one that answers `synack`.
fn ack_of(record: &HandshakeRecord, synack: &SynAck) -> Option<Options> {
    let ack = &record.handshake.ack;
    if ack.snd_una == synack.isn.wrapping_add(1) {
        evidence::options(&ack.options)
    } else {
        None
    }
}
