use super::*;
use crate::fixture::{ABSENT, ISN, OFFERED, TSVAL, ack_options, cookie, options, raw, unscaled};
use tcpwnd_common::{child_flags, synack_flags};

const UNKNOWN: Verdict = Verdict::Mismatch(MismatchCause::Unknown);

#[test]
fn timestamps_stripped_from_the_ack_of_a_cookie_break_both_directions() {
    let mut record = cookie(7, 0);
    unscaled(&mut record);
    record.child.flags &= !child_flags::TSTAMP_OK;
    record.handshake.ack.options = ack_options(None);
    let judgement = judged(&record);
    assert_eq!(
        judgement.verdict,
        Verdict::Mismatch(MismatchCause::CookieTimestampsMissing)
    );
    assert_eq!(shifts(&record), ((Some(7), None), (Some(OFFERED), None)));
    let (receive, send) = (judgement.receive.unwrap(), judgement.send.unwrap());
    // The peer shifts this host's windows up by 7 though nothing was shifted down ...
    assert_eq!(receive.factor(), 1.0 / 128.0);
    assert_eq!(receive.damage(), Damage::Overrun);
    // ... and this host does not shift the peer's windows up, so that it sends too little.
    assert_eq!(send.factor(), 512.0);
    assert_eq!(send.damage(), Damage::TooSmall);
}

/// Each of the things that must have been seen for that cause.
#[test]
fn timestamps_missing_is_said_only_where_each_step_was_seen() {
    let stripped = |change: fn(&mut HandshakeRecord)| {
        let mut record = cookie(7, 0);
        unscaled(&mut record);
        record.child.flags &= !child_flags::TSTAMP_OK;
        record.handshake.ack.options = ack_options(None);
        change(&mut record);
        verdict(&record)
    };
    // The ACK was not seen.
    assert_eq!(stripped(|r| r.handshake.ack.options = ABSENT), UNKNOWN);
    assert_eq!(stripped(|r| r.handshake.ack.snd_una = ISN), UNKNOWN);
    // The socket has timestamps all the same.
    assert_eq!(
        stripped(|r| r.child.flags |= child_flags::TSTAMP_OK),
        UNKNOWN
    );
    // The ACK carried them.
    assert_eq!(
        stripped(|r| r.handshake.ack.options = ack_options(Some((1, TSVAL)))),
        UNKNOWN
    );
    // TCP-AO: the SYN+ACK left without timestamps.
    assert_eq!(
        stripped(|r| r.handshake.first.options = options(Some(7), None)),
        UNKNOWN
    );
    let signed = |r: &mut HandshakeRecord| {
        r.handshake.ack.options = raw(&[29, 16, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    };
    assert_eq!(stripped(signed), UNKNOWN);
    // They may have stood behind what made no sense.
    assert_eq!(
        stripped(|r| r.handshake.ack.options = raw(&[8, 1])),
        UNKNOWN
    );
    // No cookie.
    assert_eq!(
        stripped(|r| {
            r.handshake.flags = 0;
            r.handshake.first.flags &= !synack_flags::COOKIE;
        }),
        UNKNOWN
    );
}

/// A cookie whose socket has no options.
pub(super) fn bare_record(change: impl Fn(&mut HandshakeRecord)) -> HandshakeRecord {
    let mut record = cookie(7, 0);
    unscaled(&mut record);
    record.child.flags &= !child_flags::TSTAMP_OK;
    change(&mut record);
    record
}

fn bare(change: impl Fn(&mut HandshakeRecord)) -> Verdict {
    verdict(&bare_record(change))
}

#[test]
fn timestamps_switched_off_here_are_not_laid_to_the_way() {
    let off = |r: &mut HandshakeRecord| r.handshake.cookie_inputs.sysctl_timestamps = 0;
    assert_eq!(
        bare(off),
        Verdict::Mismatch(MismatchCause::TimestampsDisabled)
    );
    // They are on: something else.
    assert_eq!(bare(|_| {}), UNKNOWN);
    // They went missing too: either would have done it.
    let both = |r: &mut HandshakeRecord| {
        off(r);
        r.handshake.ack.options = ack_options(None);
    };
    assert_eq!(bare(both), UNKNOWN);
    // It is not known what they were when the ACK came.
    let unread = |r: &mut HandshakeRecord| {
        off(r);
        r.handshake.cookie_inputs.complete = 0;
    };
    assert_eq!(bare(unread), UNKNOWN);
    // The ACK was not seen.
    let unseen = |r: &mut HandshakeRecord| {
        off(r);
        r.handshake.ack.options = ABSENT;
    };
    assert_eq!(bare(unseen), UNKNOWN);
}

/// The authentication option, with a MAC of 12 bytes.
pub(super) const SIGNATURE: [u8; 16] = [29, 16, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn tcp_ao_is_known_by_both_packets() {
    let signed_synack = |r: &mut HandshakeRecord| {
        let mut bytes = vec![2, 4, 0x05, 0xb4, 1, 3, 3, 7];
        bytes.extend(SIGNATURE);
        r.handshake.first.options = raw(&bytes);
    };
    let signed_ack = |r: &mut HandshakeRecord| r.handshake.ack.options = raw(&SIGNATURE);
    let both = |r: &mut HandshakeRecord| {
        signed_synack(r);
        signed_ack(r);
    };
    assert_eq!(bare(both), Verdict::Mismatch(MismatchCause::CookieTcpAo));
    // Signed, and neither of them has timestamps, but one is not signed.
    let only_synack = |r: &mut HandshakeRecord| {
        signed_synack(r);
        r.handshake.ack.options = ack_options(None);
    };
    assert_eq!(bare(only_synack), UNKNOWN);
    let only_ack = |r: &mut HandshakeRecord| {
        r.handshake.first.options = options(Some(7), None);
        signed_ack(r);
    };
    assert_eq!(bare(only_ack), UNKNOWN);
    // The socket has timestamps: the cookie did keep something.
    let kept = |r: &mut HandshakeRecord| {
        both(r);
        r.child.flags |= child_flags::TSTAMP_OK;
    };
    assert_eq!(bare(kept), UNKNOWN);
    // No cookie.
    let normal = |r: &mut HandshakeRecord| {
        both(r);
        r.handshake.flags = 0;
        r.handshake.first.flags &= !synack_flags::COOKIE;
    };
    assert_eq!(bare(normal), UNKNOWN);
}
