//! A short one for kernels that do not get every scenario: sound handshakes of each kind, and one
//! mismatch that is induced.

use anyhow::{Result, ensure};

use super::bench::{Bench, compare};
use super::ordinary::{Visited, visit_all};
use super::stage::{Rmem, Stage};
use crate::net::{Pair, PairOptions};

const EACH: usize = 10;

pub fn play(bench: &Bench) -> Result<String> {
    let Visited { report, late } = visit_all(bench, &Pair::new(PairOptions::default())?, EACH)?;
    report.expect_all(3 * EACH, "ok", "normal", None)?;
    ensure!(late == 0, "{late} connections came late without cookies");

    let stage = Stage::with_cookies()?;
    let mut agent = bench.trace()?;
    let (mut sound, mut damaged) = (stage.peer(1), stage.peer(2));
    sound.connect()?;
    stage.broker.wait_accepted(1)?;
    damaged.syn()?;
    let synack = damaged.synack()?;
    stage.change(Rmem::Raised)?;
    damaged.ack(&synack)?;
    let accepted = stage.broker.wait_accepted(2)?;
    agent.wait_handshakes(2)?;
    let induced = agent.finish()?;
    induced.of(sound.local())?.expect("ok", "cookie", None)?;
    let finding = induced.of(damaged.local())?;
    finding.expect("mismatch", "cookie", Some("tcp_rmem_changed"))?;
    ensure!(
        finding.advertised() == synack.options.window_scale,
        "the SYN+ACK said {:?}, but reported was {finding:?}",
        synack.options.window_scale
    );
    compare(&induced, 9092, &accepted, &[])?;
    Ok(format!(
        "31 ok, 1 mismatch {:?} to {:?}",
        finding.advertised(),
        finding.used()
    ))
}
