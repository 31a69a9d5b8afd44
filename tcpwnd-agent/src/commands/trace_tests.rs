//! Exit codes.

use super::{CLEAN, FINDINGS, INCONCLUSIVE, exit_code, gate};
use crate::cli::FailOn;
use crate::testing;
use tcpwnd_common::Outcome;
use tcpwnd_core::books::Books;

/// Books with one handshake each of what is asked for.
fn books(records: &[tcpwnd_common::HandshakeRecord]) -> Books {
    let mut engine = testing::engine();
    for record in records {
        testing::ingest(&mut engine, record);
    }
    engine.books().clone()
}

#[test]
fn findings_win_over_doubts_and_both_over_clean() {
    let ok = books(&[testing::handshake(9092, 1, 7, 7)]);
    let bad = books(&[testing::handshake(9092, 1, 1, 7)]);
    let any = gate(&[FailOn::Any]);
    assert_eq!(exit_code(&ok, any, false), CLEAN);
    assert_eq!(exit_code(&ok, any, true), INCONCLUSIVE);
    assert_eq!(exit_code(&bad, any, true), FINDINGS);
    assert_eq!(exit_code(&bad, any, false), FINDINGS);
}

#[test]
fn only_what_was_named_fails() {
    let bad = books(&[testing::handshake(9092, 1, 1, 7)]);
    assert_eq!(exit_code(&bad, gate(&[]), false), CLEAN);
    assert_eq!(
        exit_code(&bad, gate(&[FailOn::ScaleLost, FailOn::Unverified]), false),
        CLEAN
    );
    assert_eq!(
        exit_code(&bad, gate(&[FailOn::ScaleLost, FailOn::Mismatch]), false),
        FINDINGS
    );
}

#[test]
fn connections_that_say_nothing_about_the_watch_do_not_fail_it() {
    // No record, and within the two minutes in which an older handshake can still end.
    let mut older = testing::handshake(9092, 1, 7, 7);
    older.record_found = 0;
    older.child.srtt_us8 = 0;
    older.header.ktime_ns = testing::SINCE_NS + 1;
    let mut died = testing::handshake(9092, 2, 7, 7);
    died.child.outcome = Outcome::Died as u8;
    let books = books(&[older, died]);
    assert_eq!(books.all().unverifieds(), 2);
    assert_eq!(exit_code(&books, gate(&[FailOn::Any]), false), CLEAN);
}

#[test]
fn missing_evidence_fails_where_it_was_named() {
    let mut missing = testing::handshake(9092, 1, 7, 7);
    missing.record_found = 0;
    let books = books(&[missing]);
    assert_eq!(
        exit_code(&books, gate(&[FailOn::Unverified]), false),
        FINDINGS
    );
    assert_eq!(exit_code(&books, gate(&[FailOn::Any]), false), FINDINGS);
    assert_eq!(exit_code(&books, gate(&[FailOn::Mismatch]), false), CLEAN);
}

#[test]
fn what_is_ignored_fails_no_gate_and_stands_for_no_handshake_that_it_wants() {
    let mut engine = testing::engine().with_ignored(|_| true);
    testing::ingest(&mut engine, &testing::unscaled(9092, 1));
    let any = gate(&[FailOn::Any]);
    assert_eq!(exit_code(engine.books(), any, false), CLEAN);
    assert_eq!(engine.books().all().judged(), 0);
    // Damage that was done here fails it.
    testing::ingest(&mut engine, &testing::handshake(9092, 2, 1, 7));
    assert_eq!(exit_code(engine.books(), any, false), FINDINGS);
    // And so does the same of another peer.
    let other = books(&[testing::unscaled(9092, 1)]);
    assert_eq!(exit_code(&other, any, false), FINDINGS);
}
