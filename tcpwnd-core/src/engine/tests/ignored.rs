//! Peers that never scale and are not worth a finding: 10.9.0.2 in these tests.

use super::*;
use crate::detect::window_scale::{LostCause, Role};
use crate::fixture::{OFFERED, Plain, opened, options, refused, synack};
use tcpwnd_common::synack_flags;

const PEER: &str = "10.9.0.2";

fn ignoring() -> Engine {
    engine().with_ignored(|flow| flow.remote().ip().to_string() == PEER)
}

/// A peer whose SYN has no window scale.
pub(super) fn without_offer() -> HandshakeRecord {
    let mut record = healthy();
    record.handshake.first = synack(None, 0);
    record.handshake.syn = options(None, Some((77, 0)));
    unscaled(&mut record);
    record.child.flags |= child_flags::WATCHED;
    record
}

fn judged<T: Plain>(engine: &mut Engine, record: &T) -> Finding {
    match engine.ingest(&bytes_of(record)).unwrap() {
        Observation::Handshake(finding) => *finding,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_peer_did_not_offer_is_counted_and_no_finding() {
    let mut engine = ignoring();
    let finding = ingest(&mut engine, &without_offer());
    let cause = LostCause::PeerDidNotOffer;
    assert_eq!(finding.verdict, Verdict::ScaleLost(cause));
    assert!(finding.ignored && !finding.is_finding() && !finding.is_damaged());

    let totals = engine.books().totals(kernel(1, 0));
    assert!(totals.balanced, "{totals:?}");
    assert_eq!(
        (totals.ignored, totals.scale_lost, totals.judged),
        (1, 0, 0)
    );
    assert_eq!((totals.paths["normal"], totals.roles["server"]), (1, 1));
    assert_eq!(totals.causes.len(), 0);
    let (port, counts) = engine.books().ports().next().unwrap();
    assert_eq!((port, counts.ignored, counts.handshakes()), (9092, 1, 1));
    assert_eq!(counts.scale_lost(cause), 0);
    assert!(!engine.books().trips(Gate::ANY));
    assert!(engine.flows().is_empty());
    assert_eq!(engine.flows().untracked(), 0);
}

#[test]
fn what_becomes_of_an_ignored_connection_is_not_told() {
    let mut engine = ignoring();
    let record = without_offer();
    ingest(&mut engine, &record);
    for bytes in [bytes_of(&window(&record, 0, 0)), bytes_of(&closed(&record))] {
        assert_eq!(engine.ingest(&bytes), Ok(Observation::FilteredOut));
    }
    // Left out by a filter is something else.
    assert_eq!(engine.books().handshakes_filtered_out(), 0);
}

/// A peer that is not among those: 10.9.0.3.
#[test]
fn another_peer_without_an_offer_is_a_finding() {
    let mut engine = ignoring();
    let mut record = without_offer();
    record.flow.remote_addr[15] = 3;
    let finding = ingest(&mut engine, &record);
    assert!(!finding.ignored && finding.is_finding() && finding.is_damaged());
    assert_eq!(engine.flows().ports()[&9092].scale_lost, 1);
    assert!(engine.books().trips(Gate::ANY));
    let end = engine.ingest(&bytes_of(&closed(&record)));
    assert!(matches!(end, Ok(Observation::Closed(_))), "{end:?}");
}

#[test]
fn damage_done_here_is_a_finding_whoever_the_peer_is() {
    let mut engine = ignoring();
    let record = watched(40_000);
    let finding = ingest(&mut engine, &record);
    assert!(matches!(finding.verdict, Verdict::Mismatch(_)));
    assert!(!finding.ignored && finding.is_finding());
    assert_eq!(engine.books().all().ignored, 0);
    // And so is what becomes of it, while the end of another of that peer's is not told.
    ingest(&mut engine, &from_port(without_offer(), 40_001));
    let seen = engine.ingest(&bytes_of(&window(&record, 0, 0)));
    assert!(matches!(seen, Ok(Observation::Window(_))), "{seen:?}");
    let other = closed(&from_port(without_offer(), 40_001));
    let end = engine.ingest(&bytes_of(&other));
    assert_eq!(end, Ok(Observation::FilteredOut));
    let end = engine.ingest(&bytes_of(&closed(&record)));
    assert!(matches!(end, Ok(Observation::Closed(_))), "{end:?}");
}

/// The peer offers, or it is not known whether it did, or this host would not have granted it.
#[test]
fn scaling_that_was_lost_here_is_a_finding_whoever_the_peer_is() {
    let mut disabled = without_offer();
    disabled.handshake.inputs.sysctl_window_scaling = 0;
    let mut offered = without_offer();
    offered.handshake.syn = options(Some(OFFERED), Some((77, 0)));
    let mut unseen = without_offer();
    unseen.handshake.syn = crate::fixture::ABSENT;
    let mut bare = cookie(7, 7);
    bare.handshake.first = synack(None, synack_flags::COOKIE);
    bare.handshake.first.options = options(None, None);
    bare.handshake.syn = options(Some(OFFERED), None);
    unscaled(&mut bare);
    let mut proxied = crate::fixture::proxied(None, 7);
    unscaled(&mut proxied);
    for (record, cause) in [
        (disabled, LostCause::DisabledHere),
        (offered, LostCause::Unknown),
        (unseen, LostCause::Unknown),
        (bare, LostCause::CookieWithoutTimestamps),
        (proxied, LostCause::SynproxyWithoutScale),
    ] {
        let mut engine = ignoring();
        let finding = ingest(&mut engine, &record);
        assert_eq!(finding.verdict, Verdict::ScaleLost(cause));
        assert!(!finding.ignored && finding.is_finding(), "{cause}");
        let totals = engine.books().totals(kernel(1, 0));
        assert_eq!((totals.ignored, totals.scale_lost), (0, 1), "{cause}");
    }
}

#[test]
fn what_is_sound_or_not_known_is_what_it_is_for_anybody() {
    let mut stale = without_offer();
    stale.child.snd_una = 5;
    let mut died = without_offer();
    died.child.outcome = Outcome::Died as u8;
    for record in [healthy(), stale, died] {
        let mut engine = ignoring();
        let finding = ingest(&mut engine, &record);
        assert!(!finding.ignored, "{finding:?}");
        assert_eq!(finding.is_finding(), finding.verdict.is_finding());
        assert_eq!(engine.books().all().ignored, 0);
    }
}

#[test]
fn a_server_that_never_grants_is_ignored_and_this_hosts_own_setting_is_not() {
    let mut engine = ignoring();
    let finding = judged(&mut engine, &refused());
    assert_eq!(finding.role, Role::Client);
    assert!(finding.ignored && !finding.is_finding());
    let mut disabled = refused();
    disabled.child.sysctl_window_scaling = 0;
    assert!(judged(&mut engine, &disabled).is_finding());
    assert!(!judged(&mut engine, &opened()).ignored);
    let totals = engine.books().totals(kernel(3, 0));
    assert!(totals.balanced, "{totals:?}");
    assert_eq!((totals.ignored, totals.scale_lost, totals.ok), (1, 1, 1));
    let (port, counts) = engine.books().remote_ports().next().unwrap();
    assert_eq!((port, counts.ignored), (9092, 1));
}

#[test]
fn an_ignored_connection_proves_that_the_damaged_one_before_it_ended() {
    let mut engine = ignoring();
    ingest(&mut engine, &watched(40_000));
    assert_eq!(engine.flows().len(), 1);
    let mut next = without_offer();
    next.header.ktime_ns += 1_000_000;
    ingest(&mut engine, &next);
    assert!(engine.flows().is_empty());
}
