use super::*;
use crate::books::{Gate, KernelTotals};
use crate::detect::window_scale::{MismatchCause, Path, UnverifiedCause, Verdict};
use crate::fixture::{SINCE, bytes_of, closed, cookie, healthy, unscaled, window};
use tcpwnd_common::{Outcome, WINDOWS_PER_WATCH};

fn engine() -> Engine {
    Engine::new(Settings {
        watching_since_ktime_ns: SINCE,
        flow_limit: 4,
    })
}

/// The same record from another port of the peer.
fn from_port(mut record: HandshakeRecord, port: u16) -> HandshakeRecord {
    record.flow.remote_port = port;
    record
}

fn watched(port: u16) -> HandshakeRecord {
    let mut record = from_port(cookie(1, 7), port);
    record.child.flags |= child_flags::WATCHED;
    record
}

fn ingest(engine: &mut Engine, record: &HandshakeRecord) -> Finding {
    match engine.ingest(&bytes_of(record)).unwrap() {
        Observation::Handshake(finding) => *finding,
        other => panic!("{other:?}"),
    }
}

fn kernel(handshakes: u64, lost: u64) -> KernelTotals {
    KernelTotals {
        handshakes,
        sent: handshakes - lost,
        lost,
    }
}

#[test]
fn every_handshake_lands_in_one_column() {
    let mut engine = engine();
    for _ in 0..3 {
        ingest(&mut engine, &healthy());
    }
    ingest(&mut engine, &cookie(1, 7));
    let mut lost = healthy();
    lost.handshake.first = crate::fixture::synack(None, 0);
    unscaled(&mut lost);
    ingest(&mut engine, &lost);
    let mut early = healthy();
    early.record_found = 0;
    early.child.srtt_us8 = 0;
    ingest(&mut engine, &early);
    let mut died = healthy();
    died.child.outcome = Outcome::Died as u8;
    died.flow.local_port = 80;
    assert_eq!(ingest(&mut engine, &died).outcome.name(), "died");

    let totals = engine.books().totals(kernel(8, 1));
    assert!(totals.balanced, "{totals:?}");
    assert_eq!((totals.handshakes, totals.judged), (8, 5));
    assert_eq!((totals.ok, totals.mismatch, totals.scale_lost), (3, 1, 1));
    assert_eq!(totals.unverified, 2);
    assert_eq!(
        (totals.unverified_before_start, totals.not_established),
        (1, 1)
    );
    assert_eq!(totals.lost.transport, 1);
    let paths: Vec<_> = totals.paths.into_iter().collect();
    assert_eq!(
        paths,
        [
            ("cookie", 1),
            ("fast_open", 0),
            ("normal", 5),
            ("unknown", 1)
        ]
    );
    let causes: Vec<_> = totals.causes.into_iter().collect();
    assert_eq!(
        causes,
        [
            ("before_start", 1),
            ("cookie_recomputed", 1),
            ("not_established", 1),
            ("unknown", 1)
        ]
    );

    let ports: Vec<_> = engine.books().ports().collect();
    assert_eq!(ports.len(), 2);
    assert_eq!(ports[0].0, 80);
    assert_eq!(ports[0].1.handshakes(), 1);
    assert_eq!(ports[1].1.ok, 3);
    assert_eq!(ports[1].1.mismatch(MismatchCause::CookieRecomputed), 1);
    assert_eq!(ports[1].1.path(Path::Normal), 4);
}

#[test]
fn one_handshake_too_few_or_too_many_is_seen() {
    let mut engine = engine();
    ingest(&mut engine, &healthy());
    let books = engine.books();
    assert!(books.totals(kernel(1, 0)).balanced);
    assert!(!books.totals(kernel(0, 0)).balanced);
    assert!(!books.totals(kernel(2, 0)).balanced);
    assert!(books.totals(kernel(2, 1)).balanced);
    // The kernel's own sum must hold as well.
    assert!(
        !books
            .totals(KernelTotals {
                handshakes: 2,
                sent: 1,
                lost: 0
            })
            .balanced
    );
}

#[test]
fn what_cannot_be_decoded_is_a_lost_handshake_unless_it_says_otherwise() {
    let mut engine = engine();
    engine.ingest(&[1, 2, 3]).unwrap_err();
    engine.ingest(&bytes_of(&healthy())[..64]).unwrap_err();
    let mut end = bytes_of(&closed(&healthy()));
    end.push(0);
    engine.ingest(&end).unwrap_err();
    assert_eq!(engine.books().events_received(), 3);
    assert_eq!(engine.books().decode_errors(), 3);
    let totals = engine.books().totals(kernel(2, 0));
    assert_eq!(totals.lost.decode, 2);
    assert_eq!(totals.lost.events(), 2);
    assert!(totals.balanced);
}

