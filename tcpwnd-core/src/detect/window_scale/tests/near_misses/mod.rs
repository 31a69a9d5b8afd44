//! Observations that look like a cause and must not be called so: three of each cause or more.
//!
//! Constraint: each could have been recorded. Where shift counts are computed, the kernel comes to
//! them from the inputs of that moment.

mod listener;
mod options;
mod settings;
mod synproxy;

use super::cases::{Case, FREE, KAFKA, RMEM_MAX, case, kafka, line, plain, scaled};
use super::*;
use crate::detect::window_scale::initial::{Basis, Initial, rcvbuf_locked};
use crate::fixture::{RTT_NS, SYNACK_AT};
use LostCause as Lost;
use MismatchCause as Cause;
use tcpwnd_common::Inputs;

/// An observation.
struct Near {
    /// What it looks like.
    like: &'static str,
    what: &'static str,
    case: Case,
    called: Verdict,
}

fn near(like: Cause, what: &'static str, case: Case, called: Cause) -> Near {
    Near {
        like: like.name(),
        what,
        case,
        called: Verdict::Mismatch(called),
    }
}

/// One that is no damage.
fn sound(like: Cause, what: &'static str, case: Case) -> Near {
    Near {
        called: Verdict::Ok,
        ..near(like, what, case, like)
    }
}

/// A record that needs no more than itself.
fn alone(record: HandshakeRecord) -> Case {
    Case {
        record,
        context: Context {
            watching_since_ktime_ns: SINCE,
            ..Context::default()
        },
    }
}

/// The same with `rmem_max` changed between SYN+ACK and ACK.
fn with_rmem_max(mut case: Case, now: u32) -> Case {
    case.context.rmem_max = RmemMaxHistory::default();
    for (ktime_ns, bytes) in [(SINCE, RMEM_MAX), (SYNACK_AT + RTT_NS, now)] {
        case.context.rmem_max.add(RmemMax { ktime_ns, bytes });
    }
    case
}

/// What comes of a window clamp, a route's window or a buffer of this many bytes.
fn limited(bytes: u32) -> (u8, u32) {
    (bytes.ilog2().saturating_sub(15) as u8, bytes)
}

/// `tcp_rmem[2]` or `rmem_max` of 32 MB decides.
const RAISED: (u8, u32) = (10, 65_535 << 10);

fn all() -> Vec<Near> {
    [
        settings::of_ignored_rcvbuf(),
        settings::of_settings(),
        settings::of_adv_win_scale(),
        listener::of_listener(),
        listener::of_places(),
        options::of_options(),
        options::of_loss(),
        synproxy::of_scale(),
        synproxy::of_loss(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether the kernel comes to both shift counts and clamps, whatever it makes of SO_RCVBUF.
fn could_be(case: &Case) -> bool {
    let Case { record, context } = case;
    let handshake = &record.handshake;
    let comes_to = |inputs, rmem_max, ignores_rcvbuf, shift, window_clamp| {
        let basis = Basis {
            inputs,
            rmem_max,
            mss: record.child.mss_clamp.into(),
            ignores_rcvbuf,
        };
        basis.compute()
            == Initial {
                shift,
                window_clamp,
            }
    };
    let (then, now) = (handshake.first, handshake.cookie_inputs);
    let in_use = (record.child.rcv_wscale, handshake.cookie_window_clamp);
    let mut pairs = context
        .rmem_max
        .pairs(SYNACK_AT, SYNACK_AT + RTT_NS)
        .into_iter();
    pairs.any(|(before, after)| {
        comes_to(
            handshake.inputs,
            before,
            false,
            then.rcv_wscale,
            then.window_clamp,
        ) && [false, rcvbuf_locked(&now)]
            .into_iter()
            .any(|ignores| comes_to(now, after, ignores, in_use.0, in_use.1))
    })
}

#[test]
fn what_looks_like_a_cause_is_not_called_so() {
    for near in all() {
        let Near {
            like,
            what,
            case,
            called,
        } = &near;
        // Where `rmem_max` is not known, nothing is computed.
        let Case { record, context } = case;
        let computed = context.rmem_max.last_ns().is_some();
        assert!(!computed || could_be(case), "like {like}: {what}");
        let verdict = judge(record, context).verdict;
        assert_eq!(verdict, *called, "like {like}: {what}");
        assert_ne!(verdict.cause(), Some(*like), "{what}");
    }
}

#[test]
fn each_cause_has_three_near_misses() {
    let causes = Cause::ALL.iter().map(|cause| cause.name());
    let causes = causes.chain(Lost::ALL.iter().map(|cause| cause.name()));
    for cause in causes.filter(|cause| *cause != Cause::Unknown.name()) {
        let opened = super::opened::near_misses();
        let likes = all().into_iter().map(|near| near.like);
        let likes = likes.chain(opened.iter().map(|(like, ..)| *like));
        let count = likes.filter(|like| *like == cause).count();
        assert!(count >= 3, "{cause}: {count}");
    }
    // What they look like is there.
    assert_eq!(line().cause(), Cause::CookieIgnoredRcvbuf);
}
