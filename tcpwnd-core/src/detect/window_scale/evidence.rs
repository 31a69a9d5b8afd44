//! What a record proves: typed readings of its fields, each one or nothing.

use super::paired::Paired;
use crate::tcp_options::{self, MAX_SHIFT, Options, Timestamps};
use tcpwnd_common::{Child, SynAck, TcpOptions, child_flags, synack_flags};

/// What the peer's SYN offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// A window scale, as it is used.
    Scale(u8),
    /// A SYN without the option.
    Nothing,
    /// The SYN was not seen.
    Unseen,
}

/// What one SYN+ACK told the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// This host's shift count; `None` without the option.
    pub advertised: Option<u8>,
    /// What it answered.
    pub offer: Offer,
    /// Its timestamps.
    pub timestamps: Option<Timestamps>,
    /// It carried the TCP authentication option (RFC 5925).
    pub authentication: bool,
    /// A SYN cookie made the connection.
    pub cookie: bool,
    /// When it was built, nanoseconds of CLOCK_MONOTONIC.
    pub ktime_ns: u64,
}

impl Told {
    /// The timestamp that its ACK echoes.
    pub fn tsval(&self) -> Option<u32> {
        self.timestamps.map(|timestamps| timestamps.tsval)
    }
}

/// The shift counts that the socket uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// For this host's windows.
    pub receive: Option<u8>,
    /// For the peer's windows.
    pub send: Option<u8>,
}

/// Options of a header; `None` when it was not read or cannot be what was on the wire.
pub(crate) fn options(raw: &TcpOptions) -> Option<Options> {
    let bytes = raw.bytes.get(..usize::from(raw.len))?;
    (raw.present != 0).then(|| tcp_options::parse(bytes))
}

/// Reads the shift counts of the socket; `None` when they are incomplete or contradictory.
pub(super) fn used(child: &Child) -> Option<Used> {
    if child.flags & child_flags::COMPLETE == 0
        || child.rcv_wscale > MAX_SHIFT
        || child.snd_wscale > MAX_SHIFT
    {
        return None;
    }
    if child.flags & child_flags::WSCALE_OK != 0 {
        return Some(Used {
            receive: Some(child.rcv_wscale),
            send: Some(child.snd_wscale),
        });
    }
    // tcp_create_openreq_child (net/ipv4/tcp_minisocks.c, 5.10) zeroes both where scaling is off.
    (child.rcv_wscale == 0 && child.snd_wscale == 0).then_some(Used {
        receive: None,
        send: None,
    })
}

/// Reads one SYN+ACK. The packet is what counts; the request that it was built from must say
/// the same, else there is no telling which of the two was read wrong.
///
/// `packet` is what its header carried, `syn` what that of the SYN did that it answered, where that is
/// known.
fn told(
    synack: &SynAck,
    packet: Option<Options>,
    syn: Option<Options>,
    cookie: bool,
) -> Option<Told> {
    let packet = packet.filter(|packet| !packet.malformed)?;
    let requested = (synack.flags & synack_flags::WSCALE_OK != 0).then_some(synack.rcv_wscale);
    if packet.window_scale.map(|scale| scale.raw) != requested
        || requested.is_some_and(|shift| shift > MAX_SHIFT)
    {
        return None;
    }
    Some(Told {
        advertised: requested,
        offer: offer(synack, syn)?,
        timestamps: packet.timestamps,
        authentication: packet.authentication,
        cookie,
        ktime_ns: synack.ktime_ns,
    })
}

/// What the SYN offered: what the request kept of it and what its packet said, which must agree.
fn offer(synack: &SynAck, syn: Option<Options>) -> Option<Offer> {
    let said = syn.and_then(|syn| match syn.shift() {
        // It may have stood behind the option that made no sense.
        None if syn.malformed => None,
        shift => Some(shift),
    });
    if synack.flags & synack_flags::WSCALE_OK != 0 {
        let kept = synack.snd_wscale;
        let agrees = said.is_none_or(|said| said == Some(kept));
        return (agrees && kept <= MAX_SHIFT).then_some(Offer::Scale(kept));
    }
    Some(match said {
        Some(Some(shift)) => Offer::Scale(shift),
        Some(None) => Offer::Nothing,
        None => Offer::Unseen,
    })
}

/// What the connection's SYN+ACKs told the peer: the first, and one that said something else.
pub(super) fn told_all(paired: &Paired<'_>) -> Option<(Told, Option<Told>)> {
    let cookie = paired.is_cookie();
    let first = told(paired.first, paired.packet, paired.syn, cookie)?;
    // It may have answered another SYN than the one that was kept.
    let other = paired.other;
    let other = other.map(|other| told(other, options(&other.options), None, cookie));
    match other {
        Some(other) => Some((first, Some(other?))),
        None => Some((first, None)),
    }
}
