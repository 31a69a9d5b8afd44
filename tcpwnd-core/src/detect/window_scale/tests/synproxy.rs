//! Behind netfilter's SYN proxy the verdict is on what the proxy told the peer, or there is none.

use super::*;
use crate::fixture::{
    ABSENT, OFFERED, PROXY_ISN, PROXY_RTT_NS, PROXY_TSVAL, SINCE, cookie, healthy, options,
    proxied, synack, unscaled,
};
use tcpwnd_common::{Inputs, handshake_flags, proxy_flags, synack_flags};

const AGREE: (Option<u8>, Option<u8>) = (Some(OFFERED), Some(OFFERED));

fn unverified(cause: UnverifiedCause) -> Verdict {
    Verdict::Unverified(cause)
}

/// The verdict where the proxy is watched, and has been for a time.
fn watched(record: &HandshakeRecord, for_ns: u64) -> Verdict {
    let context = Context {
        watching_since_ktime_ns: record.header.ktime_ns - for_ns,
        sees_synproxy: true,
        ..Context::default()
    };
    judge(record, &context).verdict
}

#[test]
fn what_the_proxy_announced_counts_not_what_the_stack_did() {
    let record = proxied(Some(3), 7);
    let judgement = judged(&record);
    let cause = MismatchCause::SynproxyWscale;
    assert_eq!(judgement.verdict, Verdict::Mismatch(cause));
    assert_eq!(judgement.path, Path::Synproxy);
    assert_eq!(shifts(&record), ((Some(3), Some(7)), AGREE));
    assert_eq!(judgement.receive.unwrap().factor(), 16.0);
    // A rule that announces more makes the peer overshoot.
    let judgement = judged(&proxied(Some(10), 7));
    assert_eq!(judgement.verdict, Verdict::Mismatch(cause));
    assert_eq!(judgement.receive.unwrap().damage(), Damage::Overrun);
}

#[test]
fn a_rule_that_announces_the_sockets_own_scale_is_sound() {
    let record = proxied(Some(7), 7);
    assert_eq!(verdict(&record), Verdict::Ok);
    assert_eq!(judged(&record).path, Path::Synproxy);
    assert_eq!(shifts(&record), ((Some(7), Some(7)), AGREE));
}

#[test]
fn the_ceiling_is_by_the_time_to_the_peer_not_to_the_proxy() {
    let record = proxied(Some(3), 7);
    let impact = judged(&record).impact;
    assert_eq!(impact.srtt_us, None);
    assert_eq!(impact.handshake_us, Some(PROXY_RTT_NS / 1_000));
    let window = u64::from(record.child.rcv_wnd) >> 7 << 3;
    assert_eq!(impact.peer_window_bytes, Some(window));
    let ceiling = window as f64 / 0.05;
    assert_eq!(impact.ceiling_bytes_per_second, Some(ceiling));
    // Nor is it shown where there is no verdict.
    let mut unseen = record;
    unseen.proxy.ktime_ns = 0;
    assert_eq!(judged(&unseen).impact.srtt_us, None);
}

#[test]
fn a_rule_without_a_scale_loses_it() {
    let mut record = proxied(None, 7);
    record.proxy.options = options(None, None);
    record.handshake.first = synack(None, synack_flags::PROXIED);
    record.handshake.syn = options(None, None);
    unscaled(&mut record);
    let lost = Verdict::ScaleLost(LostCause::SynproxyWithoutScale);
    assert_eq!(verdict(&record), lost);
    // Settings here have no say in what the rule announces.
    record.handshake.inputs.sysctl_window_scaling = 0;
    assert_eq!(verdict(&record), lost);
}

#[test]
fn a_synack_that_was_not_seen_is_no_evidence_however_alike_the_stacks_values_are() {
    let mut record = proxied(Some(7), 7);
    record.proxy = crate::fixture::NO_PROXY;
    let unseen = unverified(UnverifiedCause::Synproxy);
    assert_eq!(verdict(&record), unseen);
    assert_eq!(judged(&record).path, Path::Synproxy);
    // Nor is one that the proxy sent for another connection of the same addresses.
    let mut record = proxied(Some(7), 7);
    record.proxy.isn = PROXY_ISN + 1;
    assert_eq!(verdict(&record), unseen);
    // Nor does a mismatch of the stack's own values say anything about the peer.
    let mut record = cookie(1, 7);
    record.handshake.first.flags |= synack_flags::PROXIED;
    record.handshake.syn_ack = PROXY_ISN;
    assert_eq!(verdict(&record), unseen);
}

#[test]
fn a_proxy_that_answered_before_the_start() {
    let mut record = proxied(Some(3), 7);
    record.proxy = crate::fixture::NO_PROXY;
    let older = unverified(UnverifiedCause::BeforeStart);
    assert_eq!(watched(&record, 0), older);
    assert_eq!(watched(&record, 128_000_000_000), older);
    let unseen = unverified(UnverifiedCause::Synproxy);
    assert_eq!(watched(&record, 128_000_000_001), unseen);
    // Where the proxy cannot be watched, it does not get better with time.
    assert_eq!(verdict(&record), unseen);
}

