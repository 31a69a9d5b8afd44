//! The format: what is written is read again, and nothing else is.

use serde_json::Value;
use tcpwnd_core::{Engine, Listed, MismatchCause, Verdict};

use super::{Document, Entry, Listing, MAX_CONNECTIONS, Unusable};
use crate::testing;

const BOOT: &str = "9f0c1b6e-0b1f-4b1e-9a55-3b1de6d1a2c3";

/// An agent that knows one damaged connection with a socket, one without, and a sound one.
fn engine() -> Engine {
    let mut engine = testing::engine();
    for (remote, used) in [(1, 7), (2, 7), (3, 1)] {
        testing::ingest(&mut engine, &testing::handshake(9092, remote, 1, used));
    }
    let record = testing::handshake(9092, 1, 1, 7);
    let flow = tcpwnd_core::Flow(record.flow);
    engine.note_listed(flow, record.header.ktime_ns, Listed::As(77));
    engine
}

fn document(stopped: bool) -> Document {
    let written = "2026-01-31T12:00:00.000000Z".to_owned();
    Document::of(engine().flows(), BOOT, written, stopped)
}

fn text(document: &Document) -> String {
    serde_json::to_string(document).unwrap()
}

/// The text with one thing in its only connection changed.
fn with(field: &str, value: Value) -> String {
    let mut changed: Value = serde_json::from_str(&text(&document(true))).unwrap();
    changed["connections"][0][field] = value;
    // Objects of `Value` are sorted; the file begins with its kind.
    let connections = changed["connections"].to_string();
    format!(
        "{{\"kind\":\"tcpwnd-state\",\"version\":1,\"boot_id\":\"{BOOT}\",\"written\":\"\",\
         \"stopped\":true,\"left_out\":0,\"connections\":{connections}}}"
    )
}

#[test]
fn what_is_written_is_read_again() {
    for stopped in [false, true] {
        let written = document(stopped);
        assert_eq!(written.left_out, 1, "its socket is not known");
        let read = Document::read(text(&written).as_bytes()).unwrap();
        assert_eq!(read, written);
        assert_eq!((read.stopped, read.boot_id.as_str()), (stopped, BOOT));
        let listings: Vec<Listing> = read.connections().flatten().collect();
        let [listing] = listings.as_slice() else {
            panic!("{listings:?}");
        };
        let engine = engine();
        let at = listing.open.established_ktime_ns;
        let known = engine.flows().of(&listing.flow.0, at).unwrap();
        assert_eq!(listing.cookie, 77);
        assert_eq!(
            tcpwnd_core::OpenFlow {
                windows: known.windows,
                carried_over: false,
                ..listing.open
            },
            *known
        );
    }
}

#[test]
fn every_beginning_of_it_is_refused() {
    let text = text(&document(true));
    for end in 0..text.len() {
        let read = Document::read(&text.as_bytes()[..end]);
        match read.unwrap_err() {
            Unusable::Foreign => assert!(end < 23, "{end}"),
            Unusable::Broken(_) => assert!(end >= 23, "{end}"),
            other => panic!("{end}: {other}"),
        }
    }
}

#[test]
fn other_files_are_known_for_what_they_are() {
    for other in [
        "",
        "\0\0\0\0",
        "TCPWND_PORT=9092\n",
        "{\"kind\":\"findings\"}",
        "{}",
    ] {
        let error = Document::read(other.as_bytes()).unwrap_err();
        assert!(matches!(error, Unusable::Foreign), "{other}: {error}");
    }
    let later = text(&document(true)).replace("\"version\":1", "\"version\":2");
    let error = Document::read(later.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "it has version 2, and 1 is known here");
}

#[test]
fn what_cannot_be_is_refused() {
    assert!(Document::read(with("used", 7.into()).as_bytes()).is_ok());
    for (field, value) in [
        ("used", Value::from(16)),
        ("advertised", 200.into()),
        ("shrink_factor", 0.5.into()),
        ("ceiling_bytes_per_second", (-1).into()),
        ("role", "observer".into()),
        ("verdict", "ok".into()),
        ("verdict", "unverified".into()),
    ] {
        let error = Document::read(with(field, value.clone()).as_bytes()).unwrap_err();
        assert!(matches!(error, Unusable::Impossible(0)), "{field}: {error}");
    }
    for (field, value) in [
        ("cookie", Value::from(-1)),
        ("local", "10.9.0.1".into()),
        ("remote", Value::Null),
        ("shrink_factor", Value::Null),
        ("netns", u64::MAX.into()),
    ] {
        let error = Document::read(with(field, value.clone()).as_bytes()).unwrap_err();
        assert!(matches!(error, Unusable::Broken(_)), "{field}: {error}");
    }
}

#[test]
fn a_cause_of_a_later_version_is_not_known() {
    let read = Document::read(with("cause", "sunspots".into()).as_bytes()).unwrap();
    let listing = read.connections().next().unwrap().unwrap();
    let unknown = Verdict::Mismatch(MismatchCause::Unknown);
    assert_eq!(listing.open.verdict, unknown);
}

#[test]
fn the_longest_file_is_within_the_limit_of_what_is_read() {
    let entry = Entry {
        netns: u32::MAX,
        ifindex: u32::MAX,
        local: format!("[{}]:65535", ["ffff"; 8].join(":"))
            .parse()
            .unwrap(),
        remote: format!("[{}]:65535", ["ffff"; 8].join(":"))
            .parse()
            .unwrap(),
        cookie: u64::MAX,
        established_ktime_ns: u64::MAX,
        role: "server".into(),
        verdict: "scale_lost".into(),
        cause: "tcp_adv_win_scale_changed".into(),
        advertised: Some(15),
        used: Some(15),
        shrink_factor: 12_345.123_456_789_012,
        ceiling_bytes_per_second: Some(123_456_789_012.123_45),
    };
    let longest = serde_json::to_string(&entry).unwrap().len() + 1;
    let all = longest * MAX_CONNECTIONS + 1000;
    assert!(all < 8 << 20, "{longest} bytes each");

    let mut document = document(true);
    document.connections = vec![entry; MAX_CONNECTIONS + 1];
    let error = Document::read(text(&document).as_bytes()).unwrap_err();
    assert!(matches!(error, Unusable::TooMany(_)), "{error}");
}
