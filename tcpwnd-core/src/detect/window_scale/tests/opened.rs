//! Connections that this host opened.

use super::*;
use crate::fixture::{
    ISN, OFFERED, SYNACK_AT, TSVAL, bare, opened, options, raw, refused, repeated,
};
use tcpwnd_common::{Connect, ConnectRecord, TcpOptions, child_flags, connect_flags};

fn judged(record: &ConnectRecord) -> Judgement {
    let context = Context {
        watching_since_ktime_ns: SINCE,
        ..Context::default()
    };
    judge_opened(record, &context)
}

fn verdict(record: &ConnectRecord) -> Verdict {
    judged(record).verdict
}

fn lost(cause: LostCause) -> Verdict {
    Verdict::ScaleLost(cause)
}

fn unverified(cause: UnverifiedCause) -> Verdict {
    Verdict::Unverified(cause)
}

#[test]
fn granted_and_used_is_ok() {
    let judgement = judged(&opened());
    assert_eq!(
        (judgement.verdict, judgement.path),
        (Verdict::Ok, Path::Normal)
    );
    let (receive, send) = (judgement.receive.unwrap(), judgement.send.unwrap());
    assert_eq!((receive.announced, receive.used), (Some(7), Some(7)));
    assert_eq!((send.announced, send.used), (Some(OFFERED), Some(OFFERED)));
    assert_eq!(
        (receive.damage(), send.damage()),
        (Damage::None, Damage::None)
    );
    assert_eq!(judgement.impact.ceiling_bytes_per_second, None);
    assert_eq!(judgement.impact.srtt_us, Some(200_000));
    assert_eq!(verdict(&repeated(opened())), Verdict::Ok);
}

#[test]
fn a_server_that_does_not_grant_caps_both_directions_at_64_kib() {
    for record in [refused(), bare()] {
        let judgement = judged(&record);
        assert_eq!(judgement.verdict, lost(LostCause::PeerDidNotGrant));
        let (receive, send) = (judgement.receive.unwrap(), judgement.send.unwrap());
        assert_eq!((receive.announced, receive.used), (Some(7), None));
        assert_eq!((send.announced, send.used), (None, None));
        // Nobody takes a window for another one than it is.
        assert_eq!(
            (receive.damage(), send.damage()),
            (Damage::None, Damage::None)
        );
        assert_eq!(judgement.impact.peer_window_bytes, Some(65_535));
        assert_eq!(
            judgement.impact.ceiling_bytes_per_second,
            Some(65_535.0 / 0.2)
        );
    }
    let unknown = judged(&repeated(refused()));
    assert_eq!(unknown.verdict, lost(LostCause::PeerDidNotGrant));
    assert_eq!(unknown.impact.ceiling_bytes_per_second, None);
    // A socket whose own buffer is smaller is held to that.
    let mut small = refused();
    small.child.window_clamp = 20_000;
    let ceiling = judged(&small).impact.ceiling_bytes_per_second;
    assert_eq!(ceiling, Some(100_000.0));
}

#[test]
fn scaling_that_is_off_here_is_not_the_servers_doing() {
    let disabled = lost(LostCause::DisabledHere);
    let mut off = refused();
    off.connect.rcv_wscale = 0;
    off.connect.begun_window_scaling = 0;
    off.child.sysctl_window_scaling = 0;
    assert_eq!(verdict(&off), disabled);
    assert_eq!(judged(&off).receive.unwrap().announced, None);
    // Off when the SYN was built, on again since.
    off.child.sysctl_window_scaling = 1;
    assert_eq!(verdict(&off), disabled);
    // On when the SYN was built, off since: a SYN that was sent again offered nothing.
    let mut off = refused();
    off.child.sysctl_window_scaling = 0;
    assert_eq!(verdict(&off), disabled);
    // Timestamps are another matter.
    let mut record = bare();
    record.connect.begun_timestamps = 0;
    record.child.sysctl_timestamps = 0;
    assert_eq!(verdict(&record), lost(LostCause::PeerDidNotGrant));
}

#[test]
fn a_shift_count_of_0_is_an_offer_too() {
    let mut small = opened();
    small.connect.rcv_wscale = 0;
    small.child.rcv_wscale = 0;
    assert_eq!(verdict(&small), Verdict::Ok);
    // Granted is only what was offered, whether the beginning was seen or not.
    small.connect.flags = connect_flags::ANSWERED;
    assert_eq!(verdict(&small), Verdict::Ok);

    let mut small = refused();
    small.connect.rcv_wscale = 0;
    assert_eq!(verdict(&small), lost(LostCause::PeerDidNotGrant));
    // Neither seen nor granted: nobody knows whether it was offered.
    small.connect.flags = connect_flags::ANSWERED;
    assert_eq!(verdict(&small), lost(LostCause::Unknown));
    assert_eq!(judged(&small).receive.unwrap().announced, None);
    // A shift count tells by itself.
    small.connect.rcv_wscale = 7;
    assert_eq!(verdict(&small), lost(LostCause::PeerDidNotGrant));
}

