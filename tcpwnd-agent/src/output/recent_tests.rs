//! The lists of what happened lately: how far back each reaches, and that it says so.

use tcpwnd_common::HandshakeRecord;

use super::{LOSSES, Recent, SLOTS, TICK_NS};
use crate::testing;

/// A handshake at a moment; from 1 to 7 is damaged.
fn at(ktime_ns: u64, port: u16, used: u8) -> HandshakeRecord {
    let mut record = testing::handshake(port, 40_000, 1, used);
    record.header.ktime_ns = ktime_ns;
    record.handshake.first.ktime_ns = ktime_ns - 200_000_000;
    record
}

fn note(recent: &mut Recent, record: &HandshakeRecord) {
    let finding = testing::finding(&mut testing::engine(), record);
    recent.handshake(&finding).unwrap();
}

const BEGIN: u64 = testing::SINCE_NS + 1_000_000_000;

#[test]
fn findings_are_found_by_time_and_port() {
    let mut recent = Recent::new(10);
    for (second, port, used) in [(0, 9092, 7), (1, 9093, 7), (2, 9092, 1), (3, 9092, 7)] {
        note(&mut recent, &at(BEGIN + second * 1_000_000_000, port, used));
    }
    let count = |since, port| recent.findings(since, port).count();
    // The sound one is no finding.
    assert_eq!(recent.len(), 3);
    assert_eq!(count(0, None), 3);
    assert_eq!(count(0, Some(9092)), 2);
    assert_eq!(count(BEGIN, Some(9092)), 2);
    assert_eq!(count(BEGIN + 1, Some(9092)), 1);
    assert_eq!(count(0, Some(9094)), 0);
    let line = recent.findings(0, None).next().unwrap().line.get();
    assert!(
        line.starts_with(r#"{"schema":1,"kind":"handshake","time":"#)
            && line.contains(r#""verdict":"mismatch","cause":"cookie_ignored_rcvbuf""#),
        "{line}"
    );
}

#[test]
fn unverified_is_a_finding_but_no_damage_and_not_judged() {
    let mut recent = Recent::new(10);
    let mut record = at(BEGIN + 3_600_000_000_000, 9092, 1);
    record.record_found = 0;
    note(&mut recent, &record);
    assert!(recent.findings(0, None).all(|kept| !kept.damaged));
    assert_eq!((recent.len(), recent.judged_since(0, None)), (1, 0));
}

#[test]
fn what_was_dropped_is_counted_and_ends_the_memory() {
    let mut recent = Recent::new(2);
    for second in 0..5 {
        note(&mut recent, &at(BEGIN + second * 1_000_000_000, 9092, 7));
    }
    assert_eq!((recent.len(), recent.limit(), recent.dropped()), (2, 2, 3));
    let third = BEGIN + 2_000_000_000;
    assert!(!recent.reaches_back_to(0));
    assert!(!recent.reaches_back_to(third));
    assert!(recent.reaches_back_to(third + 1));
    assert_eq!(recent.findings(0, None).count(), 2);
}

#[test]
fn judged_handshakes_are_counted_from_the_next_tenth_of_a_second_on() {
    let mut recent = Recent::new(10);
    let tick = BEGIN.div_ceil(TICK_NS) * TICK_NS;
    for (offset, port) in [(0, 9092), (TICK_NS - 1, 9092), (TICK_NS, 9092), (1, 9093)] {
        note(&mut recent, &at(tick + offset, port, 1));
    }
    assert_eq!(recent.judged_since(tick, None), 4);
    assert_eq!(recent.judged_since(tick, Some(9092)), 3);
    assert_eq!(recent.judged_since(tick + 1, Some(9092)), 1);
    assert_eq!(recent.judged_since(tick + TICK_NS + 1, None), 0);
    assert_eq!(recent.slots.len(), 3);
}

#[test]
fn slots_are_bounded() {
    let mut recent = Recent::new(10);
    for tick in 0..2 * SLOTS as u64 {
        recent.judged(tick * TICK_NS, 9092);
    }
    assert_eq!(recent.slots.len(), SLOTS);
    assert_eq!(recent.judged_since(0, None), SLOTS as u64);
}

#[test]
fn losses_count_from_the_look_before_on() {
    let mut recent = Recent::new(10);
    let second = 1_000_000_000;
    recent.note_lost(second, 0);
    recent.note_lost(2 * second, 3);
    recent.note_lost(3 * second, 3);
    recent.note_lost(4 * second, 5);
    // The number of skipped runs can fall for a moment.
    recent.note_lost(5 * second, 4);
    recent.note_lost(6 * second, 5);
    assert_eq!(recent.lost_since(0), 5);
    assert_eq!(recent.lost_since(second), 5);
    // The answer at 2 s already knew of three.
    assert_eq!(recent.lost_since(2 * second), 2);
    assert_eq!(recent.lost_since(4 * second), 0);
}

#[test]
fn many_losses_become_one_but_none_is_forgotten() {
    let mut recent = Recent::new(10);
    let looks = 3 * LOSSES as u64;
    for look in 1..=looks {
        recent.note_lost(look * 1_000_000_000, look);
    }
    assert_eq!(recent.losses.len(), LOSSES);
    assert_eq!(recent.lost_since(0), looks);
    assert_eq!(recent.lost_since((looks - 1) * 1_000_000_000), 1);
}

#[test]
fn what_is_ignored_is_neither_found_nor_judged() {
    let mut recent = Recent::new(10);
    let mut engine = testing::engine().with_ignored(|_| true);
    let finding = testing::finding(&mut engine, &testing::unscaled(9092, 1));
    assert!(finding.ignored);
    recent.handshake(&finding).unwrap();
    assert_eq!((recent.len(), recent.judged_since(0, None)), (0, 0));
    let finding = testing::finding(&mut testing::engine(), &testing::unscaled(9092, 1));
    recent.handshake(&finding).unwrap();
    assert_eq!((recent.len(), recent.judged_since(0, None)), (1, 1));
}
