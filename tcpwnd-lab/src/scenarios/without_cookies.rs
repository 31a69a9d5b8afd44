//! The listener's SO_RCVBUF and `tcp_rmem[2]` change between SYN+ACK and ACK, without cookies: the
//! request remembers what was advertised, and nothing is damaged.

use anyhow::{Result, ensure};

use super::bench::{Bench, compare};
use super::provoked::{Expected, Provocation};
use super::stage::{PORT, Rmem, Stage, unlocked};

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::new(&unlocked(), &[])?;
    let mut agent = bench.trace()?;
    let mut peers: Vec<_> = (1..=3).map(|number| stage.peer(number)).collect();
    let mut synacks = Vec::new();
    for peer in &mut peers {
        peer.syn()?;
        synacks.push(peer.synack()?);
    }
    peers[0].ack(&synacks[0])?;
    stage.change(Rmem::Lowered)?;
    peers[1].ack(&synacks[1])?;
    stage.broker.set_receive_buffer(16 << 20)?;
    peers[2].ack(&synacks[2])?;
    let accepted = stage.broker.wait_accepted(3)?;
    agent.wait_handshakes(3)?;
    let report = agent.finish()?;
    report.expect_all(3, "ok", "normal", None)?;
    for (peer, cause, done) in [
        (
            &peers[1],
            "tcp_rmem_changed",
            "`tcp_rmem` lowered, without a cookie",
        ),
        (
            &peers[2],
            "rcvbuf_changed",
            "SO_RCVBUF raised, without a cookie",
        ),
    ] {
        let what = Provocation::near_miss(cause, done, Expected::Ok).by("normal");
        bench.provoked(&what, report.of(peer.local())?)?;
    }
    compare(&report, PORT, &accepted, &[])?;
    for (peer, synack) in peers.iter().zip(&synacks) {
        ensure!(
            report.of(peer.local())?.advertised() == synack.options.window_scale,
            "the SYN+ACK of {} is reported wrongly",
            peer.local()
        );
    }
    Ok("3 ok, whatever changed".to_owned())
}
