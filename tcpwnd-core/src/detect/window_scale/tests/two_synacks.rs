use super::*;
use crate::fixture::{ABSENT, ISN, SINCE, TSVAL, ack_options, cookie, healthy, options, synack};
use tcpwnd_common::{handshake_flags, synack_flags};

const LATER: u32 = TSVAL + 1_000;

/// Two cookies of one sequence number: the first said 7, the last 1; the socket uses `used`, and
/// the ACK echoes `echo`.
fn two(used: u8, echo: Option<u32>) -> HandshakeRecord {
    let mut record = cookie(7, used);
    record.handshake.last = synack(Some(1), synack_flags::COOKIE);
    record.handshake.last.ktime_ns += 1_000_000_000;
    record.handshake.last.options = options(Some(1), Some((LATER, 77)));
    record.handshake.flags |= handshake_flags::SYNACKS_DIFFER;
    record.handshake.synacks = 2;
    record.handshake.ack.options = ack_options(echo.map(|echo| (78, echo)));
    record
}

const DIFFERENT: Verdict = Verdict::Mismatch(MismatchCause::Unknown);
const UNDECIDED: Verdict = Verdict::Unverified(UnverifiedCause::TwoSynacks);

#[test]
fn the_echo_of_the_ack_decides() {
    assert_eq!(verdict(&two(1, Some(TSVAL))), DIFFERENT);
    assert_eq!(verdict(&two(1, Some(LATER))), Verdict::Ok);
    assert_eq!(verdict(&two(7, Some(TSVAL))), Verdict::Ok);
    assert_eq!(verdict(&two(7, Some(LATER))), DIFFERENT);
    assert_eq!(shifts(&two(7, Some(LATER))).0, (Some(1), Some(7)));
}

#[test]
fn without_an_echo_of_either_nothing_is_said() {
    for used in [1, 7, 4] {
        assert_eq!(verdict(&two(used, None)), UNDECIDED);
        assert_eq!(verdict(&two(used, Some(TSVAL + 500))), UNDECIDED);
        assert_eq!(verdict(&two(used, Some(LATER + 500))), UNDECIDED);
        let mut record = two(used, Some(TSVAL));
        record.handshake.ack.options = ABSENT;
        assert_eq!(verdict(&record), UNDECIDED);
        // An ACK of another connection does not count.
        let mut record = two(used, Some(TSVAL));
        record.handshake.ack.snd_una = ISN;
        assert_eq!(verdict(&record), UNDECIDED);
    }
}

#[test]
fn an_echo_of_both_decides_nothing() {
    let mut record = two(7, Some(TSVAL));
    record.handshake.last.options = options(Some(1), Some((TSVAL, 77)));
    assert_eq!(verdict(&record), UNDECIDED);
}

#[test]
fn two_that_say_the_same_need_no_telling_apart() {
    // They differ in what does not matter.
    let mut record = two(7, None);
    record.handshake.last = synack(Some(7), synack_flags::COOKIE);
    record.handshake.last.flags &= !synack_flags::TSTAMP_OK;
    assert_eq!(verdict(&record), Verdict::Ok);
    record.child.rcv_wscale = 8;
    assert_eq!(verdict(&record), DIFFERENT);
    // The peer's own scale matters as much.
    record.handshake.last.snd_wscale -= 1;
    assert_eq!(verdict(&record), UNDECIDED);
}

#[test]
fn two_without_a_scale_say_the_same() {
    let mut record = two(0, None);
    crate::fixture::unscaled(&mut record);
    record.handshake.first = synack(None, synack_flags::COOKIE);
    record.handshake.last = synack(None, 0);
    record.handshake.syn = options(None, None);
    assert_eq!(
        verdict(&record),
        Verdict::ScaleLost(LostCause::PeerDidNotOffer)
    );
}

#[test]
fn one_of_them_unreadable_makes_all_unreadable() {
    let mut record = two(7, Some(TSVAL));
    record.handshake.last.options = ABSENT;
    assert_eq!(
        verdict(&record),
        Verdict::Unverified(UnverifiedCause::Unreadable)
    );
}

/// A second cookie of the same sequence number may have said something else; its program did not
/// run, or it was not kept.
#[test]
fn a_cookie_whose_ack_echoes_another_synack_is_not_judged_by_this_one() {
    let mut record = cookie(7, 7);
    record.handshake.ack.options = ack_options(Some((78, LATER)));
    assert_eq!(verdict(&record), UNDECIDED);
    // More SYN+ACKs were seen that said the same: the echo is of one of those.
    record.handshake.synacks = 2;
    assert_eq!(verdict(&record), Verdict::Ok);
    // Not where one said something else about windows, or may have.
    record.handshake.last = synack(Some(7), synack_flags::COOKIE);
    record.handshake.last.options = options(Some(7), Some((TSVAL + 500, 77)));
    record.handshake.flags |= handshake_flags::SYNACKS_DIFFER;
    record.handshake.synacks = 3;
    assert_eq!(verdict(&record), UNDECIDED);
}

