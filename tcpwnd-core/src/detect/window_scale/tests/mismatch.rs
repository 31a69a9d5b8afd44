use super::*;
use crate::fixture::{ISN, OFFERED, cookie, healthy, options, unscaled};
use tcpwnd_common::synack_flags;

#[test]
fn an_ordinary_handshake_is_ok() {
    let judgement = judged(&healthy());
    assert_eq!(judgement.verdict, Verdict::Ok);
    assert_eq!(judgement.path, Path::Normal);
    assert_eq!(
        shifts(&healthy()),
        ((Some(7), Some(7)), (Some(OFFERED), Some(OFFERED)))
    );
    let (receive, send) = (judgement.receive.unwrap(), judgement.send.unwrap());
    assert_eq!((receive.factor(), receive.damage()), (1.0, Damage::None));
    assert_eq!((send.factor(), send.damage()), (1.0, Damage::None));
}

#[test]
fn a_cookie_that_came_to_the_same_scale_is_ok() {
    let judgement = judged(&cookie(7, 7));
    assert_eq!(
        (judgement.verdict, judgement.path),
        (Verdict::Ok, Path::Cookie)
    );
}

#[test]
fn it_is_a_cookie_whichever_of_both_ends_was_seen_to_be_one() {
    let mismatch = Verdict::Mismatch(MismatchCause::Unknown);
    let mut record = cookie(1, 7);
    record.handshake.flags = 0;
    let judgement = judged(&record);
    assert_eq!(
        (judgement.verdict, judgement.path),
        (mismatch, Path::Cookie)
    );

    let mut record = cookie(1, 7);
    record.handshake.first.flags &= !synack_flags::COOKIE;
    let judgement = judged(&record);
    assert_eq!(
        (judgement.verdict, judgement.path),
        (mismatch, Path::Cookie)
    );
}

/// LINE's case: a kernel whose cookie path ignores SO_RCVBUF.
#[test]
fn one_announced_and_seven_used_is_64_times_too_small() {
    let record = cookie(1, 7);
    let judgement = judged(&record);
    assert!(matches!(judgement.verdict, Verdict::Mismatch(_)));
    assert_eq!(judgement.path, Path::Cookie);
    let receive = judgement.receive.unwrap();
    assert_eq!((receive.announced, receive.used), (Some(1), Some(7)));
    assert_eq!(receive.factor(), 64.0);
    assert_eq!(receive.damage(), Damage::TooSmall);
    assert_eq!(judgement.send.unwrap().damage(), Damage::None);
}

#[test]
fn ten_announced_and_eight_used_is_an_overrun() {
    let judgement = judged(&cookie(10, 8));
    assert!(matches!(judgement.verdict, Verdict::Mismatch(_)));
    let receive = judgement.receive.unwrap();
    assert_eq!(
        (receive.factor(), receive.damage()),
        (0.25, Damage::Overrun)
    );
}

#[test]
fn a_mismatch_of_the_normal_path_is_not_laid_to_cookies() {
    let mut record = healthy();
    record.child.rcv_wscale = 8;
    let judgement = judged(&record);
    assert_eq!(judgement.verdict, Verdict::Mismatch(MismatchCause::Unknown));
    assert_eq!(judgement.path, Path::Normal);
}

#[test]
fn option_against_none_is_a_mismatch_in_either_direction() {
    let mut record = healthy();
    unscaled(&mut record);
    assert_eq!(verdict(&record), Verdict::Mismatch(MismatchCause::Unknown));

    let mut record = healthy();
    record.handshake.first = crate::fixture::synack(None, 0);
    assert_eq!(verdict(&record), Verdict::Mismatch(MismatchCause::Unknown));
    assert_eq!(
        shifts(&record),
        ((None, Some(7)), (Some(OFFERED), Some(OFFERED)))
    );
    // Without the option in the SYN+ACK the peer does not shift its windows either.
    let send = judged(&record).send.unwrap();
    assert_eq!(send.damage(), Damage::Overrun);
}

/// A shift of 0 and none have the same effect on a window, but not on the rules: with the option
/// the peer scales its own windows.
#[test]
fn a_scale_of_0_is_not_none() {
    let mut record = healthy();
    record.handshake.first = crate::fixture::synack(Some(0), 0);
    record.child.rcv_wscale = 0;
    assert_eq!(verdict(&record), Verdict::Ok);

    unscaled(&mut record);
    let judgement = judged(&record);
    assert_eq!(judgement.verdict, Verdict::Mismatch(MismatchCause::Unknown));
    assert_eq!(judgement.receive.unwrap().damage(), Damage::None);
    assert_eq!(judgement.send.unwrap().damage(), Damage::TooSmall);
}

#[test]
fn the_send_direction_alone_is_a_mismatch_too() {
    let mut record = healthy();
    record.child.snd_wscale = OFFERED - 2;
    let judgement = judged(&record);
    assert_eq!(judgement.verdict, Verdict::Mismatch(MismatchCause::Unknown));
    assert_eq!(judgement.receive.unwrap().damage(), Damage::None);
    let send = judgement.send.unwrap();
    assert_eq!((send.factor(), send.damage()), (4.0, Damage::TooSmall));

    record.child.snd_wscale = OFFERED + 1;
    let send = judged(&record).send.unwrap();
    assert_eq!((send.factor(), send.damage()), (0.5, Damage::Overrun));
}

#[test]
fn a_send_mismatch_of_a_cookie_is_not_laid_to_the_receive_scale() {
    let mut record = cookie(7, 7);
    record.child.snd_wscale = OFFERED - 1;
    assert_eq!(verdict(&record), Verdict::Mismatch(MismatchCause::Unknown));
}

/// RFC 7323, section 2.3: the kernel uses 14 for anything above.
#[test]
fn an_offer_above_14_counts_as_14() {
    let mut record = healthy();
    record.handshake.syn = options(Some(15), Some((77, 0)));
    record.handshake.first.snd_wscale = 14;
    record.child.snd_wscale = 14;
    assert_eq!(verdict(&record), Verdict::Ok);
    assert_eq!(judged(&record).send.unwrap().announced, Some(14));
}

#[test]
fn fast_open_is_judged_by_the_ack_once_data_was_acknowledged() {
    let mut record = healthy();
    record.handshake.first.flags |= synack_flags::FAST_OPEN;
    record.child.snd_una = ISN.wrapping_add(1 + 1_448);
    let judgement = judged(&record);
    assert_eq!(
        (judgement.verdict, judgement.path),
        (Verdict::Ok, Path::FastOpen)
    );
    record.child.rcv_wscale = 6;
    assert_eq!(verdict(&record), Verdict::Mismatch(MismatchCause::Unknown));
}
