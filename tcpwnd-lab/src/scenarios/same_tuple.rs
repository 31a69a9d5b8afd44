//! The same four-tuple in two network namespaces at once, one of them damaged: exactly that one.

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::stage::{Rmem, Stage};

pub fn play(bench: &Bench) -> Result<String> {
    let (sound, damaged) = (Stage::with_cookies()?, Stage::with_cookies()?);
    let mut agent = bench.trace()?;
    let mut peers = [sound.peer(1), damaged.peer(1)];
    let mut synacks = Vec::new();
    for peer in &mut peers {
        peer.syn()?;
    }
    for peer in &mut peers {
        synacks.push(peer.synack()?);
    }
    damaged.change(Rmem::Raised)?;
    for (peer, synack) in peers.iter_mut().zip(&synacks) {
        peer.ack(synack)?;
    }
    for stage in [&sound, &damaged] {
        stage.broker.wait_accepted(1)?;
    }
    agent.wait_handshakes(2)?;
    let report = agent.finish()?;
    ensure!(
        report.handshakes.len() == 2,
        "not two handshakes: {:?}",
        report.handshakes
    );
    let of = |stage: &Stage| {
        let inode = stage.server.inode()?;
        let mut found = report.handshakes.iter().filter(|at| at.flow.netns == inode);
        found
            .next()
            .with_context(|| format!("no report about namespace {inode}"))
    };
    of(&sound)?.expect("ok", "cookie", None)?;
    of(&damaged)?.expect("mismatch", "cookie", Some("tcp_rmem_changed"))?;
    let local = peers[0].local();
    ensure!(
        report
            .handshakes
            .iter()
            .all(|at| at.flow.remote.address() == local),
        "the tuples should be the same: {:?}",
        report.handshakes
    );
    Ok("two of the same tuple: 1 ok, 1 mismatch, each in its namespace".to_owned())
}
