//! Tracing begins between SYN+ACK and ACK: nobody saw what was advertised, and that is what is
//! said.

use std::time::Duration;

use anyhow::Result;

use super::bench::Bench;
use super::provoked::Provocation;
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
    let what = |done| Provocation::unverified("before_start", done);
    judge(bench, &stage, agent, &what("tracing begins before the ACK"))?;

    let stage = Stage::new(&unlocked(), &[])?;
    let mut peer = stage.peer(2);
    let agent = start_in_a_pause(bench, &stage, &mut peer)?;
    let normal = what("tracing begins before the ACK, without a cookie");
    judge(bench, &stage, agent, &normal)?;
    Ok("unverified, before_start, with and without a cookie".to_owned())
}

fn judge(bench: &Bench, stage: &Stage, mut agent: Agent, what: &Provocation) -> Result<()> {
    stage.broker.wait_accepted(1)?;
    agent.wait_handshakes(1)?;
    bench.provoked_all(what, 1, &agent.finish()?)
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
