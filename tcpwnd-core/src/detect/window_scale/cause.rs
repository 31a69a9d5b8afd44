//! Why: the most specific cause that the evidence supports, else `unknown`.
//!
//! Constraint: a wrong cause is worse than none.

use super::evidence::{Offer, Told, Used};
use super::paired::Paired;
use super::{Context, LostCause, MismatchCause, proxied, recomputed};
use tcpwnd_common::{HandshakeRecord, child_flags};

/// Why the two ends disagree.
pub(super) fn of_mismatch(
    record: &HandshakeRecord,
    paired: &Paired<'_>,
    told: &Told,
    used: Used,
    context: &Context,
) -> MismatchCause {
    if let Some(proxied) = &paired.proxied {
        return proxied::cause(paired, proxied, told, used);
    }
    let (true, Some(advertised)) = (told.cookie, told.advertised) else {
        return MismatchCause::Unknown;
    };
    match used.receive {
        Some(shift) if shift != advertised => {
            recomputed::cause(record, paired, told, shift, context)
        }
        Some(_) => MismatchCause::Unknown,
        None => of_lost_options(record, paired, told),
    }
}

/// Why a cookie's socket has no options at all, though its SYN+ACK announced a scale: what was
/// agreed is kept in the timestamps (`cookie_timestamp_decode`, net/ipv4/syncookies.c, 5.10).
///
/// Asked of the packets: the request's own flags are cleared with TCP-AO.
fn of_lost_options(record: &HandshakeRecord, paired: &Paired<'_>, told: &Told) -> MismatchCause {
    let Some(ack) = paired.ack.filter(|ack| !ack.malformed) else {
        return MismatchCause::Unknown;
    };
    if record.child.flags & child_flags::TSTAMP_OK != 0 {
        return MismatchCause::Unknown;
    }
    let here = timestamps_here(record);
    match (told.timestamps, ack.timestamps) {
        // tcp_synack_options (net/ipv4/tcp_output.c, 6.12) leaves timestamps out then, for
        // cookies too.
        (None, None) if told.authentication && ack.authentication => MismatchCause::CookieTcpAo,
        // tcp_parse_options (net/ipv4/tcp_input.c, 5.10) does not see them when they are off.
        (Some(_), Some(_)) if here == Some(false) => MismatchCause::TimestampsDisabled,
        // With timestamps off as well, either would have done it.
        (Some(_), None) if !ack.authentication && here != Some(false) => {
            MismatchCause::CookieTimestampsMissing
        }
        _ => MismatchCause::Unknown,
    }
}

/// `net.ipv4.tcp_timestamps` of the namespace when the ACK came.
fn timestamps_here(record: &HandshakeRecord) -> Option<bool> {
    let inputs = &record.handshake.cookie_inputs;
    (inputs.complete != 0).then_some(inputs.sysctl_timestamps != 0)
}

/// Why there is no window scaling, though both ends agree.
pub(super) fn of_loss(record: &HandshakeRecord, paired: &Paired<'_>, told: &Told) -> LostCause {
    // Its rule decides what it announces, whatever the settings here are.
    if paired.proxied.is_some() {
        return LostCause::SynproxyWithoutScale;
    }
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
