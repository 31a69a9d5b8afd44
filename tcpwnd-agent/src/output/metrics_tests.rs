//! The whole of `/metrics`: against a golden text, and as promtool sees it.
//!
//! `TCPWND_BLESS=1 cargo test -p tcpwnd-agent metrics` writes the golden text anew.

use std::env;
use std::io::{Write, stderr};
use std::process::{Command, Stdio};

use tcpwnd_common::{Counter, Probe};
use tcpwnd_core::Engine;

use super::{View, families};
use crate::host::process::Process;
use crate::output::connections::Connections;
use crate::output::exposition::{Format, encode};
use crate::output::ports::PortLabels;
use crate::output::recent::Recent;
use crate::probes::{CountersSnapshot, Mechanism, ProbeStatus};
use crate::state::Numbers;
use crate::testing;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics.txt");

fn status(probe: Probe, mechanism: Option<Mechanism>, missed: Option<u64>) -> ProbeStatus {
    ProbeStatus {
        probe,
        mechanism,
        symbol: "",
        attached: mechanism.is_some(),
        reason: None,
        runs: 12,
        missed,
        run_time_ns: mechanism
            .filter(|_| probe == Probe::MakeSynack)
            .map(|_| 1_500_000),
        unseen: missed.filter(|_| probe == Probe::SetState),
    }
}

/// What a scrape says of `engine`, with a listener on port 9092 in each of two namespaces.
fn scrape(
    engine: &Engine,
    filter: &[tcpwnd_common::PortRange],
    process: Process,
) -> Vec<super::Family> {
    let mut ports = PortLabels::new(filter);
    ports.see(9092);
    scrape_of(engine, (Some(&ports), None), process)
}

/// What a scrape says of both roles, or one.
fn scrape_of(
    engine: &Engine,
    (ports, remote_ports): (Option<&PortLabels>, Option<&PortLabels>),
    process: Process,
) -> Vec<super::Family> {
    families(&View {
        ports,
        remote_ports,
        books: engine.books(),
        flows: engine.flows(),
        listeners: &[testing::listener(9092, 1, 4), testing::listener(9092, 2, 3)],
        counters: &CountersSnapshot::of(&[(Counter::HandshakesLost, 1), (Counter::EntryMissed, 2)]),
        probes: &[
            status(Probe::MakeSynack, Some(Mechanism::Fentry), Some(0)),
            status(Probe::SetState, Some(Mechanism::Kprobe), Some(3)),
            status(Probe::CookieV6Check, None, None),
        ],
        recent: &Recent::new(1000),
        state: Some(Numbers {
            unchecked: 2,
            complete: false,
            saved: 1,
            left_out: 1,
            errors: 3,
        }),
        log_lines_held_back: 0,
        connections: &Connections::default(),
        layers: &[("seccomp", true), ("landlock", false)],
        watching_since: 1_700_000_000.25,
        backend: "ring_buffer",
        kernel: "6.12.107-\"odd\"\\kernel",
        process,
    })
}

/// One sound connection, two with a mismatch, one of them on a port without a label.
fn busy() -> Engine {
    let mut engine = testing::engine();
    for (local, remote, used) in [(9092, 1, 1), (9092, 2, 7), (80, 3, 2)] {
        testing::ingest(&mut engine, &testing::handshake(local, remote, 1, used));
    }
    engine
}

fn text(engine: &Engine) -> String {
    encode(scrape(engine, &[], Process::default()), Format::Text).unwrap()
}

#[test]
fn text_is_the_golden_one() {
    let mut ports = PortLabels::default();
    ports.see(9092);
    let labels = (Some(&ports), Some(&ports));
    let families = scrape_of(&busy_client(), labels, Process::default());
    let text = encode(families, Format::Text).unwrap();
    if std::env::var_os("TCPWND_BLESS").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(GOLDEN).unwrap());
}

