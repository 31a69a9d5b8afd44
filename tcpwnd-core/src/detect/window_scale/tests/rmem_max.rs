//! What `rmem_max` was, and causes that depend on it.

use super::*;
use crate::fixture::{RTT_NS, SYNACK_AT, cookie, inputs};
use tcpwnd_common::Inputs;

const ACK_AT: u64 = SYNACK_AT + RTT_NS;
const SMALL: u32 = 212_992;
const LARGE: u32 = 128 << 20;

fn history(readings: &[(u64, u32)]) -> RmemMaxHistory {
    let mut history = RmemMaxHistory::default();
    for &(ktime_ns, bytes) in readings {
        history.add(RmemMax { ktime_ns, bytes });
    }
    history
}

#[test]
fn a_value_that_was_read_before_and_after_was_there_in_between() {
    let history = history(&[(10, 1), (20, 1), (30, 2), (40, 2)]);
    assert_eq!(history.pairs(10, 20), [(1, 1)]);
    assert_eq!(history.pairs(15, 35), [(1, 2)]);
    assert_eq!(history.pairs(30, 40), [(2, 2)]);
    assert_eq!(history.last_ns(), Some(40));
}

#[test]
fn between_two_readings_that_differ_it_was_either() {
    let history = history(&[(10, 1), (20, 1), (30, 2)]);
    assert_eq!(history.pairs(15, 25), [(1, 1), (1, 2)]);
    assert_eq!(history.pairs(25, 30), [(1, 2), (2, 2)]);
    // It does not change back.
    assert_eq!(history.pairs(22, 28), [(1, 1), (1, 2), (2, 2)]);
}

#[test]
fn nothing_is_known_of_what_was_not_read() {
    let history = history(&[(10, 1), (20, 1)]);
    assert_eq!(history.pairs(9, 15), []);
    assert_eq!(history.pairs(15, 21), []);
    assert_eq!(RmemMaxHistory::default().pairs(1, 2), []);
}

#[test]
fn old_values_are_forgotten_and_not_taken_for_known() {
    let readings: Vec<_> = (0..100).map(|i| (u64::from(i) * 10, i)).collect();
    let history = history(&readings);
    assert_eq!(history.pairs(10, 980), []);
    assert_eq!(history.pairs(900, 980), [(90, 98)]);
}

/// From 7 to 12 or back, with nothing else changed.
fn verdict_with(readings: &[(u64, u32)], raised: bool) -> Verdict {
    let free = |shift: u8| (shift, 65_535 << shift);
    let (announced, in_use) = if raised {
        (free(7), free(12))
    } else {
        (free(12), free(7))
    };
    let inputs = Inputs {
        rcvbuf: 131_072,
        userlocks: 0,
        window_clamp: 0,
        route_window: 0,
        scaling_ratio: 0,
        ..inputs()
    };
    let mut record = cookie(announced.0, in_use.0);
    record.handshake.inputs = inputs;
    record.handshake.cookie_inputs = inputs;
    record.handshake.first.window_clamp = announced.1;
    record.handshake.cookie_window_clamp = in_use.1;
    let context = Context {
        watching_since_ktime_ns: SINCE,
        rmem_max: history(readings),
        ..Context::default()
    };
    let judgement = judge(&record, &context);
    let named = judgement.inputs.iter().any(|at| at.input == Input::RmemMax);
    // What is laid to it, it is shown for.
    assert!(named || judgement.verdict != CHANGED);
    judgement.verdict
}

const CHANGED: Verdict = Verdict::Mismatch(MismatchCause::RmemMaxChanged);
const UNKNOWN: Verdict = Verdict::Mismatch(MismatchCause::Unknown);

#[test]
fn it_was_changed_in_between() {
    let at = [(SINCE, SMALL), (ACK_AT, LARGE)];
    assert_eq!(verdict_with(&at, true), CHANGED);
    // When in that time it was is not known, but the SYN+ACK says what it was then, and so does
    // the socket.
    let long = [(SINCE, SMALL), (ACK_AT + 1_000, LARGE)];
    assert_eq!(verdict_with(&long, true), CHANGED);
    let back = [(SINCE, LARGE), (ACK_AT, SMALL)];
    assert_eq!(verdict_with(&back, false), CHANGED);
}

#[test]
fn near_misses_of_a_change_in_between() {
    // It had been changed before the SYN+ACK, or was changed after the ACK.
    let before = [(SINCE, SMALL), (SYNACK_AT - 1, LARGE), (ACK_AT, LARGE)];
    assert_eq!(verdict_with(&before, true), UNKNOWN);
    let after = [(SINCE, SMALL), (ACK_AT, SMALL), (ACK_AT + 1, LARGE)];
    assert_eq!(verdict_with(&after, true), UNKNOWN);
    // The other way round.
    let lowered = [(SINCE, LARGE), (ACK_AT, SMALL)];
    assert_eq!(verdict_with(&lowered, true), UNKNOWN);
    // To something that does not lead there.
    let elsewhere = [(SINCE, SMALL), (ACK_AT, 32 << 20)];
    assert_eq!(verdict_with(&elsewhere, true), UNKNOWN);
    // Not read.
    assert_eq!(verdict_with(&[], true), UNKNOWN);
    assert_eq!(verdict_with(&[(SINCE, SMALL)], true), UNKNOWN);
    assert_eq!(verdict_with(&[(ACK_AT, LARGE)], true), UNKNOWN);
}
