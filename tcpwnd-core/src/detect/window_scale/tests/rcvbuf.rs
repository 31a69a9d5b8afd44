//! The listener's receive buffer: ignored, or changed in between.

use super::cases::{Case, FREE, KAFKA, case, kafka, line, plain, scaled};
use super::*;
use tcpwnd_common::Inputs;

#[test]
fn the_cookie_path_ignored_a_receive_buffer() {
    assert_eq!(line().cause(), MismatchCause::CookieIgnoredRcvbuf);
    let newer = case(scaled(kafka()), KAFKA, scaled(kafka()), FREE);
    assert_eq!(newer.cause(), MismatchCause::CookieIgnoredRcvbuf);
    // An unrelated change does not hide it.
    let longer = Inputs {
        route_window: 1 << 29,
        ..kafka()
    };
    let unrelated = case(kafka(), KAFKA, longer, FREE);
    assert_eq!(unrelated.cause(), MismatchCause::CookieIgnoredRcvbuf);
}

#[test]
fn near_misses_of_an_ignored_receive_buffer() {
    // Nothing was set that could be ignored.
    assert_eq!(
        case(plain(), KAFKA, plain(), FREE).cause(),
        MismatchCause::Unknown
    );
    // The socket's clamp is the buffer's: it was heeded, whatever led to the shift count.
    let heeded = case(kafka(), KAFKA, kafka(), (7, 102_400));
    assert_eq!(heeded.cause(), MismatchCause::Unknown);
    // The SYN+ACK ignored it too, which no kernel does.
    let both = case(kafka(), (8, 65_535 << 8), kafka(), FREE);
    assert_eq!(both.cause(), MismatchCause::Unknown);
    // It was ignored, but tcp_rmem was changed as well: neither leads there alone.
    let raised = Inputs {
        tcp_rmem_max: 32 << 20,
        ..kafka()
    };
    let two = case(kafka(), KAFKA, raised, (10, 65_535 << 10));
    assert_eq!(two.cause(), MismatchCause::Unknown);
    // Evidence is missing.
    let unknown = [
        line().with(|c| c.record.handshake.inputs.complete = 0),
        line().with(|c| c.record.handshake.cookie_inputs.complete = 0),
        line().with(|c| c.record.handshake.cookie_window_clamp = 0),
        line().with(|c| c.context.rmem_max = RmemMaxHistory::default()),
        line().with(|c| c.record.handshake.first.window_clamp += 1),
    ];
    assert_eq!(unknown, [MismatchCause::Unknown; 5]);
}

#[test]
fn a_receive_buffer_that_was_set_or_changed() {
    let set = case(plain(), FREE, kafka(), KAFKA);
    assert_eq!(set.cause(), MismatchCause::RcvbufChanged);
    let large = Inputs {
        rcvbuf: 40 << 20,
        ..kafka()
    };
    // Heeding it and ignoring it come to the same shift count, but not to the same clamp.
    let raised = case(kafka(), KAFKA, large, (9, 20 << 20));
    assert_eq!(raised.cause(), MismatchCause::RcvbufChanged);
    let on_affected = case(kafka(), KAFKA, large, (9, 65_535 << 9));
    assert_eq!(on_affected.cause(), MismatchCause::RcvbufChanged);
    let as_large_as_rmem = Inputs {
        rcvbuf: 8 << 20,
        ..kafka()
    };
    let heeded = case(kafka(), KAFKA, as_large_as_rmem, (7, 4 << 20));
    assert_eq!(heeded.cause(), MismatchCause::RcvbufChanged);
}

#[test]
fn near_misses_of_a_changed_receive_buffer() {
    let as_large_as_rmem = Inputs {
        rcvbuf: 8 << 20,
        ..kafka()
    };
    // It was raised and ignored, and either leads there.
    let ignored = case(kafka(), KAFKA, as_large_as_rmem, FREE);
    assert_eq!(ignored.cause(), MismatchCause::Unknown);
    // It was changed, but ignoring the old one leads there, and the new one does not.
    let raised = Inputs {
        rcvbuf: 409_600,
        ..kafka()
    };
    let small = case(kafka(), KAFKA, raised, FREE);
    assert_eq!(small.cause(), MismatchCause::CookieIgnoredRcvbuf);
    // The clamp was set too, to the same: either leads there.
    let both = Inputs {
        window_clamp: 102_400,
        ..kafka()
    };
    let two = case(plain(), FREE, both, KAFKA);
    assert_eq!(two.cause(), MismatchCause::Unknown);
    // Another listener.
    let other = Inputs {
        listener: 8,
        ..kafka()
    };
    let sibling = case(plain(), FREE, other, KAFKA);
    assert_eq!(sibling.cause(), MismatchCause::ListenerChanged);
}

/// `tcp_set_rcvbuf`: SO_RCVBUF sets the clamp, and is one change all the same.
#[test]
fn where_so_rcvbuf_sets_the_clamp_it_is_one_change() {
    let set = Inputs {
        window_clamp: 102_400,
        ..scaled(kafka())
    };
    let newest = |case: Case| case.with(|case| case.context.rcvbuf_sets_clamp = true);
    let one = || case(scaled(plain()), FREE, set, KAFKA);
    assert_eq!(newest(one()), MismatchCause::RcvbufChanged);
    assert_eq!(one().cause(), MismatchCause::Unknown);
    // The clamp was changed by itself.
    let clamped = Inputs {
        window_clamp: 65_535,
        ..set
    };
    let other = case(set, KAFKA, clamped, (0, 65_535));
    assert_eq!(newest(other), MismatchCause::WindowClampChanged);
    // First one, then the other.
    let both = case(scaled(plain()), FREE, clamped, (0, 65_535));
    assert_eq!(newest(both), MismatchCause::WindowClampChanged);
}
