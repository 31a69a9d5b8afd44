use super::*;
use crate::fixture::{
    ABSENT, ISN, NO_HANDSHAKE, OFFERED, RTT_NS, SINCE, cookie, healthy, options, raw,
};
use tcpwnd_common::{Outcome, child_flags, handshake_flags, synack_flags};

fn unverified(record: &HandshakeRecord) -> Option<UnverifiedCause> {
    match judged(record) {
        Judgement {
            verdict: Verdict::Unverified(cause),
            receive: None,
            send: None,
            ..
        } => Some(cause),
        _ => None,
    }
}

/// Established at `ktime_ns` without a record; `srtt_us` is 0 where nothing was measured.
fn unrecorded(ktime_ns: u64, srtt_us: u64) -> HandshakeRecord {
    let mut record = healthy();
    record.record_found = 0;
    record.handshake = NO_HANDSHAKE;
    record.header.ktime_ns = ktime_ns;
    record.child.srtt_us8 = (srtt_us * 8) as u32;
    record
}

#[test]
fn a_synack_from_before_the_start() {
    // A cookie's: nothing was measured, and its life is two minutes.
    for seconds in [0, 1, 63, 120, 128] {
        let record = unrecorded(SINCE + seconds * 1_000_000_000, 0);
        assert_eq!(unverified(&record), Some(UnverifiedCause::BeforeStart));
        assert_eq!(judged(&record).path, Path::Unknown);
    }
    let record = unrecorded(SINCE + 128_000_000_001, 0);
    assert_eq!(unverified(&record), Some(UnverifiedCause::NoRecord));
    // Programs are attached one after the other: the state change can be reported earlier.
    assert_eq!(
        unverified(&unrecorded(SINCE - 1, 0)),
        Some(UnverifiedCause::BeforeStart)
    );
}

#[test]
fn a_measured_round_trip_says_when_it_began() {
    let rtt_us = RTT_NS / 1_000;
    // It began 1 ms before the start, at it, 50 ms after it (programs take effect one by one).
    for after in [-1_000_000, 0, 50_000_000_i64] {
        let record = unrecorded((SINCE + RTT_NS).strict_add_signed(after), rtt_us);
        assert_eq!(unverified(&record), Some(UnverifiedCause::BeforeStart));
    }
    let record = unrecorded(SINCE + RTT_NS + 50_001_000, rtt_us);
    assert_eq!(unverified(&record), Some(UnverifiedCause::NoRecord));
}

#[test]
fn an_open_from_both_sides_has_no_synack_of_a_listener() {
    let mut record = healthy();
    record.handshake.flags |= handshake_flags::SIMULTANEOUS;
    assert_eq!(unverified(&record), Some(UnverifiedCause::NoRecord));
}

#[test]
fn a_request_that_a_bpf_program_made_has_no_synack_of_this_stack() {
    let mut record = healthy();
    record.handshake = NO_HANDSHAKE;
    record.handshake.first.isn = ISN;
    record.handshake.flags = handshake_flags::BPF_REQUEST;
    assert_eq!(unverified(&record), Some(UnverifiedCause::BpfCookie));
    // Also right after the start: what was not built is not older either.
    record.header.ktime_ns = SINCE;
    assert_eq!(unverified(&record), Some(UnverifiedCause::BpfCookie));
    assert_eq!(judged(&record).path, Path::Unknown);
    // The mark is of another connection with the same addresses.
    record.child.snd_una = 5;
    assert_eq!(unverified(&record), Some(UnverifiedCause::StaleRecord));
}

#[test]
fn a_cookie_that_this_stack_did_not_send_is_of_a_bpf_program_unless_it_is_older() {
    let mut record = healthy();
    record.handshake = NO_HANDSHAKE;
    record.handshake.first.isn = ISN;
    record.handshake.flags = handshake_flags::FOREIGN_COOKIE;
    assert_eq!(unverified(&record), Some(UnverifiedCause::BpfCookie));
    assert_eq!(judged(&record).path, Path::Unknown);
    // Right after the start the stack can have sent it before that.
    let at = record.header.ktime_ns;
    record.header.ktime_ns = SINCE;
    assert_eq!(unverified(&record), Some(UnverifiedCause::BeforeStart));
    // The mark is of another connection with the same addresses.
    record.header.ktime_ns = at;
    record.child.snd_una = 5;
    assert_eq!(unverified(&record), Some(UnverifiedCause::StaleRecord));
}

#[test]
fn a_record_of_an_earlier_connection_is_stale() {
    for other in [ISN, ISN.wrapping_add(2), 12_345] {
        let mut record = healthy();
        record.child.snd_una = other;
        assert_eq!(unverified(&record), Some(UnverifiedCause::StaleRecord));
        assert_eq!(judged(&record).path, Path::Unknown);
    }
    // Also where it would have shown a mismatch.
    let mut record = cookie(1, 7);
    record.child.snd_una = 1;
    assert_eq!(unverified(&record), Some(UnverifiedCause::StaleRecord));
}

