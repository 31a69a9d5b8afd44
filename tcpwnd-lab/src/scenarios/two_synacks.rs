//! The SYN is retransmitted, and a setting has changed in between: by cookie, the second SYN+ACK
//! has another scale and the same sequence number. Which of them the client took, its ACK shows by
//! the timestamp that it echoes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, compare};
use super::provoked::{Expected, Provocation};
use super::stage::{PORT, Rmem, Stage, unlocked};
use crate::packet::Segment;
use crate::peer::Peer;

/// A cookie's timestamp goes in steps of 64 ms (tcp_init_timestamp/cookie_init_timestamp): after
/// this time two of them differ.
const STEP: Duration = Duration::from_millis(150);

/// Attempts at getting two SYN+ACKs with the same timestamp, which have to come within one step.
const ATTEMPTS: u16 = 20;

pub fn play(bench: &Bench) -> Result<String> {
    decided(bench, 1)?;
    decided(bench, 2)?;
    undecided(bench)?;
    normal(bench)?;
    Ok("first echoed: mismatch; second: ok; same timestamp: unverified; no cookie: ok".to_owned())
}

/// The ACK echoes one of two different timestamps: the `taken`-th counts.
fn decided(bench: &Bench, taken: usize) -> Result<()> {
    let stage = Stage::with_cookies()?;
    let mut agent = bench.trace()?;
    let mut peer = stage.peer(1);
    let [first, second] = change_between(&stage, &mut peer, STEP)?;
    peer.ack(if taken == 1 { &first } else { &second })?;
    let accepted = stage.broker.wait_accepted(1)?;
    agent.wait_handshakes(1)?;
    let report = agent.finish()?;
    compare(&report, PORT, &accepted, &[])?;
    let handshake = report.of(peer.local())?;
    // The socket was made with the setting as it was for the second.
    let (done, expected) = if taken == 1 {
        let changed = Expected::Mismatch("tcp_rmem_changed");
        ("two SYN+ACKs that differ, the first one echoed", changed)
    } else {
        (
            "two SYN+ACKs that differ, the second one echoed",
            Expected::Ok,
        )
    };
    let what = Provocation::near_miss("two_synacks", done, expected);
    bench.provoked(&what, handshake)?;
    let told = if taken == 1 { &first } else { &second }
        .options
        .window_scale;
    ensure!(
        handshake.advertised() == told,
        "the client took {told:?}: {handshake:?}"
    );
    Ok(())
}

/// Both SYN+ACKs have the same timestamp: nobody can tell.
fn undecided(bench: &Bench) -> Result<()> {
    let stage = Stage::with_cookies()?;
    let mut agent = bench.trace()?;
    let mut chosen = None;
    for number in 1..=ATTEMPTS {
        stage.change(Rmem::Raised)?;
        let mut peer = stage.peer(number);
        let [first, second] = change_between(&stage, &mut peer, Duration::ZERO)?;
        let value = |synack: &Segment| synack.options.timestamps.map(|(value, _)| value);
        if value(&first) == value(&second) {
            chosen = Some((peer, second));
            break;
        }
    }
    let (mut peer, synack) = chosen.context("no two SYN+ACKs had the same timestamp")?;
    peer.ack(&synack)?;
    stage.broker.wait_accepted(1)?;
    agent.wait_handshakes(1)?;
    let what = Provocation::unverified(
        "two_synacks",
        "two SYN+ACKs that differ, with the same timestamp",
    );
    bench.provoked_all(&what.by("cookie"), 1, &agent.finish()?)
}

/// Without cookies the second SYN+ACK repeats the first.
fn normal(bench: &Bench) -> Result<()> {
    let stage = Stage::new(&unlocked(), &[])?;
    let mut agent = bench.trace()?;
    let mut peer = stage.peer(1);
    peer.syn()?;
    let first = peer.synack()?;
    stage.change(Rmem::Lowered)?;
    peer.syn()?;
    let second = peer.synack()?;
    ensure!(
        first.options.window_scale == second.options.window_scale,
        "{first:?}, {second:?}"
    );
    peer.ack(&second)?;
    stage.broker.wait_accepted(1)?;
    agent.wait_handshakes(1)?;
    let what = Provocation::near_miss(
        "two_synacks",
        "`tcp_rmem` changed between two SYN+ACKs, without a cookie",
        Expected::Ok,
    );
    bench.provoked_all(&what.by("normal"), 1, &agent.finish()?)
}

/// Two SYNs, at least `apart`, with `tcp_rmem[2]` lowered in between; returns their SYN+ACKs.
fn change_between(stage: &Stage, peer: &mut Peer<'_>, apart: Duration) -> Result<[Segment; 2]> {
    peer.syn()?;
    let first = peer.synack()?;
    stage.change(Rmem::Lowered)?;
    std::thread::sleep(apart);
    peer.syn()?;
    let second = peer.synack()?;
    ensure!(
        first.sequence == second.sequence
            && first.options.window_scale != second.options.window_scale,
        "the SYN+ACKs should differ in their scale only: {first:?}, {second:?}"
    );
    Ok([first, second])
}