#[test]
fn figures_are_those_of_the_engine() {
    let mut engine = busy();
    let before = text(&engine);
    for line in [
        "tcpwnd_handshakes_total{local_port=\"9092\",path=\"normal\"} 1",
        "tcpwnd_handshakes_total{local_port=\"9092\",path=\"cookie\"} 1",
        "tcpwnd_window_scale_mismatches_total{local_port=\"9092\",cause=\"cookie_ignored_rcvbuf\"} 1",
        "tcpwnd_window_scale_mismatches_total{local_port=\"other\",cause=\"unknown\"} 1",
        "tcpwnd_mismatched_connections{local_port=\"9092\"} 1",
        "tcpwnd_worst_shrink_factor{local_port=\"9092\"} 64",
        // 1,024 bytes every 200 ms.
        "tcpwnd_lowest_throughput_ceiling_bytes_per_second{local_port=\"9092\"} 5120",
        "tcpwnd_syncookies_sent_total{local_port=\"9092\"} 7",
        "tcpwnd_listen_overflows_total{local_port=\"9092\"} 9",
        "tcpwnd_probe_run_seconds_total{probe=\"tcp_make_synack\"} 0.0015",
        "tcpwnd_events_lost_total{stage=\"missed_runs\"} 3",
        "tcpwnd_events_lost_total{stage=\"handshakes_lost\"} 1",
        "tcpwnd_watching_since_timestamp_seconds 1700000000.25",
    ] {
        assert!(
            before.contains(&format!("{line}\n")),
            "{line} is not in\n{before}"
        );
    }
    let record = testing::handshake(9092, 2, 1, 7);
    testing::ingest(&mut engine, &testing::closed(&record, 1_000_000));
    let after = text(&engine);
    assert!(
        after.contains("tcpwnd_mismatched_connections{local_port=\"9092\"} 0\n"),
        "{after}"
    );
    assert!(
        after.contains("tcpwnd_worst_shrink_factor{local_port=\"9092\"} 1\n"),
        "{after}"
    );
    assert!(
        !after.contains("ceiling_bytes_per_second{local_port=\"9092\"}"),
        "{after}"
    );
    let total = "mismatches_total{local_port=\"9092\",cause=\"cookie_ignored_rcvbuf\"} 1\n";
    assert!(after.contains(total), "{after}");
}

#[test]
fn every_series_of_a_known_port_begins_at_zero() {
    let ports = [tcpwnd_common::PortRange {
        first: 9092,
        last: 9092,
    }];
    let text = encode(
        scrape(&testing::engine(), &ports, Process::default()),
        Format::Text,
    )
    .unwrap();
    for line in [
        "tcpwnd_handshakes_total{local_port=\"9092\",path=\"fast_open\"} 0",
        "tcpwnd_window_scale_mismatches_total{local_port=\"9092\",cause=\"unknown\"} 0",
        "tcpwnd_window_scale_lost_total{local_port=\"9092\",cause=\"disabled_here\"} 0",
        "tcpwnd_window_scale_unverified_total{local_port=\"9092\",cause=\"no_record\"} 0",
        "tcpwnd_window_scale_ignored_total{local_port=\"9092\"} 0",
        "tcpwnd_scale_lost_connections{local_port=\"9092\"} 0",
    ] {
        assert!(
            text.contains(&format!("{line}\n")),
            "{line} is not in\n{text}"
        );
    }
    assert!(!text.contains("\"other\""), "{text}");
}

#[test]
fn what_is_ignored_has_a_counter_of_its_own_and_moves_no_other() {
    let mut ports = PortLabels::default();
    ports.see(9092);
    let labels = (Some(&ports), Some(&ports));
    let mut engine = testing::engine().with_ignored(|_| true);
    for (local, remote) in [(9092, 1), (9092, 2), (80, 3)] {
        testing::ingest(&mut engine, &testing::unscaled(local, remote));
    }
    testing::ingest(&mut engine, &testing::opened(40_000, 9092, false));
    let families = scrape_of(&engine, labels, Process::default());
    let text = encode(families, Format::Text).unwrap();
    for line in [
        "tcpwnd_window_scale_ignored_total{local_port=\"9092\"} 2",
        "tcpwnd_window_scale_ignored_total{local_port=\"other\"} 1",
        "tcpwnd_client_window_scale_ignored_total{remote_port=\"9092\"} 1",
        "tcpwnd_handshakes_total{local_port=\"9092\",path=\"normal\"} 2",
        "tcpwnd_scale_lost_connections{local_port=\"9092\"} 0",
        "tcpwnd_client_scale_lost_connections{remote_port=\"9092\"} 0",
        "tcpwnd_tracked_flows 0",
    ] {
        assert!(
            text.contains(&format!("{line}\n")),
            "{line} is not in\n{text}"
        );
    }
    let lost = |line: &&str| line.contains("scale_lost_total{") && !line.ends_with(" 0");
    assert_eq!(text.lines().find(lost), None);
    assert!(!text.contains("ceiling_bytes_per_second{"), "{text}");
}

/// Two connections opened to 9092, one of them damaged, and one to a port without a label.
fn busy_client() -> Engine {
    let mut engine = busy();
    for (local, remote, granted) in [
        (40_000, 9092, true),
        (40_001, 9092, false),
        (40_002, 80, true),
    ] {
        testing::ingest(&mut engine, &testing::opened(local, remote, granted));
    }
    engine
}

