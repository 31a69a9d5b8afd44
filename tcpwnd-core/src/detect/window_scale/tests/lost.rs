use super::*;
use crate::fixture::{ABSENT, OFFERED, cookie, healthy, options, raw, synack, unscaled};
use tcpwnd_common::{child_flags, synack_flags};

/// Neither the SYN+ACK nor the socket has a scale.
pub(super) fn lost() -> HandshakeRecord {
    let mut record = healthy();
    record.handshake.first = synack(None, 0);
    unscaled(&mut record);
    record
}

/// A cookie for a peer without timestamps, as the kernel builds it: all options are gone.
pub(super) fn bare_cookie() -> HandshakeRecord {
    let mut record = cookie(7, 7);
    record.handshake.first = synack(None, synack_flags::COOKIE);
    record.handshake.first.flags &= !synack_flags::TSTAMP_OK;
    record.handshake.first.options = options(None, None);
    record.handshake.syn = options(Some(OFFERED), None);
    record.handshake.ack.options = crate::fixture::ack_options(None);
    unscaled(&mut record);
    record.child.flags &= !child_flags::TSTAMP_OK;
    record
}

#[test]
fn a_peer_that_did_not_offer() {
    let mut record = lost();
    record.handshake.syn = options(None, Some((77, 0)));
    assert_eq!(
        verdict(&record),
        Verdict::ScaleLost(LostCause::PeerDidNotOffer)
    );
    assert_eq!(shifts(&record), ((None, None), (None, None)));
    let judgement = judged(&record);
    assert_eq!(judgement.receive.unwrap().damage(), Damage::None);
    assert_eq!(judgement.send.unwrap().damage(), Damage::None);
}

#[test]
fn scaling_switched_off_here() {
    let mut record = lost();
    record.handshake.inputs.sysctl_window_scaling = 0;
    assert_eq!(
        verdict(&record),
        Verdict::ScaleLost(LostCause::DisabledHere)
    );
    // Whatever the peer would have liked.
    record.handshake.syn = options(None, None);
    assert_eq!(
        verdict(&record),
        Verdict::ScaleLost(LostCause::DisabledHere)
    );
}

#[test]
fn what_was_switched_off_when_the_synack_left_counts() {
    // Off by now, on then: the peer is the one that did not offer.
    let mut record = lost();
    record.handshake.syn = options(None, None);
    record.child.sysctl_window_scaling = 0;
    assert_eq!(
        verdict(&record),
        Verdict::ScaleLost(LostCause::PeerDidNotOffer)
    );
    // The inputs of then were not read completely: what is set now has to do.
    record.handshake.inputs.complete = 0;
    record.handshake.inputs.sysctl_window_scaling = 0;
    assert_eq!(
        verdict(&record),
        Verdict::ScaleLost(LostCause::DisabledHere)
    );
    record.child.sysctl_window_scaling = 1;
    assert_eq!(
        verdict(&record),
        Verdict::ScaleLost(LostCause::PeerDidNotOffer)
    );
}

#[test]
fn a_cookie_for_a_peer_without_timestamps() {
    let judgement = judged(&bare_cookie());
    assert_eq!(
        judgement.verdict,
        Verdict::ScaleLost(LostCause::CookieWithoutTimestamps)
    );
    assert_eq!(judgement.path, Path::Cookie);
    // The peer offered; nothing came of it.
    assert_eq!(
        shifts(&bare_cookie()),
        ((None, None), (Some(OFFERED), None))
    );
    assert_eq!(judgement.send.unwrap().damage(), Damage::None);
}

#[test]
fn a_bare_cookie_for_a_peer_that_did_not_offer_is_the_peers_doing() {
    let mut record = bare_cookie();
    record.handshake.syn = options(None, None);
    assert_eq!(
        verdict(&record),
        Verdict::ScaleLost(LostCause::PeerDidNotOffer)
    );
}

#[test]
fn the_same_without_a_cookie_has_another_cause() {
    let mut record = bare_cookie();
    record.handshake.flags = 0;
    record.handshake.first.flags &= !synack_flags::COOKIE;
    assert_eq!(verdict(&record), Verdict::ScaleLost(LostCause::Unknown));
    assert_eq!(judged(&record).path, Path::Normal);
}

#[test]
fn a_cookie_with_timestamps_has_another_cause() {
    let mut record = bare_cookie();
    record.handshake.first.options = options(None, Some((crate::fixture::TSVAL, 77)));
    assert_eq!(verdict(&record), Verdict::ScaleLost(LostCause::Unknown));
}

#[test]
fn no_cause_without_the_syn() {
    let mut record = lost();
    record.handshake.syn = ABSENT;
    assert_eq!(verdict(&record), Verdict::ScaleLost(LostCause::Unknown));
    // The scale may have stood behind what made no sense.
    record.handshake.syn = raw(&[2, 4, 5, 0xb4, 8, 1]);
    assert_eq!(verdict(&record), Verdict::ScaleLost(LostCause::Unknown));
}
