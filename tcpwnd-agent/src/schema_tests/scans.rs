//! Lines of scans, made by the code that prints them.

use std::time::Duration;

use serde_json::Value;
use tcpwnd_core::Role;
use tcpwnd_core::scan::{Outcome, Scan};

use crate::commands::confirm::Watched;
use crate::output::reconnect;
use crate::output::scan::{Totals, json};
use crate::testing;

/// A scan as it is, and one whose suspects were watched, with and without each thing that a field
/// can lack.
pub fn scans() -> Vec<Value> {
    let listed = testing::scan(&[(1, 1), (2, 7), (3, 1), (4, 1)]);
    let unseen = vec!["network namespace 7: entering it takes CAP_SYS_ADMIN".to_owned()];
    let totals = Totals::new(&listed, 1, unseen, Duration::from_millis(120));
    let mut values = lines(&listed, &totals);

    let mut watched = testing::scan(&[(1, 7), (2, 7)]);
    let mut settled = testing::settled(Outcome::Undecided);
    settled.why = Some("too little data came in");
    watched.suspects[0].settled = Some(settled);
    let suspect = &mut watched.suspects[1];
    suspect.settled = Some(testing::settled(Outcome::Mismatch));
    // Of a newer kernel, and of a listener of which little is known.
    suspect.socket.srtt_us = Some(200_123);
    suspect.socket.bytes_received = Some(1 << 33);
    suspect.socket.rcv_wnd = Some(65_536);
    (suspect.used, suspect.listener, suspect.factor) = (None, None, None);
    let mut totals = Totals::new(&watched, 1, Vec::new(), Duration::ZERO);
    let damaged = watched.suspects.iter().filter(|one| one.is_damaged());
    let groups = reconnect::of(damaged.map(|one| (one.flow, Role::Server)), |_| {
        Some(String::new())
    });
    let count = Watched {
        suspects: 2,
        records_lost: 0,
    };
    totals.confirmed(&watched, count, groups);
    values.extend(lines(&watched, &totals));
    values
}

fn lines(scan: &Scan, totals: &Totals) -> Vec<Value> {
    let mut out = Vec::new();
    json(&mut out, scan, totals).unwrap();
    let text = String::from_utf8(out).unwrap();
    let of_line = |line| serde_json::from_str(line).unwrap();
    text.lines().map(of_line).collect()
}
