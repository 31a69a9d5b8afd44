//! The summary as text and as JSON.

use std::time::Duration;

use tcpwnd_common::{Counter, Probe};
use tcpwnd_core::books::KernelTotals;
use tcpwnd_core::engine::Observation;

use super::{Hints, Summary, grouped};
use crate::host::settings::Settings;
use crate::host::who::Directory;
use crate::output::confirmation::Watched;
use crate::output::reconnect;
use crate::probes::{CountersSnapshot, Mechanism, ProbeStatus};
use crate::testing;

/// The summary of 3 sound and 2 damaged connections, of which the kernel says it counted `kernel`.
fn summary(kernel: KernelTotals, missed: Option<u64>) -> (Summary, tcpwnd_core::Engine) {
    let mut engine = testing::engine();
    let mut hints = Hints::default();
    let mut watched = Watched::default();
    for (port, used) in [(1, 1), (2, 1), (3, 1), (4, 7), (5, 7)] {
        let record = testing::handshake(9092, port, 1, used);
        let finding = testing::finding(&mut engine, &record);
        hints.add(&finding);
        watched.handshake(&finding);
    }
    let record = testing::window(&testing::handshake(9092, 5, 1, 7));
    let Observation::Window(window) = testing::ingest(&mut engine, &record) else {
        panic!("not a window");
    };
    watched.window(&window);
    let status = ProbeStatus {
        probe: Probe::SetState,
        mechanism: Some(Mechanism::RawTracepoint),
        symbol: "inet_sock_set_state",
        attached: true,
        reason: None,
        runs: 5,
        missed,
        run_time_ns: None,
        unseen: missed,
    };
    let counters = CountersSnapshot::of(&[(Counter::Established, kernel.handshakes)]);
    let mut summary = Summary::new(
        engine.books().totals(kernel).with_missed_runs(missed),
        &[testing::listener(9092, 4_026_531_840, 2)],
        &Directory::default(),
        vec![status],
        &counters,
    );
    let reconnect = reconnect::groups(engine.flows(), |_| Some(String::new()));
    summary.advise(&hints, &Settings::default(), reconnect);
    summary.confirmation = watched.counts();
    (summary, engine)
}

const KERNEL: KernelTotals = KernelTotals {
    handshakes: 5,
    sent: 5,
    lost: 0,
};

#[test]
fn text_says_what_was_seen_and_what_to_do() {
    let (summary, engine) = summary(KERNEL, Some(0));
    let doubts = summary.doubts(5);
    assert_eq!(doubts, [""; 0]);
    let text = summary.text(engine.books(), Duration::from_millis(90_400), &doubts);
    let expected = "
damaged connections: 2 with a wrong window scale
5 handshakes in 1m 30s: 3 ok, 2 mismatch (cookie_ignored_rcvbuf 2)
listener :9092: backlog limit 50, 2 of 5 handshakes took the cookie path
worst: at most 5.12 kB/s at 200 ms RTT, from 10.9.0.2:4 to 10.9.0.1:9092
announced windows of 1 of 2 damaged connections were seen: confirmed
what to do, in this order:
  1. reconnect the damaged clients: ";
    assert!(text.starts_with(expected), "{text}");
    let command = "
     2 open with 10.9.0.2, closed by
       ss -tKn 'src 10.9.0.1 and sport = 9092 and dst 10.9.0.2 and ( dport = 4 or dport = 5 )'
  2. make the listen queue longer";
    assert!(text.contains(command), "{text}");
    assert!(
        text.contains("  4. no SO_RCVBUF (now 102400; socket.receive.buffer.bytes=-1 in Kafka): "),
        "{text}"
    );
    assert!(
        text.contains("  5. a kernel whose cookie path respects SO_RCVBUF"),
        "{text}"
    );
    assert!(!text.contains("timestamps"), "{text}");
}

#[test]
fn only_the_busiest_listeners_are_listed() {
    let slots: Vec<_> = (1..=30)
        .map(|port| testing::listener(port, 7, port.into()))
        .collect();
    let counters = CountersSnapshot::of(&[]);
    let engine = testing::engine();
    let totals = engine.books().totals(KernelTotals::default());
    let summary = Summary::new(totals, &slots, &Directory::default(), Vec::new(), &counters);
    let text = summary.text(engine.books(), Duration::ZERO, &[]);
    assert_eq!(text.matches("listener ").count(), super::LISTED, "{text}");
    assert!(text.contains("listener [::]:30 in namespace 7: backlog limit 50, 30 of 40 SYN+ACKs"));
    assert!(text.contains("and 20 listeners more"), "{text}");
    assert!(!text.contains("[::]:20 "), "{text}");
}

