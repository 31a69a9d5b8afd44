//! What a former agent found counts as open until it is known to have ended.

use super::*;
use crate::detect::window_scale::LostCause;
use crate::flows::{Listed, OpenFlow};

/// The connections that an agent of its own finds in these records.
fn found(records: &[HandshakeRecord]) -> Vec<(Flow, OpenFlow)> {
    let mut former = engine();
    for record in records {
        ingest(&mut former, record);
    }
    let flows = former.flows().iter();
    flows.map(|(key, open)| (Flow(*key), *open)).collect()
}

fn carried(engine: &mut Engine, records: &[HandshakeRecord]) {
    for (flow, open) in found(records) {
        assert!(engine.carry_over(flow, open), "there is room");
    }
}

#[test]
fn it_counts_as_open_now_with_all_that_was_known() {
    let mut engine = engine();
    let record = cookie(1, 7);
    carried(&mut engine, &[watched(1)]);
    let port = engine.flows().ports()[&9092];
    assert_eq!((port.mismatched, port.worst_shrink_factor), (1, 64.0));
    let key = from_port(record, 1).flow;
    let known = *engine.flows().of(&key, record.header.ktime_ns).unwrap();
    assert!(known.carried_over);
    // Nobody shows this agent its windows.
    assert_eq!(known.windows, None);
    assert_eq!(engine.books().all().mismatches(), 0, "it found none itself");
}

#[test]
fn it_ends_when_somebody_has_looked() {
    let mut engine = engine();
    let record = cookie(1, 7);
    carried(&mut engine, &[record]);
    let (flow, at) = (Flow(record.flow), record.header.ktime_ns);
    assert!(!engine.ended(flow, at + 1), "that is another one");
    assert_eq!(engine.flows().len(), 1);
    assert!(engine.ended(flow, at));
    assert!(!engine.ended(flow, at), "it is gone");
    assert!(engine.flows().is_empty());
}

#[test]
fn a_new_connection_of_the_same_addresses_proves_that_it_ended() {
    for next in [healthy(), cookie(2, 7)] {
        let mut engine = engine();
        carried(&mut engine, &[cookie(1, 7)]);
        let mut next = next;
        next.header.ktime_ns += 1_000_000;
        let damaged = ingest(&mut engine, &next).is_damaged();
        assert_eq!(engine.flows().len(), usize::from(damaged));
        assert!(!engine.ended(Flow(next.flow), cookie(1, 7).header.ktime_ns));
        assert!(engine.flows().iter().all(|(_, open)| !open.carried_over));
    }
}

#[test]
fn what_this_agent_has_seen_itself_is_the_later_one() {
    let mut engine = engine();
    let mut later = cookie(2, 7);
    later.header.ktime_ns += 1_000_000;
    ingest(&mut engine, &later);
    carried(&mut engine, &[cookie(1, 7)]);
    let open = engine.flows().of(&later.flow, later.header.ktime_ns);
    assert_eq!(open.unwrap().advertised, Some(2));
}

#[test]
fn the_peers_to_ignore_and_the_limit_hold_for_it() {
    let lost = from_port(ignored::without_offer(), 9);
    let all = found(&[cookie(1, 7), lost]);
    let ignored = |engine: &Engine| -> Vec<Verdict> {
        let all = all.iter();
        let ignored = all.filter(|(flow, open)| engine.ignores(flow, open.verdict));
        ignored.map(|(_, open)| open.verdict).collect()
    };
    assert_eq!(ignored(&engine()), []);
    let never_scales = Verdict::ScaleLost(LostCause::PeerDidNotOffer);
    let ignoring = engine().with_ignored(|_| true);
    assert_eq!(ignored(&ignoring), [never_scales]);

    let mut full = engine();
    for port in 1..=4 {
        ingest(&mut full, &from_port(cookie(1, 7), 100 + port));
    }
    for (flow, open) in all {
        assert!(!full.carry_over(flow, open));
    }
    assert!(full.flows().iter().all(|(_, open)| !open.carried_over));
}

#[test]
fn each_change_is_told() {
    let mut engine = engine();
    let record = cookie(1, 7);
    let mut before = engine.flows().changes();
    let mut changed = |engine: &Engine| {
        let now = engine.flows().changes();
        std::mem::replace(&mut before, now) != now
    };
    ingest(&mut engine, &healthy());
    assert!(!changed(&engine));
    ingest(&mut engine, &record);
    assert!(changed(&engine));
    let (flow, at) = (Flow(record.flow), record.header.ktime_ns);
    engine.note_listed(flow, at, Listed::As(7));
    assert!(changed(&engine));
    engine.note_listed(flow, at + 1, Listed::As(8));
    assert!(!changed(&engine));
    assert_eq!(
        engine.flows().of(&flow.0, at).unwrap().listed,
        Listed::As(7)
    );
    engine.ingest(&bytes_of(&closed(&record))).unwrap();
    assert!(changed(&engine));
}
