//! Large numbers: what is sound is never a finding, what is damaged always is.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::bench::{Bench, compare};
use super::stage::{COOKIES, PORT, Stage, unlocked};
use crate::broker::Broker;
use crate::client::come_and_go;
use crate::net::{Pair, PairOptions};
use crate::socket::ListenOptions;

/// 1,000 induced mismatches, 1,000 findings.
pub fn thousand_mismatches(bench: &Bench) -> Result<String> {
    const COUNT: u16 = 1_000;
    let listen = ListenOptions {
        backlog: 4_096,
        ..unlocked()
    };
    let stage = Stage::new(&listen, COOKIES)?;
    let mut agent = bench.trace()?;
    let _peers = stage.damaged(1..=COUNT)?;
    let accepted = stage.broker.wait_accepted(COUNT.into())?;
    agent.wait_handshakes(COUNT.into())?;
    let report = agent.finish()?;
    report.expect_all(COUNT.into(), "mismatch", "cookie", Some("tcp_rmem_changed"))?;
    compare(&report, PORT, &accepted, &[])?;
    Ok(format!("{} mismatches", report.summary.mismatch))
}

/// 10,000 sound handshakes, no finding.
pub fn ten_thousand_clean(bench: &Bench) -> Result<String> {
    const COUNT: usize = 10_000;
    let pair = Pair::new(PairOptions::default())?;
    let broker = Broker::start(&pair.server, &ListenOptions::default())?;
    let mut agent = bench.trace()?;
    let to = SocketAddr::new(Pair::SERVER_V4, PORT);
    let visits = come_and_go(&pair.client, to, COUNT)?;
    agent.wait_handshakes(COUNT)?;
    let report = agent.finish()?;
    report.expect_all(COUNT, "ok", "normal", None)?;
    let accepted = broker.wait_accepted(COUNT)?;
    ensure!(
        accepted.len() == COUNT,
        "{} connections were accepted",
        accepted.len()
    );
    compare(&report, PORT, &accepted, &visits)?;
    Ok(format!("{} ok", report.summary.ok))
}
