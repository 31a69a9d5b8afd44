//! `tcp_rmem[2]` is lowered between the SYN+ACK and the cookie's ACK: the socket uses a smaller
//! scale than the peer was told, and the peer sends more than fits.

use anyhow::{Result, ensure};

use super::bench::{Bench, compare};
use super::impact::Slow;
use super::provoked::Provocation;
use super::stage::{PORT, Rmem, Stage};

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::with_cookies()?;
    let mut agent = bench.trace()?;
    let mut peer = stage.peer(1);
    let slow = Slow::begin(&mut peer)?;
    let synack = slow.synack();
    stage.change(Rmem::Lowered)?;
    peer.ack(synack)?;
    let accepted = stage.broker.wait_accepted(1)?;
    let timestamps = peer.timestamps(synack);
    let seen = slow.seen(&mut peer, timestamps)?;
    agent.wait_handshakes(1)?;
    let report = agent.finish()?;
    let lowered = Provocation::mismatch("tcp_rmem_changed", "`tcp_rmem` lowered");
    bench.provoked_all(&lowered, 1, &report)?;
    compare(&report, PORT, &accepted, &[])?;
    let finding = report.of(peer.local())?;
    let receive = finding.receive.as_ref();
    ensure!(
        finding.advertised() == synack.options.window_scale
            && finding.used() < finding.advertised()
            && receive.is_some_and(|at| at.damage == "overrun" && at.factor < 1.0),
        "the SYN+ACK was {synack:?}, but reported was {finding:?}"
    );
    // Who takes a window for too large is held back by nothing.
    seen.check(finding, accepted[0].info.used(), None)?;
    Ok(format!(
        "mismatch {:?} to {:?}; the client sees {} bytes, as reported",
        finding.advertised(),
        finding.used(),
        seen.window
    ))
}
