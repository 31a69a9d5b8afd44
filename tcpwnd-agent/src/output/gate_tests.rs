//! The answer: when it may say `clean`, and everything that must keep it from doing so.

use serde_json::Value;
use tcpwnd_common::{ClosedRecord, HandshakeRecord, PortRange};
use tcpwnd_core::Engine;

use super::{Answer, Evidence, LISTED_BYTES};
use crate::host::clock;
use crate::output::question::Question;
use crate::output::recent::Recent;
use crate::state::Numbers;
use crate::testing;

const SECOND: u64 = 1_000_000_000;

/// An agent that has watched for ten seconds, with what it has seen.
struct Agent {
    now_ns: u64,
    engine: Engine,
    recent: Recent,
    missing: Vec<&'static str>,
    accepted: bool,
    watched: Vec<PortRange>,
    settled: bool,
    state: Option<Numbers>,
}

impl Agent {
    fn new() -> Self {
        Self {
            now_ns: clock::monotonic_ns(),
            engine: testing::engine(),
            recent: Recent::new(1000),
            missing: Vec::new(),
            accepted: true,
            watched: Vec::new(),
            settled: true,
            state: None,
        }
    }

    /// A handshake, this many seconds ago; from 1 to 7 is damaged.
    fn handshake(&mut self, ago: u64, port: u16, peer: u16, used: u8) -> HandshakeRecord {
        let mut record = testing::handshake(port, peer, 1, used);
        record.header.ktime_ns = self.now_ns - ago * SECOND;
        record.handshake.first.ktime_ns = record.header.ktime_ns - SECOND / 10;
        self.take(&record);
        record
    }

    fn take(&mut self, record: &HandshakeRecord) {
        let finding = testing::finding(&mut self.engine, record);
        self.recent.handshake(&finding).unwrap();
    }

    fn close(&mut self, record: &HandshakeRecord) {
        let closed: ClosedRecord = testing::closed(record, 1000);
        testing::ingest(&mut self.engine, &closed);
    }

    fn ask(&self, query: &str) -> Value {
        let question = Question::parse(query, jiff::Timestamp::now()).unwrap();
        let answer = Answer::to(
            &question,
            &Evidence {
                now_ns: self.now_ns,
                watching_since_ns: self.now_ns - 10 * SECOND,
                missing: &self.missing,
                settled: self.settled,
                accepted: self.accepted,
                watched: &self.watched,
                open: self.engine.flows(),
                state: self.state,
                recent: &self.recent,
            },
        );
        serde_json::to_value(&answer).unwrap()
    }

    fn verdict(&self, query: &str) -> String {
        self.ask(query)["verdict"].as_str().unwrap().to_owned()
    }

    /// The codes of the reasons of an answer that is inconclusive.
    fn why(&self, query: &str) -> Vec<String> {
        let answer = self.ask(query);
        assert_eq!(answer["verdict"], "inconclusive", "{answer}");
        codes(&answer)
    }
}

fn codes(answer: &Value) -> Vec<String> {
    let reasons = answer["reasons"].as_array().unwrap();
    let code = |reason: &Value| reason["code"].as_str().unwrap().to_owned();
    reasons.iter().map(code).collect()
}

#[test]
fn clean_when_everything_was_seen_and_nothing_found() {
    let mut agent = Agent::new();
    agent.handshake(2, 9092, 1, 1);
    agent.handshake(2, 9093, 2, 1);
    let answer = agent.ask("since=5s&port=9092");
    assert_eq!(answer["verdict"], "clean", "{answer}");
    assert_eq!(answer["reasons"], Value::Array(Vec::new()));
    assert_eq!(answer["findings"], Value::Array(Vec::new()));
    assert_eq!(answer["handshakes_judged"], 1);
    assert_eq!(agent.ask("since=5s")["handshakes_judged"], 2);
    assert_eq!(
        (&answer["schema"], &answer["kind"], &answer["port"]),
        (&1.into(), &"findings".into(), &9092.into())
    );
    assert_eq!(
        (&answer["ready"], &answer["complete"], &answer["truncated"]),
        (&true.into(), &true.into(), &false.into())
    );
    assert!(answer["watching_since"].as_str() < answer["since"].as_str());
    assert!(answer["since"].as_str() < answer["now"].as_str());
}

