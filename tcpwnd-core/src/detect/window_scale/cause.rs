//! Why: the most specific cause that the evidence supports, else `unknown`.
//!
//! Constraint: a wrong cause is worse than none.

use super::evidence::{Offer, Told, Used};
use super::paired::Paired;
use super::{LostCause, MismatchCause};
use tcpwnd_common::{HandshakeRecord, child_flags};

/// Why the two ends disagree.
pub(super) fn of_mismatch(
    record: &HandshakeRecord,
    paired: &Paired<'_>,
    told: &Told,
    used: Used,
) -> MismatchCause {
    let (true, Some(advertised)) = (told.cookie, told.advertised) else {
        return MismatchCause::Unknown;
    };
    match used.receive {
        Some(shift) if shift != advertised => MismatchCause::CookieRecomputed,
        None if timestamps_went_missing(record, paired, told) => {
            MismatchCause::CookieTimestampsMissing
        }
        _ => MismatchCause::Unknown,
    }
}

/// Whether the SYN+ACK left with timestamps, its ACK came without, and the socket has none.
///
/// Asked of the packets: TCP-AO leaves timestamps out of the SYN+ACK itself
/// (`tcp_synack_options`, net/ipv4/tcp_output.c, 6.18), which is another matter.
fn timestamps_went_missing(record: &HandshakeRecord, paired: &Paired<'_>, told: &Told) -> bool {
    told.timestamps.is_some()
        && record.child.flags & child_flags::TSTAMP_OK == 0
        && paired
            .ack
            .is_some_and(|ack| ack.timestamps.is_none() && !ack.malformed && !ack.authentication)
}

/// Why there is no window scaling, though both ends agree.
pub(super) fn of_loss(record: &HandshakeRecord, paired: &Paired<'_>, told: &Told) -> LostCause {
    if !scaling_enabled(record, paired) {
        return LostCause::DisabledHere;
    }
    match told.offer {
        Offer::Nothing => LostCause::PeerDidNotOffer,
        Offer::Scale(_) if told.cookie && told.timestamps.is_none() => {
            LostCause::CookieWithoutTimestamps
        }
        Offer::Scale(_) | Offer::Unseen => LostCause::Unknown,
    }
}

/// `net.ipv4.tcp_window_scaling` of the namespace when the SYN+ACK was built, or as near to that
/// as is known.
fn scaling_enabled(record: &HandshakeRecord, paired: &Paired<'_>) -> bool {
    match paired.inputs {
        Some(inputs) if inputs.complete != 0 => inputs.sysctl_window_scaling != 0,
        _ => record.child.sysctl_window_scaling != 0,
    }
}