#[test]
fn doubts_name_each_loss() {
    let lost = KernelTotals {
        handshakes: 8,
        sent: 5,
        lost: 3,
    };
    let doubts = summary(lost, Some(0)).0.doubts(0);
    assert_eq!(doubts.len(), 1, "{doubts:?}");
    assert!(
        doubts[0].contains("3 handshakes found no room in the ring buffer"),
        "{doubts:?}"
    );

    let doubts = summary(KERNEL, Some(4)).0.doubts(0);
    assert!(
        doubts[0].starts_with("4 changes of state were skipped"),
        "{doubts:?}"
    );

    let gone = KernelTotals {
        handshakes: 6,
        sent: 6,
        lost: 0,
    };
    let doubts = summary(gone, None).0.doubts(0);
    assert!(
        doubts[0].starts_with("the books do not balance"),
        "{doubts:?}"
    );

    let doubts = summary(KERNEL, None).0.doubts(1000);
    assert!(
        doubts[0].starts_with("5 handshakes were judged, fewer than the 1,000"),
        "{doubts:?}"
    );
}

#[test]
fn json_has_the_fields_of_the_schema() {
    let (summary, ..) = summary(KERNEL, None);
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["handshakes"], 5);
    assert_eq!(json["mismatch"], 2);
    assert_eq!(json["balanced"], true);
    assert_eq!(json["lost"]["transport"], 0);
    assert_eq!(json["paths"]["cookie"], 2);
    assert_eq!(json["causes"]["cookie_ignored_rcvbuf"], 2);
    assert_eq!(json["listeners"][0]["addr"], "::");
    assert_eq!(json["listeners"][0]["accept_queue"]["limit"], 50);
    assert_eq!(json["probes"][0]["probe"], "inet_sock_set_state");
    assert_eq!(json["probes"][0]["mechanism"], "raw_tracepoint");
    assert!(json["probes"][0]["missed"].is_null());
    assert_eq!(json["worst"]["flow"]["remote"]["port"], 4);
    assert_eq!(
        json["confirmation"],
        serde_json::json!({"watched": 2, "confirmed": 1, "contradicted": 0})
    );
    assert_eq!(json["worst"]["window_bytes"], 1024);
    assert_eq!(json["worst"]["ceiling_bytes_per_second"], 5120.0);
    assert_eq!(json["counters"]["established"], 5);
    assert_eq!(json["exit_code"], 0);
    assert_eq!(json["remedy"].as_array().unwrap().len(), 5);
    assert_eq!(json["reconnect"][0]["host"], "10.9.0.2");
    assert_eq!(json["reconnect"][0]["connections"], 2);
}

#[test]
fn numbers_are_grouped_by_three() {
    assert_eq!(grouped(0), "0");
    assert_eq!(grouped(999), "999");
    assert_eq!(grouped(1950), "1,950");
    assert_eq!(grouped(1_234_567), "1,234,567");
}

