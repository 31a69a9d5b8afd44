//! Why the cookie path came to another shift count: the one input that, changed alone in what the
//! SYN+ACK's was computed from, leads to the socket's.
//!
//! Constraint: the computation must first explain both values as they are, shift count and window
//! clamp; what it does not explain has no named cause.

use super::changes::{self, Change, ChangedInput};
use super::initial::{Basis, Initial, rcvbuf_locked};
use super::paired::Paired;
use super::{Context, MismatchCause};
use crate::detect::window_scale::evidence::{Told, Used};
use tcpwnd_common::{HandshakeRecord, Inputs, synack_flags};

/// Room that timestamps take in a segment, bytes (TCPOLEN_TSTAMP_ALIGNED).
const TIMESTAMPS_LEN: u32 = 12;

/// Both moments, as far as they were recorded.
#[derive(Clone, Copy, Debug)]
struct Moments<'a> {
    then: &'a Inputs,
    now: &'a Inputs,
    /// What the kernel came to at each moment.
    announced: Initial,
    in_use: Initial,
    mss_then: u32,
    mss_now: u32,
}

/// The inputs that differed, for a cookie of which both moments were seen. Of what `rmem_max` can
/// have been, what explains both values counts, if anything does.
pub(super) fn differing(
    record: &HandshakeRecord,
    paired: &Paired<'_>,
    told: &Told,
    used: Used,
    context: &Context,
) -> Vec<ChangedInput> {
    let Some((then, now)) = inputs(record, paired) else {
        return Vec::new();
    };
    let mut rmem_max = rmem_max(record, paired, context);
    let moments = used
        .receive
        .and_then(|used| moments(record, paired, told, used));
    if let Some(moments) = moments {
        let explains = |pair: &(u32, u32)| moments.explained(*pair, false).is_some();
        if rmem_max.iter().any(explains) {
            rmem_max.retain(explains);
        }
    }
    changes::differing(then, now, &rmem_max)
}

/// The cause, where exactly one explains everything.
pub(super) fn cause(
    record: &HandshakeRecord,
    paired: &Paired<'_>,
    told: &Told,
    used: u8,
    context: &Context,
) -> MismatchCause {
    let Some(moments) = moments(record, paired, told, used) else {
        return MismatchCause::Unknown;
    };
    // Of what rmem_max can have been, only what explains both values counts. If that leaves more
    // than one cause, there is none.
    let mut found = rmem_max(record, paired, context)
        .into_iter()
        .filter_map(|pair| moments.explained(pair, context.rcvbuf_sets_clamp));
    let Some(first) = found.next() else {
        return MismatchCause::Unknown;
    };
    if found.all(|other| other == first) {
        first
    } else {
        MismatchCause::Unknown
    }
}

fn rmem_max(record: &HandshakeRecord, paired: &Paired<'_>, context: &Context) -> Vec<(u32, u32)> {
    let (then, now) = (paired.first.ktime_ns, record.header.ktime_ns);
    context.rmem_max.pairs(then, now)
}

fn inputs<'a>(
    record: &'a HandshakeRecord,
    paired: &Paired<'a>,
) -> Option<(&'a Inputs, &'a Inputs)> {
    let (then, now) = (paired.inputs?, &record.handshake.cookie_inputs);
    (then.complete != 0 && now.complete != 0).then_some((then, now))
}

fn moments<'a>(
    record: &'a HandshakeRecord,
    paired: &Paired<'a>,
    told: &Told,
    used: u8,
) -> Option<Moments<'a>> {
    let (then, now) = inputs(record, paired)?;
    let synack = paired.first;
    // The inputs are the first SYN+ACK's, not those of one that differed.
    let is_first = told.ktime_ns == synack.ktime_ns;
    let clamp = record.handshake.cookie_window_clamp;
    if !is_first || clamp == 0 || record.child.mss_clamp == 0 {
        return None;
    }
    // The option says what the space was rounded to (tcp_make_synack, net/ipv4/tcp_output.c).
    let mss = u32::from(paired.packet?.mss?);
    let timestamps = synack.flags & synack_flags::TSTAMP_OK != 0;
    Some(Moments {
        then,
        now,
        announced: Initial {
            shift: told.advertised?,
            window_clamp: synack.window_clamp,
        },
        in_use: Initial {
            shift: used,
            window_clamp: clamp,
        },
        mss_then: mss.saturating_sub(if timestamps { TIMESTAMPS_LEN } else { 0 }),
        mss_now: record.child.mss_clamp.into(),
    })
}

impl Moments<'_> {
    /// The cause if `rmem_max` was this at each moment; `None` if that cannot have been.
    fn explained(&self, rmem_max: (u32, u32), rcvbuf_sets_clamp: bool) -> Option<MismatchCause> {
        let then = Basis {
            inputs: *self.then,
            rmem_max: rmem_max.0,
            mss: self.mss_then,
            ignores_rcvbuf: false,
        };
        let now = self.now(rmem_max.1)?;
        if then.compute() != self.announced {
            return None;
        }
        let changes = changes::changes(&then, &now, rcvbuf_sets_clamp);
        let leads_there =
            |change: &&Change| change.apply(&then, &now).compute().shift == self.in_use.shift;
        let mut candidates = changes.iter().filter(leads_there);
        let (Some(only), None) = (candidates.next(), candidates.next()) else {
            return Some(MismatchCause::Unknown);
        };
        Some(only.cause().unwrap_or(MismatchCause::Unknown))
    }

    /// What the socket's values were computed from, if that was this `rmem_max`. Whether the
    /// cookie path heeded SO_RCVBUF is seen by what it came to.
    fn now(&self, rmem_max: u32) -> Option<Basis> {
        let heeds = Basis {
            inputs: *self.now,
            rmem_max,
            mss: self.mss_now,
            ignores_rcvbuf: false,
        };
        let ignores = Basis {
            ignores_rcvbuf: rcvbuf_locked(self.now),
            ..heeds
        };
        [heeds, ignores]
            .into_iter()
            .find(|basis| basis.compute() == self.in_use)
    }
}