#[test]
fn a_stale_record_of_fast_open() {
    let fast_open = |snd_una: u32, ack_snd_una: u32, ack_present: u8| {
        let mut record = healthy();
        record.handshake.first.flags |= synack_flags::FAST_OPEN;
        record.child.snd_una = snd_una;
        record.handshake.ack.snd_una = ack_snd_una;
        record.handshake.ack.options.present = ack_present;
        unverified(&record)
    };
    let first = ISN.wrapping_add(1);
    let stale = Some(UnverifiedCause::StaleRecord);
    // No more than the unscaled window of a SYN can be acknowledged by now.
    assert_eq!(fast_open(first.wrapping_add(65_535), first, 1), None);
    assert_eq!(fast_open(first.wrapping_add(65_536), first, 1), stale);
    assert_eq!(fast_open(first.wrapping_sub(1), first, 1), stale);
    // The ACK was of another connection, or was not seen.
    assert_eq!(
        fast_open(first.wrapping_add(10), first.wrapping_add(1), 1),
        stale
    );
    assert_eq!(fast_open(first.wrapping_add(10), first, 0), stale);
    // Without data the socket itself is witness enough.
    assert_eq!(fast_open(first, 9, 0), None);
}

#[test]
fn only_fast_open_may_have_had_data_acknowledged() {
    let mut record = healthy();
    record.child.snd_una = ISN.wrapping_add(11);
    assert_eq!(unverified(&record), Some(UnverifiedCause::StaleRecord));
}

#[test]
fn connections_that_never_became_established() {
    for outcome in [Outcome::Died, Outcome::ClosedEarly] {
        let mut record = cookie(1, 7);
        record.child.outcome = outcome as u8;
        assert_eq!(unverified(&record), Some(UnverifiedCause::NotEstablished));
        assert_eq!(judged(&record).path, Path::Cookie);
        assert!(!verdict(&record).is_finding());
        record.record_found = 0;
        assert_eq!(unverified(&record), Some(UnverifiedCause::NotEstablished));
    }
}

#[test]
fn a_packet_that_was_not_read() {
    let mut record = healthy();
    record.handshake.first.options = ABSENT;
    assert_eq!(unverified(&record), Some(UnverifiedCause::Unreadable));
    record.handshake.first.options = raw(&[2, 4, 5, 0xb4, 3, 3, 7, 8, 9]);
    assert_eq!(unverified(&record), Some(UnverifiedCause::Unreadable));
}

#[test]
fn a_packet_and_a_request_that_contradict_each_other() {
    let change = |change: fn(&mut HandshakeRecord)| {
        let mut record = healthy();
        change(&mut record);
        unverified(&record)
    };
    let unreadable = Some(UnverifiedCause::Unreadable);
    assert_eq!(change(|_| {}), None);
    assert_eq!(change(|r| r.handshake.first.rcv_wscale = 6), unreadable);
    assert_eq!(
        change(|r| r.handshake.first.options = options(Some(6), Some((crate::fixture::TSVAL, 77)))),
        unreadable
    );
    assert_eq!(
        change(|r| r.handshake.first.options = options(None, None)),
        unreadable
    );
    assert_eq!(
        change(|r| r.handshake.first.flags &= !synack_flags::WSCALE_OK),
        unreadable
    );
    // Both say 15, which no kernel sends.
    assert_eq!(
        change(|r| {
            r.handshake.first = crate::fixture::synack(Some(15), 0);
            r.child.rcv_wscale = 14;
        }),
        unreadable
    );
}

#[test]
fn a_syn_and_a_request_that_contradict_each_other() {
    let mut record = healthy();
    record.handshake.syn = options(Some(OFFERED - 1), None);
    assert_eq!(unverified(&record), Some(UnverifiedCause::Unreadable));
    record.handshake.syn = options(None, None);
    assert_eq!(unverified(&record), Some(UnverifiedCause::Unreadable));
    // Where the SYN was not seen, the request has what it offered.
    record.handshake.syn = ABSENT;
    assert_eq!(verdict(&record), Verdict::Ok);
    assert_eq!(judged(&record).send.unwrap().announced, Some(OFFERED));
}

#[test]
fn a_socket_that_was_not_read() {
    let change = |change: fn(&mut HandshakeRecord)| {
        let mut record = healthy();
        change(&mut record);
        unverified(&record)
    };
    let unreadable = Some(UnverifiedCause::Unreadable);
    assert_eq!(
        change(|r| r.child.flags &= !child_flags::COMPLETE),
        unreadable
    );
    assert_eq!(change(|r| r.child.rcv_wscale = 15), unreadable);
    assert_eq!(change(|r| r.child.snd_wscale = 15), unreadable);
    // The kernel zeroes the shift counts of a socket that does not scale.
    assert_eq!(
        change(|r| r.child.flags &= !child_flags::WSCALE_OK),
        unreadable
    );
    assert_eq!(
        change(|r| {
            r.child.flags &= !child_flags::WSCALE_OK;
            r.child.rcv_wscale = 0;
        }),
        unreadable
    );
    assert_eq!(
        change(|r| {
            r.child.flags &= !child_flags::WSCALE_OK;
            r.child.snd_wscale = 0;
        }),
        unreadable
    );
}
