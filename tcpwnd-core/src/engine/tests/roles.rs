//! Both ends: what this host accepted, and what it opened.

use super::*;
use crate::detect::window_scale::{LostCause, Role};
use crate::fixture::{Plain, opened, refused};

fn ingest_any<T: Plain>(engine: &mut Engine, record: &T) -> Finding {
    match engine.ingest(&bytes_of(record)).unwrap() {
        Observation::Handshake(finding) => *finding,
        other => panic!("{other:?}"),
    }
}

fn tracked(mut record: ConnectRecord, local_port: u16) -> ConnectRecord {
    record.child.flags |= child_flags::TRACKED;
    record.flow.local_port = local_port;
    record
}

#[test]
fn each_role_has_its_own_ports_and_all_are_in_one_sum() {
    let mut engine = engine();
    ingest(&mut engine, &healthy());
    ingest(&mut engine, &cookie(1, 7));
    for port in [40_000, 40_001, 40_002] {
        let record = tracked(opened(), port);
        assert_eq!(ingest_any(&mut engine, &record).role, Role::Client);
    }
    ingest_any(&mut engine, &tracked(refused(), 40_003));
    let totals = engine.books().totals(kernel(6, 0));
    assert!(totals.balanced, "{totals:?}");
    assert_eq!((totals.ok, totals.mismatch, totals.scale_lost), (4, 1, 1));
    let roles: Vec<_> = totals.roles.into_iter().collect();
    assert_eq!(roles, [("client", 4), ("server", 2)]);

    let ports: Vec<_> = engine.books().ports().map(|(port, _)| port).collect();
    assert_eq!(ports, [9092]);
    let remote: Vec<_> = engine.books().remote_ports().collect();
    assert_eq!((remote.len(), remote[0].0, remote[0].1.ok), (1, 9092, 3));
    assert_eq!(remote[0].1.scale_lost(LostCause::PeerDidNotGrant), 1);
    let gate = Gate {
        scale_lost: true,
        ..Gate::default()
    };
    assert!(engine.books().trips(gate));
}

#[test]
fn open_connections_are_told_apart_by_role() {
    let mut engine = engine();
    ingest(&mut engine, &watched(1));
    let client = tracked(refused(), 40_000);
    ingest_any(&mut engine, &client);
    assert_eq!(engine.flows().len(), 2);
    let (here, there) = (engine.flows().ports(), engine.flows().remote_ports());
    assert_eq!((here.len(), here[&9092].mismatched), (1, 1));
    assert_eq!((here[&9092].scale_lost, there[&9092].mismatched), (0, 0));
    assert_eq!((there.len(), there[&9092].scale_lost), (1, 1));
    let ceiling = there[&9092].lowest_ceiling_bytes_per_second;
    assert_eq!(ceiling, Some(327_675.0));

    let mut end = closed(&watched(1));
    end.flow = client.flow;
    end.role = ROLE_CLIENT;
    end.established_ktime_ns = client.header.ktime_ns;
    let Observation::Closed(end) = engine.ingest(&bytes_of(&end)).unwrap() else {
        panic!();
    };
    assert_eq!(end.role, Role::Client);
    assert!(engine.flows().remote_ports().is_empty());
    assert_eq!(engine.flows().ports()[&9092].mismatched, 1);
}

#[test]
fn both_ends_of_one_connection_are_two_findings() {
    let mut engine = engine();
    ingest(&mut engine, &healthy());
    let mut client = opened();
    let server = healthy().flow;
    client.flow = FlowKey {
        local_addr: server.remote_addr,
        remote_addr: server.local_addr,
        local_port: server.remote_port,
        remote_port: server.local_port,
        ..server
    };
    ingest_any(&mut engine, &client);
    let totals = engine.books().totals(kernel(2, 0));
    assert!(totals.balanced && totals.ok == 2, "{totals:?}");
}

#[test]
fn the_filter_of_user_space_is_for_both_roles() {
    let mut engine = engine().with_filter(|flow| flow.remote().port() != 9092);
    let bytes = bytes_of(&refused());
    assert_eq!(engine.ingest(&bytes), Ok(Observation::FilteredOut));
    let totals = engine.books().totals(kernel(1, 0));
    assert_eq!(totals.lost.filtered_out_in_user_space, 1);
    assert!(totals.balanced && engine.flows().is_empty());
}

#[test]
fn a_damaged_connect_record_is_a_lost_handshake() {
    let mut engine = engine();
    let mut bytes = bytes_of(&opened());
    bytes.push(0);
    engine.ingest(&bytes).unwrap_err();
    let totals = engine.books().totals(kernel(1, 0));
    assert_eq!(totals.lost.decode, 1);
    assert!(totals.balanced);
}
