//! Connections that netfilter's SYN proxy took in first.
//!
//! The proxy answers the peer with a SYN cookie and a shift count of its own. When that is
//! acknowledged it sends a SYN to the stack, in the peer's name, and keeps the stack's SYN+ACK to
//! itself. From then on it changes sequence numbers and timestamps of what passes, but no windows
//! (`ipv4_synproxy_hook`, net/netfilter/nf_synproxy_core.c, 5.10 to 7.3): the peer reads the
//! socket's windows by the proxy's shift count.
//!
//! Constraint: what the stack's SYN+ACK announced is no evidence here, the peer never saw it. The
//! proxy's is tied to the connection by its sequence number, which the proxy's SYN carries as its
//! acknowledgement number.

use super::evidence::{self, Offer, Told, Used};
use super::paired::Paired;
use super::{MismatchCause, UnverifiedCause};
use crate::tcp_options::Options;
use tcpwnd_common::{HandshakeRecord, ProxySynAck, proxy_flags, synack_flags};

/// The low bits of the proxy's timestamp: the shift count that the peer's SYN offered
/// (`synproxy_init_timestamp_cookie`).
const OFFER_BITS: u32 = 0xf;

/// What is known of the proxy's part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proxied<'a> {
    /// The SYN+ACK that it sent to the peer; `None` when that was not seen.
    pub synack: Option<&'a ProxySynAck>,
    /// Options of the SYN that it sent to the stack: what the peer's ACK carried, timestamps
    /// included.
    pub syn: Option<Options>,
}

impl<'a> Proxied<'a> {
    /// Takes from a record what belongs to the proxy's part; `None` when there was no proxy.
    ///
    /// `syn_seen`: the record's SYN is the one that `flags`' SYN+ACK answers.
    pub(super) fn of(record: &'a HandshakeRecord, flags: u8, syn_seen: bool) -> Option<Self> {
        if flags & synack_flags::PROXIED == 0 {
            return None;
        }
        let (handshake, proxy) = (&record.handshake, &record.proxy);
        let known = syn_seen && proxy.ktime_ns != 0 && proxy.isn == handshake.syn_ack;
        let syn = evidence::options(&handshake.syn).filter(|syn| syn_seen && !syn.malformed);
        Some(Self {
            synack: known.then_some(proxy),
            syn,
        })
    }

    /// The timestamp that the peer echoed.
    pub(super) fn echo(&self) -> Option<u32> {
        self.syn?.timestamps.map(|timestamps| timestamps.tsecr)
    }
}

/// What the proxy told the peer.
pub(super) fn told(proxied: &Proxied<'_>) -> Result<Told, UnverifiedCause> {
    let synack = proxied.synack.ok_or(UnverifiedCause::Synproxy)?;
    if synack.flags & proxy_flags::DIFFER != 0 {
        return Err(UnverifiedCause::TwoSynacks);
    }
    read(synack).ok_or(UnverifiedCause::Unreadable)
}

fn read(synack: &ProxySynAck) -> Option<Told> {
    let packet = evidence::options(&synack.options).filter(|packet| !packet.malformed)?;
    // What the program took for the window scale, where it lies by the proxy's order.
    let found = (synack.flags & proxy_flags::WSCALE != 0).then_some(synack.wscale);
    if packet.window_scale.map(|scale| scale.raw) != found {
        return None;
    }
    let offer = match (packet.shift(), packet.timestamps) {
        (None, _) => Offer::Unseen,
        // The rule's shift count is only announced to a peer that offered one, and that is kept.
        (Some(_), timestamps) => match timestamps?.tsval & OFFER_BITS {
            OFFER_BITS => return None,
            shift => Offer::Scale(shift as u8),
        },
    };
    Some(Told {
        advertised: packet.shift(),
        offer,
        timestamps: packet.timestamps,
        authentication: packet.authentication,
        cookie: true,
        ktime_ns: synack.ktime_ns,
    })
}

/// Why the peer was told another shift count than the socket has.
pub(super) fn cause(
    paired: &Paired<'_>,
    proxied: &Proxied<'_>,
    told: &Told,
    used: Used,
) -> MismatchCause {
    match (told.advertised, used.receive) {
        (Some(announced), Some(shift))
            if announced != shift && stack_announced(paired) == Some(shift) =>
        {
            MismatchCause::SynproxyWscale
        }
        // The proxy keeps what was agreed in its timestamp, as the stack's cookies do.
        (Some(_), None)
            if told.timestamps.is_some()
                && proxied.syn.is_some_and(|syn| syn.timestamps.is_none()) =>
        {
            MismatchCause::CookieTimestampsMissing
        }
        _ => MismatchCause::Unknown,
    }
}

/// The shift count in the stack's own SYN+ACK, which went to the proxy, where it had but one.
fn stack_announced(paired: &Paired<'_>) -> Option<u8> {
    match evidence::told_all(paired)? {
        (first, None) => first.advertised,
        _ => None,
    }
}
