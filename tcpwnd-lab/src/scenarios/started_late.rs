//! Tracing begins between SYN+ACK and ACK: nobody saw what was advertised, and that is what is
//! said.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::bench::Bench;
use super::provoked::{Expected, Provocation};
use super::stage::{Stage, unlocked};
use crate::agent::Agent;
use crate::packet::{Segment, flag};
use crate::peer::Peer;

/// How long the kernel waits at most before it repeats a SYN+ACK, and a little more.
const LONGEST_PAUSE: Duration = Duration::from_secs(40);

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::with_cookies()?;
    let mut peer = stage.peer(1);
    peer.syn()?;
    let synack = peer.synack()?;
    let agent = bench.trace()?;
    peer.ack(&synack)?;
    judge(bench, &stage, agent, peer.local(), &BY_COOKIE)?;

    let stage = Stage::new(&unlocked(), &[])?;
    let mut peer = stage.peer(2);
    let agent = start_in_a_pause(bench, &stage, &mut peer)?;
    judge(bench, &stage, agent, peer.local(), &NORMALLY)?;
    Ok("unverified, before_start, with and without a cookie".to_owned())
}

/// A connection whose SYN+ACK nobody saw, and the one after it.
type Both = [Provocation; 2];

const BY_COOKIE: Both = [
    Provocation::unverified("before_start", "tracing begins before the ACK"),
    Provocation::near_miss(
        "before_start",
        "tracing begins before the SYN",
        Expected::Ok,
    ),
];

const NORMALLY: Both = [
    Provocation::unverified(
        "before_start",
        "tracing begins before the ACK, without a cookie",
    ),
    Provocation::near_miss(
        "before_start",
        "tracing begins before the SYN, without a cookie",
        Expected::Ok,
    )
    .by("normal"),
];

/// Makes one more connection, and judges both.
fn judge(
    bench: &Bench,
    stage: &Stage,
    mut agent: Agent,
    late: SocketAddr,
    [missed, seen]: &Both,
) -> Result<()> {
    stage.wait_accepted_from(late)?;
    let mut next = stage.peer(3);
    next.connect()?;
    stage.wait_accepted_from(next.local())?;
    agent.wait_handshakes(2)?;
    let report = agent.finish()?;
    bench.provoked(missed, report.of(late)?)?;
    bench.provoked(seen, report.of(next.local())?)?;
    ensure!(
        report.handshakes.len() == 2,
        "not two handshakes: {:?}",
        report.handshakes
    );
    Ok(())
}

/// Without cookies the kernel repeats the SYN+ACK 1, 3, 7, 15 and 31 s after the first: the agent
/// has to start between two of them, and the ACK to come before the next.
fn start_in_a_pause(bench: &Bench, stage: &Stage, peer: &mut Peer<'_>) -> Result<Agent> {
    let (local, remote) = (peer.local(), peer.remote());
    let repeated = |segment: &Segment| {
        segment.destination == local
            && segment.source == remote
            && segment.has(flag::SYN | flag::ACK)
    };
    peer.syn()?;
    let mut synack = peer.synack()?;
    for _ in 0..5 {
        let agent = bench.trace()?;
        if stage.tun.take(repeated)?.is_none() {
            peer.ack(&synack)?;
            return Ok(agent);
        }
        drop(agent);
        // On a busy machine several were sent meanwhile. The next pause is twice as long as the
        // one before, and only as it begins is there enough time.
        while stage.tun.take(repeated)?.is_some() {}
        synack = stage
            .tun
            .wait(LONGEST_PAUSE, "a repeated SYN+ACK", repeated)?;
    }
    anyhow::bail!("the agent takes longer to start than the kernel to repeat a SYN+ACK")
}
