use super::*;

#[test]
fn twenty_damaged_connections_open_and_close() {
    let mut engine = Engine::new(Settings {
        watching_since_ktime_ns: SINCE,
        rcvbuf_sets_clamp: false,
        sees_synproxy: false,
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
    ingest(&mut engine, &cookie(1, 7));
    assert_eq!(engine.flows().len(), 1);
    let mut next = healthy();
    next.header.ktime_ns += 1_000_000;
    ingest(&mut engine, &next);
    assert_eq!(engine.flows().len(), 0);
}

#[test]
fn records_out_of_order_leave_the_later_connection() {
    let mut engine = engine();
    let mut new = cookie(1, 7);
    new.header.ktime_ns += 1_000_000;
    ingest(&mut engine, &new);
    for old in [healthy(), cookie(2, 7)] {
        ingest(&mut engine, &old);
        let (_, open) = engine.flows().iter().next().unwrap();
        assert_eq!(open.established_ktime_ns, new.header.ktime_ns);
        assert_eq!(open.advertised, Some(1));
    }
}

/// Two CPUs can make a child of one request each; the one that loses dies at once.

#[test]
fn a_child_that_died_does_not_close_the_one_that_lives() {
    let mut engine = engine();
    ingest(&mut engine, &cookie(1, 7));
    let mut loser = cookie(1, 7);
    loser.child.outcome = Outcome::Died as u8;
    loser.header.ktime_ns += 1_000;
    ingest(&mut engine, &loser);
    assert_eq!(engine.flows().ports()[&9092].mismatched, 1);
    assert_eq!(engine.flows().len(), 1);
    let all = engine.books().all();
    assert_eq!((all.mismatches(), all.unexplained()), (1, 0));
    assert_eq!(all.unverified(UnverifiedCause::NotEstablished), 1);
    // A finding of its own it is not.
    engine.ingest(&bytes_of(&closed(&cookie(1, 7)))).unwrap();
    assert!(engine.flows().is_empty());
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
fn the_direction_that_suffers_more_counts() {
    let mut engine = engine();
    let mut record = cookie(1, 7);
    record.child.snd_wscale -= 8;
    ingest(&mut engine, &record);
    assert_eq!(engine.flows().ports()[&9092].worst_shrink_factor, 256.0);
}

#[test]
fn without_scaling_a_window_brings_the_ceiling_up_to_date() {
    let mut engine = engine();
    let mut record = healthy();
    record.handshake.first = crate::fixture::synack(None, 0);
    unscaled(&mut record);
    ingest(&mut engine, &record);
    let port = engine.flows().ports()[&9092];
    assert_eq!((port.mismatched, port.scale_lost), (0, 1));
    assert_eq!(port.lowest_ceiling_bytes_per_second, Some(327_675.0));
    let mut other = window(&record, 0, 0);
    other.established_ktime_ns -= 1;
    engine.ingest(&bytes_of(&other)).unwrap();
    assert_eq!(engine.flows().ports()[&9092], port);
    engine.ingest(&bytes_of(&window(&record, 0, 0))).unwrap();
    let port = engine.flows().ports()[&9092];
    assert_eq!(port.lowest_ceiling_bytes_per_second, Some(655_350.0));
}

#[test]
fn an_overrun_has_no_shrink_factor() {
    let mut engine = engine();
    let mut record = cookie(10, 8);
    record.child.snd_wscale += 1;
    ingest(&mut engine, &record);
    engine
        .ingest(&bytes_of(&window(&cookie(10, 8), 0, 0)))
        .unwrap();
    let port = engine.flows().ports()[&9092];
    assert_eq!(port.worst_shrink_factor, 1.0);
    assert_eq!(port.lowest_ceiling_bytes_per_second, None);
}

fn seen(engine: &mut Engine, record: &WindowRecord) -> WindowSeen {
    match engine.ingest(&bytes_of(record)).unwrap() {
        Observation::Window(seen) => seen,
        other => panic!("{other:?}"),
    }
}

fn end(engine: &mut Engine, of: &HandshakeRecord) -> (Option<u32>, Option<bool>) {
    match engine.ingest(&bytes_of(&closed(of))).unwrap() {
        Observation::Closed(end) => (end.windows_seen, end.confirmed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn windows_that_are_sent_with_the_scale_of_the_finding_confirm_it() {
    let mut engine = engine();
    let record = watched(1);
    ingest(&mut engine, &record);
    for number in 0..2 {
        assert!(seen(&mut engine, &window(&record, number, number)).confirmed);
    }
    assert_eq!(end(&mut engine, &record), (Some(2), Some(true)));
    // Its end is known: a window that comes late says nothing.
    assert!(!seen(&mut engine, &window(&record, 2, 0)).confirmed);
}

#[test]
fn a_window_that_is_sent_with_another_scale_contradicts_the_finding() {
    let mut engine = engine();
    let record = watched(1);
    ingest(&mut engine, &record);
    assert!(seen(&mut engine, &window(&record, 0, 0)).confirmed);
    // What the peer was told: with that there would be no damage.
    let mut sound = window(&record, 1, 0);
    sound.rcv_wscale = 1;
    let told = seen(&mut engine, &sound);
    assert!(!told.confirmed && told.peer_window_bytes.is_some());
    assert_eq!(end(&mut engine, &record), (Some(2), Some(false)));
}

#[test]
fn without_scaling_a_window_is_sent_with_a_shift_of_0() {
    let mut engine = engine();
    let mut record = healthy();
    record.handshake.first = crate::fixture::synack(None, 0);
    record.child.flags |= child_flags::WATCHED;
    unscaled(&mut record);
    ingest(&mut engine, &record);
    assert!(seen(&mut engine, &window(&record, 0, 0)).confirmed);
    let mut scaled = window(&record, 1, 0);
    scaled.rcv_wscale = 7;
    assert!(!seen(&mut engine, &scaled).confirmed);
    assert_eq!(end(&mut engine, &record), (Some(2), Some(false)));
}

#[test]
fn where_no_window_was_seen_nothing_is_confirmed() {
    let mut engine = engine();
    ingest(&mut engine, &watched(1));
    assert_eq!(end(&mut engine, &watched(1)), (Some(0), Some(false)));
    // The kernel was not asked for any.
    let unwatched = from_port(cookie(1, 7), 2);
    ingest(&mut engine, &unwatched);
    assert_eq!(end(&mut engine, &unwatched), (None, None));
    // Nor is anything known of one that the table had no room for, whatever its windows are.
    for port in 3..=7 {
        ingest(&mut engine, &watched(port));
    }
    let refused = seen(&mut engine, &window(&watched(7), 0, 0));
    assert_eq!(
        (refused.confirmed, refused.peer_window_bytes),
        (false, None)
    );
    assert_eq!(end(&mut engine, &watched(7)), (None, None));
}