#[test]
fn a_proxy_that_is_not_in_the_way_of_this_port() {
    // Its SYN+ACK of an earlier connection with the same addresses is still there.
    let mut record = healthy();
    record.proxy = proxied(Some(3), 7).proxy;
    assert_eq!(verdict(&record), Verdict::Ok);
    assert_eq!(judged(&record).path, Path::Normal);
    assert_eq!(shifts(&record), ((Some(7), Some(7)), AGREE));
}

#[test]
fn a_rule_that_changed_between_two_synacks() {
    let mut record = proxied(Some(3), 7);
    record.proxy.synacks = 2;
    record.proxy.flags |= proxy_flags::DIFFER;
    assert_eq!(verdict(&record), unverified(UnverifiedCause::TwoSynacks));
}

#[test]
fn the_peers_echo_tells_which_synack_it_took() {
    let echoing = |echo: u32, synacks: u32| {
        let mut record = proxied(Some(7), 7);
        record.handshake.syn = options(Some(OFFERED), Some((77, echo)));
        record.proxy.synacks = synacks;
        record
    };
    let later = PROXY_TSVAL.wrapping_add(64);
    assert_eq!(verdict(&echoing(later, 2)), Verdict::Ok);
    let undecided = unverified(UnverifiedCause::TwoSynacks);
    assert_eq!(verdict(&echoing(later, 1)), undecided);
    let earlier = PROXY_TSVAL.wrapping_sub(64);
    assert_eq!(verdict(&echoing(earlier, 2)), undecided);
    let older = unverified(UnverifiedCause::BeforeStart);
    assert_eq!(watched(&echoing(earlier, 2), SINCE / 100), older);
    assert_eq!(watched(&echoing(earlier, 2), 129_000_000_000), undecided);
}

#[test]
fn an_ack_that_came_to_the_proxy_without_timestamps() {
    let mut record = proxied(Some(7), 7);
    record.handshake.first = synack(None, synack_flags::PROXIED);
    record.handshake.syn = options(None, None);
    unscaled(&mut record);
    let missing = Verdict::Mismatch(MismatchCause::CookieTimestampsMissing);
    assert_eq!(verdict(&record), missing);
    // With timestamps it is something else: scaling is off here, say.
    record.handshake.syn = options(Some(OFFERED), Some((77, PROXY_TSVAL)));
    let unknown = Verdict::Mismatch(MismatchCause::Unknown);
    assert_eq!(verdict(&record), unknown);
}

#[test]
fn the_rule_is_not_to_blame_for_what_the_stack_got_wrong_itself() {
    let unknown = Verdict::Mismatch(MismatchCause::Unknown);
    // The proxy's SYN was answered by a cookie, which came to another scale than it announced.
    let mut record = proxied(Some(3), 7);
    record.handshake.first = synack(Some(1), synack_flags::PROXIED | synack_flags::COOKIE);
    record.handshake.flags |= handshake_flags::COOKIE_ACCEPTED;
    record.handshake.cookie_inputs = Inputs {
        rcvbuf: 1 << 20,
        ..record.handshake.inputs
    };
    assert_eq!(verdict(&record), unknown);
    // It announced nothing, and yet the socket scales.
    let mut record = proxied(None, 7);
    record.proxy.options = options(None, None);
    assert_eq!(verdict(&record), unknown);
    // The other direction: the socket reads the peer's windows by another shift than was offered.
    let mut record = proxied(Some(7), 7);
    record.child.snd_wscale = OFFERED - 1;
    assert_eq!(verdict(&record), unknown);
}

#[test]
fn readings_of_the_proxys_synack_that_contradict_each_other() {
    let change = |change: fn(&mut HandshakeRecord)| {
        let mut record = proxied(Some(7), 7);
        change(&mut record);
        verdict(&record)
    };
    let unreadable = unverified(UnverifiedCause::Unreadable);
    assert_eq!(change(|_| {}), Verdict::Ok);
    assert_eq!(change(|r| r.proxy.options = ABSENT), unreadable);
    assert_eq!(change(|r| r.proxy.wscale = 6), unreadable);
    assert_eq!(change(|r| r.proxy.flags = 0), unreadable);
    // A scale without timestamps, or to a peer that offered none: the proxy sends neither.
    assert_eq!(
        change(|r| r.proxy.options = options(Some(7), None)),
        unreadable
    );
    assert_eq!(
        change(|r| r.proxy.options = options(Some(7), Some((PROXY_TSVAL | 15, 77)))),
        unreadable
    );
}

#[test]
fn a_connection_of_the_syn_before_the_one_that_was_kept() {
    let mut record = proxied(Some(7), 7);
    record.handshake.last = record.handshake.first;
    record.handshake.first = synack(Some(7), synack_flags::PROXIED);
    record.handshake.first.isn = 5;
    record.handshake.flags = handshake_flags::PREVIOUS_KEPT;
    assert_eq!(verdict(&record), unverified(UnverifiedCause::Synproxy));
}
