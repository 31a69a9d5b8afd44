//! The table and the lines of a scan, byte for byte.

use super::*;
use crate::testing;
use tcpwnd_core::Role;

fn scan() -> Scan {
    testing::scan(&[(40_001, 1), (40_002, 7), (40_003, 1), (40_004, 1)])
}

fn totals(scan: &Scan) -> Totals {
    let unseen = vec!["network namespace 7: entering it takes CAP_SYS_ADMIN".to_owned()];
    Totals::new(scan, 1, unseen, Duration::from_millis(120))
}

#[test]
fn a_table_names_the_suspects_and_what_was_not_seen() {
    let scan = scan();
    let mut out = Vec::new();
    let style = Style {
        wide: false,
        colour: false,
        roles: false,
    };
    table(&mut out, style, &scan, &totals(&scan)).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "\
LADDR           LPORT RADDR           RPORT USED LISTENER SIBLINGS  FACTOR SCORE VERDICT    TOLD REASONS
10.9.0.1         9092 10.9.0.2        40002    7        1        1      64     7 suspect       - \
differs_from_listener,differs_from_siblings
1 of 4 connections are suspect, in 1 network namespace; looked at in 0.12 s
  differs_from_listener      1
  differs_from_siblings      1
not seen:
  network namespace 7: entering it takes CAP_SYS_ADMIN
a suspect is no finding: what the SYN+ACK announced is recorded nowhere (--confirm watches what the peers do)
"
    );
}

#[test]
fn without_suspects_there_is_no_table() {
    let scan = testing::scan(&[(40_001, 1)]);
    let totals = Totals::new(&scan, 2, Vec::new(), Duration::ZERO);
    assert_eq!(
        totals.text(),
        "0 of 1 connections are suspect, in 2 network namespaces; looked at in 0.00 s\n"
    );
}

#[test]
fn the_last_line_of_json_has_the_totals() {
    let scan = scan();
    let mut out = Vec::new();
    json(&mut out, &scan, &totals(&scan)).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["schema"], &lines[0]["kind"]),
        (&1.into(), &"suspect".into())
    );
    assert_eq!(lines[0]["flow"]["remote"]["port"], 40_002);
    let last = &lines[1];
    assert_eq!(
        (&last["kind"], &last["suspects"]),
        (&"scan".into(), &1.into())
    );
    assert_eq!(last["reasons"]["differs_from_listener"], 1);
    assert_eq!(last["reasons"]["mss_of_cookie_table"], 0);
    assert_eq!(last["connections"], 4);
}

#[test]
fn what_was_confirmed_comes_with_the_commands_that_close_it() {
    let mut scan = scan();
    scan.suspects[0].settled = Some(testing::settled(Outcome::Mismatch));
    let mut totals = Totals::new(&scan, 1, Vec::new(), Duration::ZERO);
    let watched = Watched {
        suspects: 1,
        records_lost: 2,
    };
    let flows = scan
        .suspects
        .iter()
        .map(|suspect| (suspect.flow, Role::Server));
    let reconnect = crate::output::reconnect::of(flows, |_| Some(String::new()));
    totals.confirmed(&scan, watched, reconnect);
    let mut out = Vec::new();
    let style = Style {
        wide: false,
        colour: false,
        roles: false,
    };
    table(&mut out, style, &scan, &totals).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "\
LADDR           LPORT RADDR           RPORT USED LISTENER SIBLINGS  FACTOR SCORE VERDICT    TOLD REASONS
10.9.0.1         9092 10.9.0.2        40002    7        1        1      64     7 mismatch      1 \
differs_from_listener,differs_from_siblings
1 of 4 connections are suspect, in 1 network namespace; looked at in 0.00 s
  differs_from_listener      1
  differs_from_siblings      1
1 watched: 0 cleared, 1 mismatch, 0 scale_lost, 0 undecided
  2 records were lost on their way
what to do: reconnect the damaged clients; closing the connection heals it (tcpwnd check says what \
makes it happen again)
  10.9.0.2: 1
    ss -tKn 'src 10.9.0.1 and sport = 9092 and dst 10.9.0.2 and ( dport = 40002 )'
"
    );
    assert_eq!(
        serde_json::to_value(&totals).unwrap()["confirmed"]["outcomes"]["mismatch"],
        1
    );
}
