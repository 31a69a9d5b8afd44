use super::*;

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
            ("synproxy", 0),
            ("unknown", 1)
        ]
    );
    let causes: Vec<_> = totals.causes.into_iter().collect();
    assert_eq!(
        causes,
        [("before_start", 1), ("not_established", 1), ("unknown", 2)]
    );

    let ports: Vec<_> = engine.books().ports().collect();
    assert_eq!(ports.len(), 2);
    assert_eq!(ports[0].0, 80);
    assert_eq!(ports[0].1.handshakes(), 1);
    assert_eq!(ports[1].1.ok, 3);
    assert_eq!(ports[1].1.mismatch(MismatchCause::Unknown), 1);
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
    let mut end = bytes_of(&window(&healthy(), 0, 0));
    end.push(0);
    engine.ingest(&end).unwrap_err();
    // As the header says, which is all that is looked at: a handshake has another length.
    let mut progress = healthy();
    progress.header.kind = Kind::Progress as u16;
    engine.ingest(&bytes_of(&progress)).unwrap_err();
    assert_eq!(engine.books().events_received(), 5);
    assert_eq!(engine.books().decode_errors(), 5);
    let totals = engine.books().totals(kernel(2, 0));
    assert_eq!(totals.lost.decode, 2);
    assert_eq!(totals.lost.events(), 2);
    assert!(totals.balanced);
    // What the kernel skipped is in no sum, and a loss all the same.
    assert_eq!(totals.lost.missed_runs, None);
    let lost = serde_json::to_value(totals.lost).unwrap();
    assert_eq!(lost.get("missed_runs"), None);
    let totals = totals.with_missed_runs(Some(3));
    assert_eq!(totals.lost.events(), 5);
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
    // Windows and ends come all the same: the kernel knows nothing of this filter.
    for bytes in [
        bytes_of(&window(&watched(2), 0, 1)),
        bytes_of(&closed(&watched(2))),
    ] {
        assert_eq!(engine.ingest(&bytes).unwrap(), Observation::FilteredOut);
    }
    assert_eq!(engine.books().handshakes_filtered_out(), 1);
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

/// Records that are right but for a few bytes get far; whatever they say, each is counted once.
#[test]
fn damaged_records_are_counted_once_whatever_they_say() {
    let mut numbers = Random(3);
    let mut engine = engine();
    let kinds = [healthy(), cookie(1, 7), cookie(10, 8)];
    let mut sent = 0;
    for round in 0..20_000_u64 {
        let mut bytes = bytes_of(&kinds[(round % 3) as usize]);
        for _ in 0..=numbers.next() % 3 {
            // Behind the header, which says that it is a handshake.
            let at = 16 + (numbers.next() % (bytes.len() as u64 - 16)) as usize;
            bytes[at] = numbers.next() as u8;
        }
        let _ = engine.ingest(&bytes);
        sent += 1;
    }
    let totals = engine.books().totals(kernel(sent, 0));
    assert!(totals.balanced, "{totals:?}");
    // The bytes that were changed mattered, and did not always.
    for count in [
        totals.ok,
        totals.mismatch,
        totals.unverified,
        totals.lost.decode,
    ] {
        assert!(count > 100, "{totals:?}");
    }
    assert!(engine.flows().len() <= engine.flows().limit());
}

/// `rmem_max` is read when a mismatch was found that is younger than the last reading.
#[test]
fn rmem_max_is_read_for_a_mismatch_only() {
    use crate::detect::window_scale::RmemMax;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    let reads = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&reads);
    let mut engine = engine().with_rmem_max(None, move || {
        counter.fetch_add(1, Ordering::Relaxed);
        Some(RmemMax {
            ktime_ns: healthy().header.ktime_ns,
            bytes: 212_992,
        })
    });
    ingest(&mut engine, &healthy());
    assert_eq!(reads.load(Ordering::Relaxed), 0);
    ingest(&mut engine, &cookie(1, 7));
    ingest(&mut engine, &cookie(1, 7));
    assert_eq!(reads.load(Ordering::Relaxed), 1);
    engine.note_rmem_max();
    assert_eq!(reads.load(Ordering::Relaxed), 2);
}
