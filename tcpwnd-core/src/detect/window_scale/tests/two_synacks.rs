use super::*;
use crate::fixture::{ABSENT, ISN, TSVAL, ack_options, cookie, healthy, options, synack};
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

const RECOMPUTED: Verdict = Verdict::Mismatch(MismatchCause::CookieRecomputed);
const UNDECIDED: Verdict = Verdict::Unverified(UnverifiedCause::TwoSynacks);

#[test]
fn the_echo_of_the_ack_decides() {
    assert_eq!(verdict(&two(1, Some(TSVAL))), RECOMPUTED);
    assert_eq!(verdict(&two(1, Some(LATER))), Verdict::Ok);
    assert_eq!(verdict(&two(7, Some(TSVAL))), Verdict::Ok);
    assert_eq!(verdict(&two(7, Some(LATER))), RECOMPUTED);
    assert_eq!(shifts(&two(7, Some(LATER))).0, (Some(1), Some(7)));
}

#[test]
fn without_an_echo_of_either_nothing_is_said() {
    for used in [1, 7, 4] {
        assert_eq!(verdict(&two(used, None)), UNDECIDED);
        assert_eq!(verdict(&two(used, Some(5))), UNDECIDED);
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
    assert_eq!(verdict(&record), RECOMPUTED);
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

/// The first SYN+ACK left before watching began, or its program did not run; a second cookie of
/// the same sequence number said something else.
#[test]
fn a_cookie_whose_ack_echoes_another_synack_is_not_judged_by_this_one() {
    let mut record = cookie(7, 7);
    record.handshake.ack.options = ack_options(Some((78, TSVAL - 1_000)));
    assert_eq!(verdict(&record), UNDECIDED);
    // More SYN+ACKs were seen that said the same: the echo is of one of those.
    record.handshake.synacks = 2;
    assert_eq!(verdict(&record), Verdict::Ok);
}

#[test]
fn a_repeated_synack_of_the_normal_path_says_what_the_first_one_said() {
    let mut record = healthy();
    record.handshake.ack.options = ack_options(Some((78, TSVAL + 1_000)));
    assert_eq!(verdict(&record), Verdict::Ok);
}

#[test]
fn what_the_flag_does_not_call_a_second_synack_is_none() {
    let mut record = two(7, Some(LATER));
    record.handshake.flags &= !handshake_flags::SYNACKS_DIFFER;
    assert_eq!(verdict(&record), Verdict::Ok);
}
