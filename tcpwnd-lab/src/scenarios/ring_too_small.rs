//! The ring buffer, or each perf buffer, is far too small and nobody empties it: what does not fit is counted, and the
//! exit code says that the trace is inconclusive.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::stage::{Stage, unlocked};
use crate::peer::Peer;
use crate::socket::ListenOptions;
use crate::wait;

const HANDSHAKES: u16 = 300;

pub fn play(bench: &Bench) -> Result<String> {
    let listen = ListenOptions {
        backlog: 4_096,
        ..unlocked()
    };
    let stage = Stage::new(&listen, &[])?;
    let size = bench.launch.transport.size_flag();
    let agent = bench.launch.trace("9092", &[size, "4096"])?;
    agent.signal(libc::SIGSTOP)?;
    let stat = format!("/proc/{}/stat", agent.id());
    wait::until_true(wait::PATIENCE, "tcpwnd to stop", || {
        Ok(fs::read_to_string(&stat)
            .context("tcpwnd is gone")?
            .contains(") T "))
    })?;
    let mut peers: Vec<Peer<'_>> = (1..=HANDSHAKES).map(|number| stage.peer(number)).collect();
    for peer in &mut peers {
        peer.connect()?;
    }
    stage.broker.wait_accepted(HANDSHAKES.into())?;
    agent.signal(libc::SIGCONT)?;
    let report = agent.finish_with(3)?;
    let summary = &report.summary;
    ensure!(
        summary.handshakes == u64::from(HANDSHAKES) && summary.lost() > 0 && summary.ok > 0,
        "some of {HANDSHAKES} must be lost, but the books say {summary:?}"
    );
    Ok(format!(
        "{} ok, {} counted as lost, exit code 3",
        summary.ok,
        summary.lost()
    ))
}
