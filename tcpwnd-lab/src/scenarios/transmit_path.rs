//! Nothing of ours is on the transmit path while no connection is suspect; while one is, there is,
//! which shows that the look would have found it.

use anyhow::{Result, ensure};

use super::bench::Bench;
use super::stage::{Rmem, Stage};
use crate::broker;
use crate::hooks::Hooks;
use crate::wait::{self, PATIENCE};

/// Whether anything is attached to the function that chooses a segment's window.
///
/// # Errors
/// As [`Hooks::look`].
pub fn attached() -> Result<bool> {
    let hooks = Hooks::look()?;
    Ok(hooks.on("__tcp_select_window") || hooks.on("tcp_select_window"))
}

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::with_cookies()?;
    ensure!(
        !attached()?,
        "something is on the transmit path before the start"
    );
    let mut agent = bench.trace()?;
    let mut sound = stage.peer(1);
    sound.connect()?;
    agent.wait_handshakes(1)?;
    ensure!(
        !attached()?,
        "the transmit path is probed although nothing is suspect"
    );

    let mut damaged = stage.peer(2);
    damaged.syn()?;
    let synack = damaged.synack()?;
    stage.change(Rmem::Raised)?;
    damaged.ack(&synack)?;
    stage.broker.wait_accepted(2)?;
    wait::until_true(PATIENCE, "a probe on the transmit path", attached)?;
    for _ in 0..3 {
        let timestamps = damaged.timestamps(&synack);
        damaged.data(&broker::encode(0, 4), timestamps)?;
        damaged.receive()?;
    }
    agent.wait_kind("window", 1)?;
    damaged.reset()?;
    wait::until_true(PATIENCE, "the probe to go with the connection", || {
        Ok(!attached()?)
    })?;
    let report = agent.finish()?;
    report.of(sound.local())?.expect("ok", "cookie", None)?;
    report
        .of(damaged.local())?
        .expect("mismatch", "cookie", Some("tcp_rmem_changed"))?;
    ensure!(
        report.closed.len() == 1 && report.closed[0].flow.remote.address() == damaged.local(),
        "the end of the suspect, and of nothing else, is reported: {:?}",
        report.closed
    );
    Ok(format!(
        "probed for one suspect only, {} windows",
        report.windows.len()
    ))
}