#[test]
fn scaling_switched_off_before_a_synack_that_grants_it_is_a_mismatch() {
    let mut record = refused();
    record.connect.options = options(Some(OFFERED), Some((TSVAL, 77)));
    record.child.sysctl_window_scaling = 0;
    let judgement = judged(&record);
    assert_eq!(
        judgement.verdict,
        Verdict::Mismatch(MismatchCause::ScalingSwitchedOff)
    );
    let (receive, send) = (judgement.receive.unwrap(), judgement.send.unwrap());
    assert_eq!((receive.announced, receive.used), (Some(7), None));
    assert_eq!(
        (receive.damage(), receive.shrink_log2),
        (Damage::Overrun, -7)
    );
    assert_eq!((send.announced, send.used), (Some(OFFERED), None));
    assert_eq!((send.damage(), send.shrink_log2), (Damage::TooSmall, 9));
    let impact = judgement.impact;
    // What the socket means by 65,535 is 128 times as much to the peer.
    assert_eq!(impact.peer_window_bytes, Some(65_535 << 7));
    assert_eq!(impact.ceiling_bytes_per_second, Some(65_535.0 / 0.2));
    // On again by the time the socket was looked at.
    record.child.sysctl_window_scaling = 1;
    assert_eq!(verdict(&record), Verdict::Mismatch(MismatchCause::Unknown));
}

#[test]
fn what_cannot_be_is_unverified() {
    let unreadable = unverified(UnverifiedCause::Unreadable);
    let changed = |change: fn(&mut ConnectRecord)| {
        let mut record = opened();
        change(&mut record);
        verdict(&record)
    };
    let none = |record: &mut ConnectRecord| record.connect.options = options(None, None);
    // The socket scales though nothing was granted, or by other shifts than were agreed.
    let mut scales = opened();
    none(&mut scales);
    assert_eq!(verdict(&scales), unreadable);
    assert_eq!(changed(|record| record.child.rcv_wscale = 6), unreadable);
    assert_eq!(changed(|record| record.child.snd_wscale = 6), unreadable);
    assert_eq!(changed(|record| record.connect.rcv_wscale = 8), unreadable);
    assert_eq!(changed(|record| record.connect.rcv_wscale = 15), unreadable);
    // Granted though not offered.
    let mut record = refused();
    record.connect.options = options(Some(OFFERED), None);
    record.connect.rcv_wscale = 0;
    record.connect.begun_window_scaling = 0;
    assert_eq!(verdict(&record), unreadable);
    // Not read, or not what was on the wire.
    assert_eq!(
        changed(|record| record.child.flags &= !child_flags::COMPLETE),
        unreadable
    );
    assert_eq!(
        changed(|record| record.connect.options.present = 0),
        unreadable
    );
    assert_eq!(
        changed(|record| record.connect.options = raw(&[2, 4, 5, 180, 3, 1])),
        unreadable
    );
}

#[test]
fn shift_counts_above_14_count_as_14() {
    let mut record = opened();
    record.connect.options = options(Some(15), None);
    record.child.snd_wscale = 14;
    assert_eq!(verdict(&record), Verdict::Ok);
    record.connect.options = options(Some(14), None);
    assert_eq!(verdict(&record), Verdict::Ok);
}

#[test]
fn another_packet_than_the_synack_proves_nothing() {
    let stale = unverified(UnverifiedCause::StaleRecord);
    for change in [
        |record: &mut ConnectRecord| record.connect.seq = ISN - 1,
        // RST and ACK; SYN alone; FIN.
        |record: &mut ConnectRecord| record.connect.tcp_flags = 0x14,
        |record: &mut ConnectRecord| record.connect.tcp_flags = 0x02,
        |record: &mut ConnectRecord| record.connect.tcp_flags = 0x01,
        |record: &mut ConnectRecord| record.rcv_nxt = 1,
    ] {
        for mut record in [opened(), refused(), bare()] {
            change(&mut record);
            let judgement = judged(&record);
            assert_eq!((judgement.verdict, judgement.path), (stale, Path::Unknown));
            assert_eq!((judgement.receive, judgement.send), (None, None));
        }
    }
    // With ECN the flags are more than these two.
    let mut ecn = opened();
    ecn.connect.tcp_flags = 0x52;
    assert_eq!(verdict(&ecn), Verdict::Ok);
}

#[test]
fn without_a_synack_it_depends_on_when_watching_began() {
    let mut record = refused();
    record.connect = Connect::NONE;
    assert_eq!(verdict(&record), unverified(UnverifiedCause::NoRecord));
    record.header.ktime_ns = SINCE + 100_000_000;
    assert_eq!(verdict(&record), unverified(UnverifiedCause::BeforeStart));
    // Not measured, hence repeated, for up to 127 s.
    let mut record = repeated(refused());
    record.connect = Connect::NONE;
    record.header.ktime_ns = SINCE + 127_000_000_000;
    assert_eq!(verdict(&record), unverified(UnverifiedCause::BeforeStart));
    record.header.ktime_ns = SINCE + 129_000_000_000;
    assert_eq!(verdict(&record), unverified(UnverifiedCause::NoRecord));
    // The beginning alone is no SYN+ACK.
    let mut record = opened();
    record.connect = Connect {
        begun_ktime_ns: SYNACK_AT,
        begun_window_scaling: 1,
        flags: connect_flags::BEGUN,
        ..Connect::NONE
    };
    assert_eq!(verdict(&record), unverified(UnverifiedCause::NoRecord));
}

