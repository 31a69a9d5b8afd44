//! A client tries again, with another sequence number, before the answer to its first SYN reaches
//! it, and then takes that first answer: its cookie is still valid. The last SYN+ACK that the
//! server sent says nothing of such a connection.

use anyhow::{Result, ensure};

use super::bench::{Bench, compare};
use super::provoked::{Expected, Provocation};
use super::stage::{PORT, Rmem, Stage};

pub fn play(bench: &Bench) -> Result<String> {
    before_last(bench)?;
    forgotten(bench)?;
    Ok("the one before the last: mismatch; an older one: unverified".to_owned())
}

/// Of two SYN+ACKs the first is answered, which is still known.
fn before_last(bench: &Bench) -> Result<()> {
    let stage = Stage::with_cookies()?;
    let mut agent = bench.trace()?;
    let mut first = stage.peer(1);
    let mut second = first.again(1);
    first.syn()?;
    let told = first.synack()?;
    stage.change(Rmem::Lowered)?;
    second.syn()?;
    let newer = second.synack()?;
    ensure!(
        told.sequence != newer.sequence && told.options.window_scale != newer.options.window_scale,
        "the SYN+ACKs should differ: {told:?}, {newer:?}"
    );
    first.ack(&told)?;
    let accepted = stage.broker.wait_accepted(1)?;
    agent.wait_handshakes(1)?;
    let report = agent.finish()?;
    compare(&report, PORT, &accepted, &[])?;
    let handshake = report.of(first.local())?;
    let what = Provocation::near_miss(
        "stale_record",
        "the SYN+ACK before the last sequence number answered, `tcp_rmem` changed",
        Expected::Ok,
    );
    let kept = "of that SYN+ACK only what it said is kept, not what that was computed from";
    bench.provoked(&what.unknown(kept), handshake)?;
    ensure!(
        handshake.advertised() == told.options.window_scale,
        "the client took {told:?}: {handshake:?}"
    );
    Ok(())
}

/// Of three SYN+ACKs the first is answered: nobody knows it any more.
fn forgotten(bench: &Bench) -> Result<()> {
    let stage = Stage::with_cookies()?;
    let mut agent = bench.trace()?;
    let mut first = stage.peer(1);
    first.syn()?;
    let told = first.synack()?;
    stage.change(Rmem::Lowered)?;
    for number in 1..=2 {
        let mut later = first.again(number);
        later.syn()?;
        later.synack()?;
    }
    first.ack(&told)?;
    stage.broker.wait_accepted(1)?;
    agent.wait_handshakes(1)?;
    let what = Provocation::unverified(
        "stale_record",
        "the SYN+ACK of an older sequence number answered",
    );
    bench.provoked_all(&what, 1, &agent.finish()?)
}