#[test]
fn connections_opened_here_have_metrics_of_their_own() {
    let mut ports = PortLabels::default();
    ports.see(9092);
    let remote = ports.clone();
    let scrape = |which| {
        let families = scrape_of(&busy_client(), which, Process::default());
        encode(families, Format::Text).unwrap()
    };
    let client = [
        "tcpwnd_client_handshakes_total{remote_port=\"9092\",path=\"normal\"} 2",
        "tcpwnd_client_handshakes_total{remote_port=\"other\",path=\"normal\"} 1",
        "tcpwnd_client_window_scale_lost_total{remote_port=\"9092\",cause=\"peer_did_not_grant\"} 1",
        "tcpwnd_client_window_scale_lost_total{remote_port=\"other\",cause=\"disabled_here\"} 0",
        "tcpwnd_client_window_scale_mismatches_total{remote_port=\"9092\",cause=\"scaling_switched_off\"} 0",
        "tcpwnd_client_window_scale_unverified_total{remote_port=\"9092\",cause=\"stale_record\"} 0",
        "tcpwnd_client_mismatched_connections{remote_port=\"9092\"} 0",
        "tcpwnd_client_scale_lost_connections{remote_port=\"9092\"} 1",
        // 65,535 bytes every 200 ms.
        "tcpwnd_client_lowest_throughput_ceiling_bytes_per_second{remote_port=\"9092\"} 327675",
    ];
    let both = scrape((Some(&ports), Some(&remote)));
    for line in client {
        assert!(
            both.contains(&format!("{line}\n")),
            "{line} is not in\n{both}"
        );
    }
    // No ephemeral port becomes a label, and no cause of the other role a series.
    assert!(!both.contains("4000"), "{both}");
    for never in [
        "path=\"cookie\"",
        "cause=\"cookie_",
        "cause=\"two_synacks\"",
    ] {
        let of_client = |line: &&str| line.starts_with("tcpwnd_client") && line.contains(never);
        assert_eq!(both.lines().find(of_client), None);
    }
    assert!(!both.contains(
        "tcpwnd_window_scale_lost_total{local_port=\"9092\",cause=\"peer_did_not_grant\"}"
    ));

    // The other role's are as they are without this one, and 0 of what is not looked at is not said.
    let without: Vec<_> = both
        .lines()
        .filter(|line| !line.contains("tcpwnd_client_"))
        .collect();
    let server = scrape((Some(&ports), None));
    assert_eq!(without, server.lines().collect::<Vec<_>>());
    let client_only = scrape((None, Some(&remote)));
    assert!(!client_only.contains("local_port"), "{client_only}");
    assert!(client_only.contains("tcpwnd_tracked_flows "));
}

#[test]
fn what_a_former_agent_found_is_counted_at_its_port() {
    let former = busy_client();
    let mut engine = testing::engine();
    for (key, open) in former.flows().iter() {
        engine.carry_over(tcpwnd_core::Flow(*key), *open);
    }
    let (mut local, mut remote) = (PortLabels::default(), PortLabels::default());
    // More listeners than there are labels.
    let listeners: Vec<_> = (10_000..10_100)
        .map(|port| testing::listener(port, 1, 0))
        .collect();
    local.see_local(engine.flows(), &listeners, engine.books());
    remote.see_remote(engine.flows(), engine.books());
    let families = scrape_of(&engine, (Some(&local), Some(&remote)), Process::default());
    let text = encode(families, Format::Text).unwrap();
    for line in [
        "tcpwnd_mismatched_connections{local_port=\"9092\"} 1",
        "tcpwnd_mismatched_connections{local_port=\"80\"} 1",
        "tcpwnd_mismatched_connections{local_port=\"10000\"} 0",
        "tcpwnd_mismatched_connections{local_port=\"other\"} 0",
        "tcpwnd_client_scale_lost_connections{remote_port=\"9092\"} 1",
        "tcpwnd_client_scale_lost_connections{remote_port=\"other\"} 0",
    ] {
        assert!(
            text.contains(&format!("{line}\n")),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn promtool_has_nothing_to_say() {
    let Some(promtool) = env::var_os("TCPWND_PROMTOOL") else {
        // Not by eprintln!, whose words are kept back when a test passes.
        let words = "not checked: /metrics by promtool: TCPWND_PROMTOOL does not name it (cargo \
                     xtask test does)";
        writeln!(stderr(), "{words}").unwrap();
        return;
    };
    let ports = PortLabels::default();
    let labels = (Some(&ports), Some(&ports));
    let families = scrape_of(&busy_client(), labels, Process::read());
    let text = encode(families, Format::Text).unwrap();
    let mut promtool = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", promtool.display()));
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
}