#[test]
fn a_cookie_whose_ack_echoes_an_earlier_synack_began_before_the_start_if_it_can_have() {
    let before = Verdict::Unverified(UnverifiedCause::BeforeStart);
    for synacks in [1, 5] {
        for behind in [1, 1_000, 1 << 31] {
            let mut record = cookie(7, 7);
            record.handshake.synacks = synacks;
            record.handshake.ack.options = ack_options(Some((78, TSVAL.wrapping_sub(behind))));
            assert_eq!(verdict(&record), before);
            record.header.ktime_ns = SINCE + 129_000_000_000;
            assert_eq!(verdict(&record), UNDECIDED);
        }
        // Serial numbers: more than half the range behind is ahead.
        let mut record = cookie(7, 7);
        record.handshake.synacks = synacks;
        let ahead = TSVAL.wrapping_add((1 << 31) - 1);
        record.handshake.ack.options = ack_options(Some((78, ahead)));
        assert_ne!(verdict(&record), before);
    }
}

/// With timestamps the echo would tell; a cookie without them has no scale to be wrong about.
#[test]
fn a_cookie_without_an_echo_is_judged_by_what_was_seen() {
    let mut record = cookie(7, 7);
    record.handshake.ack.options = ABSENT;
    assert_eq!(verdict(&record), Verdict::Ok);
}

#[test]
fn a_repeated_synack_of_the_normal_path_says_what_the_first_one_said() {
    let mut record = healthy();
    record.handshake.ack.options = ack_options(Some((78, TSVAL + 1_000)));
    assert_eq!(verdict(&record), Verdict::Ok);
}

/// The peer got two cookies with different sequence numbers and answers the earlier one.
fn previous(advertised: u8, used: u8) -> HandshakeRecord {
    let mut record = cookie(9, used);
    record.handshake.flags |= handshake_flags::PREVIOUS_KEPT;
    record.handshake.last = synack(Some(advertised), synack_flags::COOKIE);
    record.handshake.first.isn = 4_711;
    record.handshake.first.ktime_ns += 100_000_000;
    record.handshake.first.options = options(Some(9), Some((LATER, 77)));
    // Neither belongs to the one that is answered.
    record.handshake.syn = options(None, None);
    record.handshake.inputs.sysctl_window_scaling = 0;
    record
}

#[test]
fn the_synack_before_the_last_sequence_number_is_judged_when_it_is_answered() {
    let judgement = judged(&previous(7, 7));
    assert_eq!(
        (judgement.verdict, judgement.path),
        (Verdict::Ok, Path::Cookie)
    );
    assert_eq!(verdict(&previous(1, 7)), DIFFERENT);
    assert_eq!(shifts(&previous(1, 7)).0, (Some(1), Some(7)));
    // The time is that of the one that was answered.
    assert_eq!(judgement.impact.handshake_us, Some(200_000));
}

#[test]
fn of_that_one_only_what_is_its_own_counts() {
    // Neither the later one's SYN, nor its inputs.
    let mut record = previous(7, 0);
    crate::fixture::unscaled(&mut record);
    record.handshake.last = synack(None, synack_flags::COOKIE);
    assert_eq!(verdict(&record), Verdict::ScaleLost(LostCause::Unknown));
    // Its repetitions were not counted: an echo of another one is of an unknown one.
    let mut record = previous(7, 7);
    record.handshake.synacks = 2;
    record.handshake.ack.options = ack_options(Some((78, TSVAL + 1)));
    assert_eq!(verdict(&record), UNDECIDED);
    // No echo, no time.
    record.handshake.ack.options = ack_options(None);
    assert_eq!(verdict(&record), Verdict::Ok);
    assert_eq!(judged(&record).impact.handshake_us, None);
}

#[test]
fn a_previous_one_plays_no_part_where_the_last_is_answered_or_none() {
    let mut record = cookie(7, 7);
    record.handshake.flags |= handshake_flags::PREVIOUS_KEPT;
    record.handshake.last = synack(Some(1), synack_flags::COOKIE);
    record.handshake.last.isn = 4_711;
    assert_eq!(verdict(&record), Verdict::Ok);

    let stale = Verdict::Unverified(UnverifiedCause::StaleRecord);
    record.child.snd_una = 5;
    assert_eq!(verdict(&record), stale);
    // The flag says whose `last` is.
    let mut record = previous(7, 7);
    record.handshake.flags &= !handshake_flags::PREVIOUS_KEPT;
    assert_eq!(verdict(&record), stale);
    let mut record = previous(7, 7);
    record.handshake.last.ktime_ns = 0;
    assert_eq!(verdict(&record), stale);
}

#[test]
fn what_the_flag_does_not_call_a_second_synack_is_none() {
    let mut record = two(7, Some(LATER));
    record.handshake.flags &= !handshake_flags::SYNACKS_DIFFER;
    assert_eq!(verdict(&record), Verdict::Ok);
}