#[test]
fn fast_open_is_data_that_the_synack_acknowledged() {
    let mut record = opened();
    record.connect.acknowledged = 101;
    assert_eq!(judged(&record).path, Path::FastOpen);
    assert_eq!(verdict(&record), Verdict::Ok);
    // The server took the SYN without its data.
    record.connect.acknowledged = 1;
    assert_eq!(judged(&record).path, Path::Normal);
    let mut record = refused();
    record.connect.acknowledged = 101;
    assert_eq!(verdict(&record), lost(LostCause::PeerDidNotGrant));
}

#[test]
fn every_verdict_has_a_cause_of_its_role() {
    let empty = TcpOptions {
        len: 0,
        ..options(None, None)
    };
    let options = [options(Some(OFFERED), None), options(None, None), empty];
    for packet in options {
        for (scales, setting, shift, flags) in
            (0..48).map(|i: u8| (i & 1 != 0, i >> 1 & 1, 7 * (i >> 2 & 1), i >> 3 & 3))
        {
            let mut record = if scales { opened() } else { refused() };
            record.connect.options = packet;
            record.child.sysctl_window_scaling = setting;
            record.connect.rcv_wscale = shift;
            record.connect.flags = flags;
            let is_of_client = match verdict(&record) {
                Verdict::Ok => true,
                Verdict::Mismatch(cause) => cause.is_of(Role::Client),
                Verdict::ScaleLost(cause) => cause.is_of(Role::Client),
                Verdict::Unverified(cause) => cause.is_of(Role::Client),
            };
            assert!(is_of_client, "{record:?}");
        }
    }
}

/// What looks like a cause and must not be called so: its name, what it is, the record, the verdict.
pub(super) fn near_misses() -> Vec<(&'static str, &'static str, ConnectRecord, Verdict)> {
    let off = MismatchCause::ScalingSwitchedOff.name();
    let not_granted = LostCause::PeerDidNotGrant.name();
    let disabled = LostCause::DisabledHere.name();
    let of = |record: ConnectRecord, change: fn(&mut ConnectRecord)| {
        let mut record = record;
        change(&mut record);
        record
    };
    let switched_off = |r: &mut ConnectRecord| r.child.sysctl_window_scaling = 0;
    let never_on = |r: &mut ConnectRecord| {
        r.connect.rcv_wscale = 0;
        r.connect.begun_window_scaling = 0;
        r.child.sysctl_window_scaling = 0;
    };
    let granted = |r: &mut ConnectRecord| r.connect.options = options(Some(OFFERED), None);
    let on_again = of(refused(), granted);
    let mut unheard = of(on_again, never_on);
    unheard.connect.flags = connect_flags::ANSWERED | connect_flags::BEGUN;
    let earlier = |r: &mut ConnectRecord| r.connect.seq = ISN - 1;
    let unseen = |r: &mut ConnectRecord| r.connect = Connect::NONE;
    let unreadable = |r: &mut ConnectRecord| r.connect.options.present = 0;
    vec![
        (
            off,
            "after it was established",
            of(opened(), switched_off),
            Verdict::Ok,
        ),
        (
            off,
            "the server granted nothing either",
            of(refused(), switched_off),
            lost(LostCause::DisabledHere),
        ),
        (
            off,
            "on again when the socket was looked at",
            on_again,
            Verdict::Mismatch(MismatchCause::Unknown),
        ),
        (
            off,
            "off before the SYN",
            unheard,
            unverified(UnverifiedCause::Unreadable),
        ),
        (
            not_granted,
            "scaling is off here",
            of(refused(), never_on),
            lost(LostCause::DisabledHere),
        ),
        (
            not_granted,
            "the packet is not the SYN+ACK",
            of(refused(), earlier),
            unverified(UnverifiedCause::StaleRecord),
        ),
        (
            not_granted,
            "no packet was seen",
            of(refused(), unseen),
            unverified(UnverifiedCause::NoRecord),
        ),
        (
            not_granted,
            "its options were not read",
            of(refused(), unreadable),
            unverified(UnverifiedCause::Unreadable),
        ),
        (
            disabled,
            "timestamps are, not scaling",
            of(bare(), |r| r.child.sysctl_timestamps = 0),
            lost(LostCause::PeerDidNotGrant),
        ),
        (
            disabled,
            "a shift count of 0",
            of(refused(), |r| r.connect.rcv_wscale = 0),
            lost(LostCause::PeerDidNotGrant),
        ),
    ]
}

#[test]
fn what_looks_like_a_cause_is_not_called_so() {
    for (like, what, record, called) in near_misses() {
        let verdict = verdict(&record);
        assert_eq!(verdict, called, "like {like}: {what}");
        assert_ne!(verdict.cause(), Some(like), "{what}");
    }
}
