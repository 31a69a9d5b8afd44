//! More handshakes are under way than there are records for: whose record is gone has no verdict,
//! and says so; the newest keep theirs; nobody is missing.
//!
//! The listener defers accepting (TCP_DEFER_ACCEPT), so that handshakes stay open for as long as the
//! clients send no data, and no SYN+ACK is repeated, which would renew a record.

use anyhow::{Result, ensure};

use super::bench::{Bench, compare};
use super::stage::{PORT, Stage, unlocked};
use crate::agent::Report;
use crate::broker;
use crate::peer::{Offer, Peer};
use crate::socket::ListenOptions;

/// Records that there is room for; no option of `trace` changes that.
const RECORDS: usize = 20_480;

/// Handshakes that end, of the oldest and of the newest.
const EACH: usize = 500;

/// Handshakes before the oldest of those: their SYN+ACKs can have left before the agent watched.
const BEFORE: usize = 1_000;

/// Handshakes between those that end: with them, the oldest must make room.
const BETWEEN: usize = RECORDS + 2_048;

/// Longer than this takes, in seconds.
const DEFER: u32 = 600;

/// The listener's queue, in connections: more than there are.
const BACKLOG: u32 = 100_000;

/// Clients by address; each has as many ports as it takes.
const ADDRESSES: usize = 1_000;

pub fn play(bench: &Bench) -> Result<String> {
    let listen = ListenOptions {
        backlog: BACKLOG,
        defer_accept: DEFER,
        ..unlocked()
    };
    let backlog = BACKLOG.to_string();
    let stage = Stage::new(&listen, &[("net/core/somaxconn", &backlog)])?;
    let mut agent = bench.trace()?;
    under_way(&stage, 0..BEFORE)?;
    let next = BEFORE + EACH;
    let mut oldest = under_way(&stage, BEFORE..next)?;
    under_way(&stage, next..next + BETWEEN)?;
    let next = next + BETWEEN;
    let mut newest = under_way(&stage, next..next + EACH)?;
    ensure!(
        stage.broker.accepted().is_empty() && agent.count("handshake") == 0,
        "a handshake ended although its client sent no data"
    );
    for (peer, timestamps) in oldest.iter_mut().chain(&mut newest) {
        peer.data(&broker::encode(0, 4), *timestamps)?;
    }
    let accepted = stage.broker.wait_accepted(2 * EACH)?;
    agent.wait_handshakes(2 * EACH)?;
    let report = agent.finish()?;
    let gone = check(&report, &oldest, &newest)?;
    // What has a verdict has the right one.
    let judged = |peer| report.of(peer).is_ok_and(|at| at.verdict == "ok");
    let judged: Vec<_> = accepted.into_iter().filter(|at| judged(at.peer)).collect();
    compare(&report, PORT, &judged, &[])?;
    Ok(format!(
        "{} under way, {} ended: {} ok, {gone} unverified: no_record",
        next + EACH,
        2 * EACH,
        report.summary.ok
    ))
}

/// A client that has acknowledged its SYN+ACK, and the timestamps that it goes on with.
type Waiting<'s> = (Peer<'s>, Option<(u32, u32)>);

/// Makes all but the end of these handshakes.
fn under_way(stage: &Stage, numbers: std::ops::Range<usize>) -> Result<Vec<Waiting<'_>>> {
    let begin = |number: usize| {
        let address = u16::try_from(1 + number % ADDRESSES)?;
        let port = u16::try_from(20_000 + number / ADDRESSES)?;
        let mut peer = stage.peer_from(address, port, Offer::default());
        peer.syn()?;
        let synack = peer.synack()?;
        let timestamps = peer.timestamps(&synack);
        peer.ack_with(timestamps)?;
        Ok((peer, timestamps))
    };
    numbers.map(begin).collect()
}

/// Returns how many have no verdict.
fn check(report: &Report, oldest: &[Waiting<'_>], newest: &[Waiting<'_>]) -> Result<u64> {
    for (peer, _) in newest {
        report.of(peer.local())?.expect("ok", "normal", None)?;
    }
    let mut gone = 0;
    for (peer, _) in oldest {
        let handshake = report.of(peer.local())?;
        if handshake.verdict == "unverified" {
            handshake.expect("unverified", "unknown", Some("no_record"))?;
            gone += 1;
        } else {
            handshake.expect("ok", "normal", None)?;
        }
    }
    let summary = &report.summary;
    let known = summary.counters.get("no_record").copied();
    ensure!(
        gone > 0
            && summary.unverified == gone
            && known == Some(gone)
            && summary.handshakes == (oldest.len() + newest.len()) as u64,
        "of {} the oldest must have lost their records, and {gone} have: {summary:?}",
        BEFORE + EACH + BETWEEN + EACH
    );
    Ok(gone)
}
