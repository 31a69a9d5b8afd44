//! Lines of the table, byte for byte.

use super::{Row, Style, Table};
use crate::commands::session::Sink;
use crate::testing;

const PLAIN: Style = Style {
    wide: false,
    colour: false,
    roles: false,
};

fn row() -> Row<'static> {
    Row {
        time: "12:00:01".to_owned(),
        local: "10.9.0.1:9092".parse().unwrap(),
        remote: "10.9.0.2:40000".parse().unwrap(),
        role: "server",
        path: "cookie",
        advertised: Some(1),
        used: Some(7),
        factor: Some(64.0),
        peer_window: Some(1024),
        verdict: "mismatch",
        cause: "cookie_ignored_rcvbuf",
        note: String::new(),
        send_factor: None,
        impact: None,
    }
}

#[test]
fn columns_are_aligned() {
    let lines = [PLAIN.header(), PLAIN.row(&row())].join("\n");
    let expected = "\
TIME     LADDR           LPORT RADDR           RPORT PATH      ADV USED  FACTOR   PEER_WND VERDICT    CAUSE
12:00:01 10.9.0.1         9092 10.9.0.2        40000 cookie      1    7      64       1024 mismatch   cookie_ignored_rcvbuf";
    assert_eq!(lines, expected);
}

#[test]
fn there_is_a_column_for_the_role_where_it_is_asked_for() {
    let style = Style {
        roles: true,
        ..PLAIN
    };
    let row = Row {
        local: "10.9.0.2:40000".parse().unwrap(),
        remote: "10.9.0.1:9092".parse().unwrap(),
        role: "client",
        path: "normal",
        advertised: Some(7),
        used: None,
        factor: Some(1.0),
        peer_window: Some(64_240),
        verdict: "scale_lost",
        cause: "peer_did_not_grant",
        note: ", nor timestamps nor SACK".to_owned(),
        ..row()
    };
    let lines = [style.header(), style.row(&row)].join("\n");
    let expected = "\
TIME     LADDR           LPORT RADDR           RPORT ROLE   PATH      ADV USED  FACTOR   PEER_WND VERDICT    CAUSE
12:00:01 10.9.0.2        40000 10.9.0.1         9092 client normal      7    -       1      64240 scale_lost peer_did_not_grant, nor timestamps nor SACK";
    assert_eq!(lines, expected);
}

#[test]
fn ipv6_is_cut_unless_wide() {
    let long = "[fd00:1111:2222:3333:4444:5555:6666:7777]:9092";
    let row = Row {
        local: long.parse().unwrap(),
        ..row()
    };
    let narrow = PLAIN.row(&row);
    assert!(narrow.contains(" fd00:1111:2222~  9092 "), "{narrow}");
    let wide = Style {
        wide: true,
        ..PLAIN
    }
    .row(&row);
    assert!(
        wide.contains(" fd00:1111:2222:3333:4444:5555:6666:7777  9092 "),
        "{wide}"
    );
}

#[test]
fn what_is_unknown_is_a_dash() {
    let row = Row {
        advertised: None,
        used: None,
        factor: None,
        peer_window: None,
        verdict: "unverified",
        cause: "no_record",
        path: "unknown",
        ..row()
    };
    let line = PLAIN.row(&row);
    assert!(
        line.ends_with("unknown     -    -       -          - unverified no_record"),
        "{line}"
    );
}

#[test]
fn overruns_and_the_other_direction_are_shown() {
    let row = Row {
        factor: Some(1.0 / 128.0),
        send_factor: Some(128.0),
        ..row()
    };
    let line = PLAIN.row(&row);
    assert!(line.contains("  1/128 "), "{line}");
    assert!(line.ends_with(" (peer's window: 128)"), "{line}");
}

#[test]
fn what_it_comes_to_stands_behind_the_cause() {
    let at_most = "at most 15.8 kB/s at 100 ms RTT";
    let row = Row {
        impact: Some(at_most.to_owned()),
        ..row()
    };
    let line = PLAIN.row(&row);
    let end = format!(" mismatch   cookie_ignored_rcvbuf ({at_most})");
    assert!(line.ends_with(&end), "{line}");
    let both = PLAIN.row(&Row {
        send_factor: Some(128.0),
        ..row
    });
    let end = format!(" cookie_ignored_rcvbuf (peer's window: 128; {at_most})");
    assert!(both.ends_with(&end), "{both}");
}

/// From the record to the line.
#[test]
fn a_damaged_connection_is_a_line_with_its_ceiling_and_a_sound_one_is_none() {
    let mut engine = testing::engine();
    let mut table = Table::new(Vec::new(), PLAIN, false).unwrap();
    for record in [
        testing::handshake(9092, 40_001, 1, 7),
        testing::handshake(9092, 40_002, 7, 7),
    ] {
        let finding = testing::finding(&mut engine, &record);
        table.handshake(&finding).unwrap();
    }
    let lost = testing::finding(&mut engine, &testing::opened(40_003, 9093, false));
    table.handshake(&lost).unwrap();
    let text = String::from_utf8(table.out).unwrap();
    let lines: Vec<_> = text.lines().skip(1).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].ends_with(
            "64       1024 mismatch   cookie_ignored_rcvbuf (at most 5.12 kB/s at 200 ms RTT)"
        ),
        "{text}"
    );
    assert!(
        lines[1].ends_with(
            "scale_lost peer_did_not_grant, nor timestamps nor SACK (at most 328 kB/s each way at \
             200 ms RTT)"
        ),
        "{text}"
    );
}

#[test]
fn colour_surrounds_the_padded_verdict() {
    let line = Style {
        colour: true,
        ..PLAIN
    }
    .row(&row());
    assert!(
        line.contains("\x1b[31mmismatch  \x1b[0m cookie_ignored_rcvbuf"),
        "{line:?}"
    );
}
