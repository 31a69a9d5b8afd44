//! The format: what is written is read again, and nothing else is.

use serde_json::Value;
use tcpwnd_core::{Engine, Listed, MismatchCause, Verdict};

use super::{Document, Entry, MAX_CONNECTIONS, Unusable};
use crate::state::former::Former;
use crate::testing;

/// Later than all that is found here.
const NOW_NS: u64 = 10 * testing::SINCE_NS;
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
    Document::of(engine().flows(), &Former::default(), BOOT, NOW_NS, stopped)
}

fn read(text: &str) -> Result<Document, Unusable> {
    Document::read(text.as_bytes(), NOW_NS)
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
         \"written_ktime_ns\":1,\"stopped\":true,\"gap\":false,\"left_out\":0,\"connections\":{connections}}}"
    )
}

#[test]
fn what_is_written_is_read_again() {
    for stopped in [false, true] {
        let written = document(stopped);
        assert_eq!(written.left_out, 1, "its socket is not known");
        let read = read(&text(&written)).unwrap();
        assert_eq!(read, written);
        assert_eq!((read.stopped, read.boot_id.as_str()), (stopped, BOOT));
        assert_eq!(read.written_ktime_ns, NOW_NS);
        let connections: Vec<_> = read.connections().collect();
        let [(flow, open)] = connections.as_slice() else {
            panic!("{connections:?}");
        };
        let engine = engine();
        let known = engine.flows().of(&flow.0, open.established_ktime_ns);
        let known = known.unwrap();
        assert_eq!(open.listed, Listed::As(77));
        assert_eq!(
            tcpwnd_core::OpenFlow {
                windows: known.windows,
                carried_over: false,
                ..*open
            },
            *known
        );
    }
}

#[test]
fn every_beginning_of_it_is_refused() {
    let text = text(&document(true));
    for end in 0..text.len() {
        match read(&text[..end]).unwrap_err() {
            Unusable::Blank => assert!(end < 23, "{end}"),
            Unusable::Broken(_) => assert!(end >= 23, "{end}"),
            other => panic!("{end}: {other}"),
        }
    }
}

#[test]
fn other_files_are_known_for_what_they_are() {
    for blank in ["\0\0\0\0", "\n", " \0\n"] {
        let error = read(blank).unwrap_err();
        assert!(matches!(error, Unusable::Blank), "{blank:?}: {error}");
    }
    for other in [
        "x",
        "mine\n",
        "TCPWND_PORT=9092\n",
        "{\"kind\":\"findings\"}",
        "{}",
    ] {
        let error = read(other).unwrap_err();
        assert!(matches!(error, Unusable::Foreign), "{other}: {error}");
    }
    let later = text(&document(true)).replace("\"version\":1", "\"version\":2");
    let error = read(&later).unwrap_err();
    assert_eq!(error.to_string(), "it has version 2, and 1 is known here");
}

#[test]
fn a_boot_has_an_identifier() {
    let text = text(&document(true));
    for other in [
        "",
        "9f0c1b6e",
        &BOOT.replace('9', "g"),
        &BOOT.replace('-', "0"),
    ] {
        let error = read(&text.replace(BOOT, other)).unwrap_err();
        assert!(matches!(error, Unusable::Boot(_)), "{other}: {error}");
    }
}

#[test]
fn what_cannot_be_is_left_out_and_the_rest_kept() {
    let left = |text: &str| {
        let read = read(text).unwrap();
        (read.connections().count(), read.left_out)
    };
    assert_eq!(left(&with("used", 7.into())), (1, 0));
    for (field, value) in [
        ("used", Value::from(16)),
        ("advertised", 200.into()),
        ("shrink_factor", 0.5.into()),
        ("ceiling_bytes_per_second", (-1).into()),
        ("role", "observer".into()),
        ("verdict", "ok".into()),
        ("verdict", "unverified".into()),
        ("established_ktime_ns", (NOW_NS + 1).into()),
    ] {
        assert_eq!(left(&with(field, value)), (0, 1), "{field}");
    }
    let mut two = document(true);
    two.connections.push(two.connections[0].clone());
    two.connections[0].shrink_factor = 0.0;
    two.left_out = u64::MAX;
    assert_eq!(left(&text(&two)), (1, u64::MAX));
}

#[test]
fn what_is_of_another_kind_is_refused() {
    for (field, value) in [
        ("cookie", Value::from(-1)),
        ("local", "10.9.0.1".into()),
        ("remote", Value::Null),
        ("shrink_factor", Value::Null),
        ("netns", u64::MAX.into()),
    ] {
        let error = read(&with(field, value.clone())).unwrap_err();
        assert!(matches!(error, Unusable::Broken(_)), "{field}: {error}");
    }
}

#[test]
fn a_cause_of_a_later_version_is_not_known() {
    let read = read(&with("cause", "sunspots".into())).unwrap();
    let (_, open) = read.connections().next().unwrap();
    let unknown = Verdict::Mismatch(MismatchCause::Unknown);
    assert_eq!(open.verdict, unknown);
}

#[test]
fn beyond_the_limit_connections_are_counted_and_what_was_left_out_stays() {
    let mut many = document(true);
    many.connections = vec![many.connections[0].clone(); MAX_CONNECTIONS];
    many.left_out = 5;
    many.gap = true;
    let former = Former::of(&many, |_, _| true);
    let next = Document::of(engine().flows(), &former, BOOT, NOW_NS, true);
    // One of its own is listed, one is not, and one of the others does not fit.
    assert_eq!((next.len(), next.left_out), (MAX_CONNECTIONS, 5 + 1 + 1));
    assert!(next.gap);
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
    let error = read(&text(&document)).unwrap_err();
    assert!(matches!(error, Unusable::TooMany(_)), "{error}");
}