#[test]
fn what_the_filter_leaves_out_has_its_own_column() {
    let mut engine = engine().with_filter(|flow| flow.remote().port() == 1);
    assert_eq!(
        engine.ingest(&bytes_of(&watched(2))).unwrap(),
        Observation::FilteredOut
    );
    ingest(&mut engine, &from_port(healthy(), 1));
    let totals = engine.books().totals(kernel(2, 0));
    assert_eq!(totals.lost.filtered_out_in_user_space, 1);
    assert_eq!(
        (totals.lost.events(), totals.ok, totals.mismatch),
        (0, 1, 0)
    );
    assert!(totals.balanced);
    assert!(engine.flows().is_empty());
    // The kernel knows nothing of this filter and reports windows all the same, until it ends.
    assert_eq!(engine.watched(), 1);
    assert_eq!(
        engine
            .ingest(&bytes_of(&window(&watched(2), 0, 1)))
            .unwrap(),
        Observation::FilteredOut
    );
    assert_eq!(engine.watched(), 0);
    assert_eq!(
        engine.ingest(&bytes_of(&closed(&watched(2)))).unwrap(),
        Observation::FilteredOut
    );
}

#[test]
fn twenty_damaged_connections_open_and_close() {
    let mut engine = Engine::new(Settings {
        watching_since_ktime_ns: SINCE,
        flow_limit: 100,
    });
    let records: Vec<_> = (1..=20).map(|port| from_port(cookie(1, 7), port)).collect();
    for record in &records {
        ingest(&mut engine, record);
    }
    ingest(&mut engine, &from_port(healthy(), 21));
    assert_eq!(engine.flows().ports()[&9092].mismatched, 20);
    for record in &records {
        engine.ingest(&bytes_of(&closed(record))).unwrap();
    }
    assert!(engine.flows().is_empty());
    assert!(engine.flows().ports().is_empty());
}

#[test]
fn the_table_of_open_connections_is_bounded_and_counts_what_it_refuses() {
    let mut engine = engine();
    for port in 1..=6 {
        ingest(&mut engine, &from_port(cookie(1, 7), port));
    }
    assert_eq!((engine.flows().len(), engine.flows().limit()), (4, 4));
    assert_eq!(engine.flows().refused(), 2);
    // There is room again when one ends.
    engine
        .ingest(&bytes_of(&closed(&from_port(cookie(1, 7), 1))))
        .unwrap();
    ingest(&mut engine, &from_port(cookie(1, 7), 7));
    assert_eq!(engine.flows().len(), 4);
    assert_eq!(engine.flows().refused(), 2);
}

#[test]
fn what_the_kernel_does_not_follow_is_counted_and_not_kept() {
    let mut engine = engine();
    let mut record = cookie(1, 7);
    record.child.flags &= !child_flags::TRACKED;
    ingest(&mut engine, &record);
    assert!(engine.flows().is_empty());
    assert_eq!(engine.flows().untracked(), 1);
    // A healthy one need not be followed.
    ingest(&mut engine, &healthy());
    assert_eq!(engine.flows().untracked(), 1);
}

#[test]
fn a_late_end_does_not_close_the_next_connection_of_the_same_addresses() {
    let mut engine = engine();
    let old = cookie(1, 7);
    let mut new = cookie(1, 7);
    new.header.ktime_ns += 1_000_000;
    ingest(&mut engine, &old);
    ingest(&mut engine, &new);
    assert_eq!(engine.flows().len(), 1);
    engine.ingest(&bytes_of(&closed(&old))).unwrap();
    assert_eq!(engine.flows().len(), 1);
    engine.ingest(&bytes_of(&closed(&new))).unwrap();
    assert!(engine.flows().is_empty());
}

#[test]
fn a_healthy_connection_proves_that_the_damaged_one_before_it_ended() {
    let mut engine = engine();
    ingest(&mut engine, &watched(1));
    assert_eq!((engine.flows().len(), engine.watched()), (1, 1));
    let mut next = from_port(healthy(), 1);
    next.header.ktime_ns += 1_000_000;
    ingest(&mut engine, &next);
    assert_eq!((engine.flows().len(), engine.watched()), (0, 0));
}

#[test]
fn a_watch_lasts_until_its_last_window_or_the_end() {
    let mut engine = engine();
    for port in 1..=3 {
        ingest(&mut engine, &watched(port));
    }
    assert_eq!(engine.watched(), 3);
    for number in 0..WINDOWS_PER_WATCH as u8 {
        assert_eq!(engine.watched(), 3);
        let last = u8::from(u32::from(number) + 1 == WINDOWS_PER_WATCH);
        engine
            .ingest(&bytes_of(&window(&watched(1), number, last)))
            .unwrap();
    }
    assert_eq!(engine.watched(), 2);
    engine.ingest(&bytes_of(&closed(&watched(2)))).unwrap();
    assert_eq!(engine.watched(), 1);
    // An end of an older connection changes nothing.
    let mut older = closed(&watched(3));
    older.established_ktime_ns -= 1;
    engine.ingest(&bytes_of(&older)).unwrap();
    assert_eq!(engine.watched(), 1);
}