#[test]
fn damaged_while_one_is_open_then_healed_and_other_ports_do_not_count() {
    let mut agent = Agent::new();
    let damaged = agent.handshake(2, 9092, 1, 7);
    let answer = agent.ask("since=5s&port=9092");
    assert_eq!(answer["verdict"], "damaged", "{answer}");
    assert_eq!(answer["damaged_open"], 1);
    let open = serde_json::json!([{ "port": 9092, "mismatch": 1, "scale_lost": 0 }]);
    assert_eq!(answer["open"], open);
    assert_eq!(answer["findings"][0]["cause"], "cookie_ignored_rcvbuf");
    assert_eq!(agent.verdict("since=5s"), "damaged");
    assert_eq!(agent.verdict("since=5s&port=9093"), "clean");
    // It is open, whenever it came.
    let later = agent.ask("since=1s&port=9092");
    assert_eq!(
        (&later["verdict"], &later["damaged_found"]),
        (&"damaged".into(), &0.into())
    );
    agent.close(&damaged);
    assert_eq!(agent.verdict("since=5s&port=9092"), "healed");
    assert_eq!(agent.verdict("since=1s&port=9092"), "clean");
}

#[test]
fn not_watching_early_enough_is_inconclusive() {
    let agent = Agent::new();
    assert_eq!(agent.why("since=11s"), ["not_watching_yet"]);
    assert_eq!(agent.why("since=0"), ["not_watching_yet"]);
    assert_eq!(agent.verdict("since=9s"), "clean");
    // Without a time it is about as long as there has been watching.
    assert_eq!(agent.verdict(""), "clean");
}

#[test]
fn whatever_is_missing_is_inconclusive_and_named() {
    let mut agent = Agent::new();
    agent.missing = vec!["tcp_make_synack"];
    assert_eq!(agent.why("since=5s"), ["not_ready"]);
    assert_eq!(agent.ask("")["ready"], false);

    let mut agent = Agent::new();
    agent.settled = false;
    assert_eq!(agent.why("since=5s"), ["behind"]);

    let mut agent = Agent::new();
    let mut record = testing::handshake(9092, 1, 1, 1);
    record.header.ktime_ns = agent.now_ns - SECOND;
    record.record_found = 0;
    agent.take(&record);
    assert_eq!(agent.why("since=5s"), ["unverified"]);
    assert_eq!(agent.ask("")["unverified_found"], 1);
    assert_eq!(agent.verdict("since=5s&port=9093"), "clean");
}

#[test]
fn a_port_that_nobody_watches_is_never_clean() {
    let mut agent = Agent::new();
    agent.watched = vec![PortRange {
        first: 9092,
        last: 9094,
    }];
    assert_eq!(agent.verdict("port=9094"), "clean");
    assert_eq!(agent.verdict(""), "clean");
    for port in [9091, 9095] {
        assert_eq!(agent.why(&format!("port={port}")), ["port_not_watched"]);
    }
}

#[test]
fn who_watches_connecting_sides_only_knows_nothing_of_listeners() {
    let mut agent = Agent::new();
    agent.accepted = false;
    assert_eq!(agent.why("port=9092"), ["role_not_watched"]);
    // What is open with a server is no damage of a listener's.
    agent.accepted = true;
    let opened = testing::opened(40_001, 9092, false);
    testing::ingest(&mut agent.engine, &opened);
    assert_eq!(agent.verdict("port=9092"), "clean");
    assert_eq!(agent.verdict(""), "clean");
}

#[test]
fn losses_since_make_it_inconclusive_and_earlier_ones_do_not() {
    let mut agent = Agent::new();
    agent.recent.note_lost(agent.now_ns - 5 * SECOND, 2);
    assert_eq!(agent.why("since=7s"), ["events_lost"]);
    assert_eq!(agent.ask("since=7s")["events_lost"], 2);
    assert_eq!(agent.verdict("since=3s"), "clean");
    // Damage is damage, whatever else was lost.
    agent.handshake(2, 9092, 1, 7);
    let answer = agent.ask("since=7s");
    assert_eq!(answer["verdict"], "damaged");
    assert_eq!(codes(&answer), ["events_lost"]);
}

