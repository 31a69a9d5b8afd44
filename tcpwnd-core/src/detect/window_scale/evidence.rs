//! What a record proves: typed readings of its fields, each one or nothing.

use crate::tcp_options::{self, MAX_SHIFT, Options, Timestamps};
use tcpwnd_common::{
    Child, Handshake, HandshakeRecord, SynAck, TcpOptions, child_flags, handshake_flags,
    synack_flags,
};

/// Most that a Fast Open child can have had acknowledged before its handshake was over: the
/// window of a SYN is never scaled (RFC 7323, section 2.2).
const MAX_EARLY_DATA: u32 = 65_535;

/// What the peer's SYN offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
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
    /// It was a SYN cookie.
    pub cookie: bool,
    /// When it was built, nanoseconds of CLOCK_MONOTONIC.
    pub ktime_ns: u64,
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

/// Whether the record is of this connection: the SYN+ACK's sequence number is the one before
/// the first that the child sends.
///
/// A Fast Open child may have had data acknowledged by now; for it `snd_una` as the ACK found it
/// is the witness.
pub(super) fn is_paired(record: &HandshakeRecord) -> bool {
    let first = record.handshake.first.isn.wrapping_add(1);
    if record.child.snd_una == first {
        return true;
    }
    record.handshake.first.flags & synack_flags::FAST_OPEN != 0
        && ack(&record.handshake).is_some()
        && record.child.snd_una.wrapping_sub(first) <= MAX_EARLY_DATA
}

/// Options of the ACK, if it is the one that answers the SYN+ACK.
pub(crate) fn ack(handshake: &Handshake) -> Option<Options> {
    let first = handshake.first.isn.wrapping_add(1);
    if handshake.ack.snd_una == first {
        options(&handshake.ack.options)
    } else {
        None
    }
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
/// `syn` is the SYN that it answered, where that is known.
pub(super) fn told(synack: &SynAck, syn: Option<&TcpOptions>, cookie: bool) -> Option<Told> {
    let packet = options(&synack.options).filter(|packet| !packet.malformed)?;
    let requested = (synack.flags & synack_flags::WSCALE_OK != 0).then_some(synack.rcv_wscale);
    if packet.window_scale.map(|scale| scale.raw) != requested
        || requested.is_some_and(|shift| shift > MAX_SHIFT)
    {
        return None;
    }
    Some(Told {
        advertised: requested,
        offer: offer(synack, syn.and_then(options))?,
        timestamps: packet.timestamps,
        cookie: cookie || synack.flags & synack_flags::COOKIE != 0,
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

/// The SYN+ACKs of a handshake that are known: the first, and one that differed.
pub(super) fn told_all(handshake: &Handshake) -> Option<(Told, Option<Told>)> {
    let cookie = handshake.flags & handshake_flags::COOKIE_ACCEPTED != 0;
    let first = told(&handshake.first, Some(&handshake.syn), cookie)?;
    if handshake.flags & handshake_flags::SYNACKS_DIFFER == 0 {
        return Some((first, None));
    }
    // It may have answered another SYN than the one that was kept.
    let last = told(&handshake.last, None, cookie)?;
    Some((first, Some(last)))
}