#[test]
fn a_window_is_shown_as_the_peer_computes_it() {
    let mut engine = engine();
    ingest(&mut engine, &watched(1));
    let Observation::Window(seen) = engine
        .ingest(&bytes_of(&window(&watched(1), 2, 0)))
        .unwrap()
    else {
        panic!();
    };
    assert_eq!((seen.window_bytes, seen.on_wire), (65_536, 512));
    assert_eq!(seen.peer_window_bytes, Some(1_024));
    assert_eq!((seen.advertised, seen.scale_used), (Some(1), 7));
    assert_eq!((seen.number, seen.last), (2, false));
    // Of a connection that is not in the table it is not known what the peer was told.
    let Observation::Window(seen) = engine
        .ingest(&bytes_of(&window(&watched(9), 0, 0)))
        .unwrap()
    else {
        panic!();
    };
    assert_eq!((seen.peer_window_bytes, seen.advertised), (None, None));
}

#[test]
fn gauges_take_the_worst_of_what_is_open() {
    let mut engine = engine();
    ingest(&mut engine, &watched(1));
    let mut worse = from_port(cookie(0, 7), 2);
    worse.header.ktime_ns += 200_000_000;
    ingest(&mut engine, &worse);
    ingest(&mut engine, &from_port(cookie(10, 8), 3));
    let port = engine.flows().ports()[&9092];
    assert_eq!((port.mismatched, port.scale_lost), (3, 0));
    assert_eq!(port.worst_shrink_factor, 128.0);
    // 512 bytes in 400 ms; the other has 1,024 in 200 ms.
    assert_eq!(port.lowest_ceiling_bytes_per_second, Some(1_280.0));

    engine.ingest(&bytes_of(&closed(&worse))).unwrap();
    let port = engine.flows().ports()[&9092];
    assert_eq!(port.worst_shrink_factor, 64.0);
    assert_eq!(port.lowest_ceiling_bytes_per_second, Some(5_120.0));
    // A window brings a measured round-trip time, 100 ms.
    engine
        .ingest(&bytes_of(&window(&watched(1), 0, 0)))
        .unwrap();
    let port = engine.flows().ports()[&9092];
    assert_eq!(port.lowest_ceiling_bytes_per_second, Some(10_240.0));
}

#[test]
fn an_overrun_has_no_shrink_factor() {
    let mut engine = engine();
    ingest(&mut engine, &cookie(10, 8));
    engine
        .ingest(&bytes_of(&window(&cookie(10, 8), 0, 0)))
        .unwrap();
    let port = engine.flows().ports()[&9092];
    assert_eq!(port.worst_shrink_factor, 1.0);
    assert_eq!(port.lowest_ceiling_bytes_per_second, None);
}

#[test]
fn gates() {
    let none = Gate::default();
    let mismatch = Gate {
        mismatch: true,
        ..none
    };
    let scale_lost = Gate {
        scale_lost: true,
        ..none
    };
    let unverified = Gate {
        unverified: true,
        ..none
    };
    let trips = |record: &HandshakeRecord| {
        let mut engine = engine();
        ingest(&mut engine, record);
        [none, mismatch, scale_lost, unverified, Gate::ANY].map(|gate| engine.books().trips(gate))
    };
    assert_eq!(trips(&healthy()), [false; 5]);
    assert_eq!(trips(&cookie(1, 7)), [false, true, false, false, true]);
    let mut record = healthy();
    record.handshake.first = crate::fixture::synack(None, 0);
    unscaled(&mut record);
    assert_eq!(trips(&record), [false, false, true, false, true]);
    let mut record = healthy();
    record.child.snd_una = 5;
    assert_eq!(trips(&record), [false, false, false, true, true]);
    // Neither says anything about what is being watched for.
    let mut record = healthy();
    record.record_found = 0;
    record.header.ktime_ns = SINCE;
    assert_eq!(trips(&record), [false; 5]);
    let mut record = cookie(1, 7);
    record.child.outcome = Outcome::Died as u8;
    assert_eq!(trips(&record), [false; 5]);
}

#[test]
fn unverified_causes_are_told_apart_in_the_books() {
    let mut engine = engine();
    let mut record = healthy();
    record.child.snd_una = 5;
    assert_eq!(
        ingest(&mut engine, &record).verdict,
        Verdict::Unverified(UnverifiedCause::StaleRecord)
    );
    let all = engine.books().all();
    assert_eq!(all.unverified(UnverifiedCause::StaleRecord), 1);
    assert_eq!((all.unverifieds(), all.unexplained()), (1, 1));
}