#[test]
fn dropped_findings_make_it_inconclusive_as_far_as_they_matter() {
    let mut agent = Agent::new();
    agent.recent = Recent::new(1);
    for (ago, peer) in [(4, 1), (2, 2)] {
        let damaged = agent.handshake(ago, 9092, peer, 7);
        agent.close(&damaged);
    }
    assert_eq!(agent.why("since=5s"), ["findings_dropped"]);
    assert_eq!(agent.ask("since=5s")["complete"], false);
    assert_eq!(agent.verdict("since=3s"), "healed");
    assert_eq!(agent.verdict("since=1s"), "clean");
}

#[test]
fn the_latest_findings_are_listed_in_order() {
    let mut agent = Agent::new();
    for peer in 1..=5 {
        agent.handshake(6 - u64::from(peer), 9092, peer, 7);
    }
    let answer = agent.ask("limit=2");
    let findings = answer["findings"].as_array().unwrap();
    let peers: Vec<_> = findings
        .iter()
        .map(|finding| &finding["flow"]["remote"]["port"])
        .collect();
    assert_eq!(peers, [4, 5]);
    assert_eq!(answer["damaged_found"], 5);
    assert_eq!(answer["truncated"], true);
    let none = agent.ask("limit=0");
    assert_eq!(none["findings"], Value::Array(Vec::new()));
    assert_eq!(
        (&none["verdict"], &none["truncated"]),
        (&"damaged".into(), &true.into())
    );
    assert_eq!(agent.ask("limit=5")["truncated"], false);
}

#[test]
fn an_answer_has_a_size_whatever_limit_was_asked_for() {
    let mut agent = Agent::new();
    for peer in 1..=500 {
        agent.handshake(1, 9092, peer, 7);
    }
    let answer = agent.ask("limit=1000000");
    let listed = answer["findings"].as_array().unwrap().len();
    let bytes = answer.to_string().len();
    assert!(
        listed > 50 && bytes < LISTED_BYTES + 2048,
        "{listed}, {bytes}"
    );
    assert_eq!(
        (&answer["truncated"], &answer["damaged_found"]),
        (&true.into(), &500.into())
    );
}

#[test]
fn what_a_former_agent_found_is_damaged_now_and_listed() {
    let mut former = Agent::new();
    former.handshake(30, 9092, 1, 7);
    former.handshake(20, 9092, 2, 7);
    former.handshake(20, 9093, 3, 7);

    let mut agent = Agent::new();
    assert_eq!(agent.ask("since=5s")["carried_over"], Value::Null);
    agent.state = Some(Numbers {
        unchecked: 4,
        complete: true,
        ..Numbers::default()
    });
    let none = serde_json::json!(
        {"open": 0, "unchecked": 4, "complete": true, "connections": []}
    );
    assert_eq!(agent.ask("since=5s")["carried_over"], none);
    // They were there before, whatever has become of them.
    assert_eq!(agent.verdict("since=5s"), "clean");
    assert_eq!(agent.why(""), ["carried_over_unchecked"]);
    assert_eq!(agent.why("port=9093"), ["carried_over_unchecked"]);
    agent.state = Some(Numbers::default());
    assert_eq!(agent.verdict(""), "clean");

    for (key, open) in former.engine.flows().iter() {
        agent.engine.carry_over(tcpwnd_core::Flow(*key), *open);
    }
    let answer = agent.ask("since=5s&port=9092");
    assert_eq!(answer["verdict"], "damaged", "{answer}");
    assert_eq!(
        (&answer["damaged_open"], &answer["damaged_found"]),
        (&2.into(), &0.into())
    );
    let carried = &answer["carried_over"];
    assert_eq!(carried["open"], 2);
    let listed = carried["connections"].as_array().unwrap();
    let first = &listed[0];
    assert_eq!(
        (listed.len(), &first["verdict"]),
        (2, &"mismatch".into()),
        "{first}"
    );
    assert_eq!(first["cause"], "cookie_ignored_rcvbuf");
    assert_eq!(first["flow"]["remote"]["port"], 1, "the oldest comes first");
    assert!(first["established"].as_str() < listed[1]["established"].as_str());
    assert_eq!(
        agent.ask("since=5s&limit=1")["carried_over"]["connections"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    // When watching began is another matter.
    assert_eq!(codes(&agent.ask("since=25s")), ["not_watching_yet"]);
}