#[test]
fn who_listens_stands_below_its_listener_and_no_other() {
    let engine = testing::engine();
    let mut finding = testing::finding(&mut testing::engine(), &testing::handshake(9092, 1, 1, 7));
    finding.listener.netns_name = Some("kafka".to_owned());
    finding.listener.process = Some(tcpwnd_core::findings::Process {
        pid: 812,
        name: "java".to_owned(),
        kafka: true,
        others: 0,
    });
    let mut directory = Directory::default();
    directory.note(&finding);
    let netns = finding.flow.netns();
    let slots = [
        testing::listener(9092, netns, 2),
        testing::listener(9092, 7, 1),
    ];
    let totals = engine.books().totals(KernelTotals::default());
    let counters = CountersSnapshot::of(&[]);
    let summary = Summary::new(totals, &slots, &directory, Vec::new(), &counters);
    let text = summary.text(engine.books(), Duration::ZERO, &[]);
    let expected = "
listener [::]:9092 in namespace kafka: backlog limit 50, 2 of 12 SYN+ACKs were cookies
  java (Kafka, pid 812)
listener [::]:9092 in namespace 7: backlog limit 50, 1 of 11 SYN+ACKs were cookies
";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn connections_opened_here_are_summed_up_by_the_port_they_lead_to() {
    let mut engine = testing::engine();
    let mut hints = Hints::default();
    for (port, granted) in [(40_001, true), (40_002, false), (40_003, false)] {
        let record = testing::opened(port, 9092, granted);
        hints.add(&testing::finding(&mut engine, &record));
    }
    let kernel = KernelTotals {
        handshakes: 3,
        sent: 3,
        lost: 0,
    };
    let totals = engine.books().totals(kernel);
    let mut summary = Summary::new(
        totals,
        &[],
        &Directory::default(),
        Vec::new(),
        &CountersSnapshot::of(&[]),
    );
    let reconnect = reconnect::groups(engine.flows(), |_| Some(String::new()));
    summary.advise(&hints, &Settings::default(), reconnect);
    let text = summary.text(engine.books(), Duration::from_secs(5), &[]);
    let expected = "
damaged connections: 2 without window scaling
3 handshakes in 5s: 1 ok, 2 scale_lost (peer_did_not_grant 2)
opened to :9092: 3 connections, 2 of them damaged
worst: at most 328 kB/s at 200 ms RTT, from 10.9.0.2:9092 to 10.9.0.1:40002
what to do, in this order:
  1. some servers granted neither window scale nor timestamps nor SACK, as a SYN cookie does without timestamps: net.ipv4.tcp_timestamps=1 on both ends, a longer listen queue on those servers, and nothing in between that strips options
  2. reconnect what was opened here, once that is done: a connection keeps for life what its handshake agreed on
     2 open with 10.9.0.2, closed by
       ss -tKn 'src 10.9.0.1 and dport = 9092 and dst 10.9.0.2 and ( sport = 40002 or sport = 40003 )'
";
    assert_eq!(text, expected);
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["roles"], serde_json::json!({"client": 3, "server": 0}));
}

/// What a summary says of these, all of whose peers never scale and are ignored.
fn ignoring(records: &[tcpwnd_common::HandshakeRecord]) -> (String, serde_json::Value) {
    let mut engine = testing::engine().with_ignored(|_| true);
    let mut hints = Hints::default();
    for record in records {
        hints.add(&testing::finding(&mut engine, record));
    }
    let handshakes = records.len() as u64;
    let kernel = KernelTotals {
        handshakes,
        sent: handshakes,
        lost: 0,
    };
    let counters = CountersSnapshot::of(&[]);
    let totals = engine.books().totals(kernel);
    let mut summary = Summary::new(totals, &[], &Directory::default(), Vec::new(), &counters);
    let reconnect = reconnect::groups(engine.flows(), |_| Some(String::new()));
    summary.advise(&hints, &Settings::default(), reconnect);
    let doubts = summary.doubts(1);
    let text = summary.text(engine.books(), Duration::from_secs(5), &doubts);
    (text, serde_json::to_value(&summary).unwrap())
}

#[test]
fn what_is_ignored_is_counted_and_nothing_is_advised_about_it() {
    let unscaled = |port| testing::unscaled(9092, port);
    let (text, json) = ignoring(&[unscaled(1), unscaled(2), testing::handshake(9092, 3, 7, 7)]);
    let expected = "
no damaged connection was seen
3 handshakes in 5s: 1 ok, 2 ignored
";
    assert_eq!(text, expected);
    assert_eq!(
        (&json["ignored"], &json["scale_lost"]),
        (&2.into(), &0.into())
    );
    assert_eq!(json["balanced"], true);

    let (text, json) = ignoring(&[unscaled(1)]);
    let expected = "
no handshake was judged but ignored ones
1 handshakes in 5s: 0 ok, 1 ignored
inconclusive: 0 handshakes were judged, fewer than the 1 of --min-handshakes
";
    assert_eq!(text, expected);
    assert_eq!(json["judged"], 0);

    let (text, _) = ignoring(&[unscaled(1), testing::handshake(9092, 3, 1, 7)]);
    let expected = "
damaged connections: 1 with a wrong window scale
2 handshakes in 5s: 0 ok, 1 mismatch, 1 ignored (cookie_ignored_rcvbuf 1)
";
    assert!(text.starts_with(expected), "{text}");
}
