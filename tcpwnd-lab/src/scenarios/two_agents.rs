//! Two agents at once: each sees everything.

use anyhow::Result;

use super::bench::{Bench, compare};
use super::stage::{PORT, Rmem, Stage};

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::with_cookies()?;
    let mut agents = [bench.trace()?, bench.trace()?];
    let mut damaged = stage.peer(1);
    damaged.syn()?;
    let synack = damaged.synack()?;
    stage.change(Rmem::Raised)?;
    damaged.ack(&synack)?;
    for number in 2..=21 {
        stage.peer(number).connect()?;
    }
    let accepted = stage.broker.wait_accepted(21)?;
    for agent in &mut agents {
        agent.wait_handshakes(21)?;
    }
    for agent in agents {
        let report = agent.finish()?;
        compare(&report, PORT, &accepted, &[])?;
        report
            .of(damaged.local())?
            .expect("mismatch", "cookie", Some("tcp_rmem_changed"))?;
        anyhow::ensure!(report.summary.ok == 20, "not 20 ok: {:?}", report.summary);
    }
    Ok("each: 20 ok, 1 mismatch".to_owned())
}
