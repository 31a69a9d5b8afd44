//! 20 connections are damaged and then closed: the gauges of `tcpwnd run` rise to 20 and go back, and
//! its log has as many lines about it as it may have, and one that says how many more there were.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::stage::Stage;
use crate::http::{get, metric};
use crate::wait::{self, PATIENCE};

const DAMAGED: u16 = 20;
/// Log lines of one sort in a minute.
const LOGGED: u16 = 5;
const LABEL: &[&str] = &["local_port=\"9092\""];

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::with_cookies()?;
    let listen = free_address()?;
    let text = listen.to_string();
    let limit = LOGGED.to_string();
    let arguments = [
        "run",
        "--listen",
        &text,
        "--port",
        "9092",
        "--log-limit",
        &limit,
    ];
    let mechanism = ["--mechanism", bench.launch.mechanism.name()];
    let mut agent = bench.launch.start(&[&arguments[..], &mechanism].concat())?;
    ensure!(
        get(listen, "/readyz").is_ok(),
        "ready, but /readyz says otherwise"
    );
    let gauge = |name: &str| metric(&get(listen, "/metrics")?, name, LABEL);
    let open = || gauge("tcpwnd_mismatched_connections");
    ensure!(open()? == 0.0, "the gauge does not begin at 0");

    let mut peers = stage.damaged(1..=DAMAGED)?;
    stage.broker.wait_accepted(DAMAGED.into())?;
    let count = f64::from(DAMAGED);
    wait::until_true(PATIENCE, "the gauge to rise to 20", || Ok(open()? == count))?;
    let worst = gauge("tcpwnd_worst_shrink_factor")?;
    ensure!(
        worst > 1.0,
        "20 damaged connections are open, but the worst factor is {worst}"
    );
    for peer in &mut peers {
        peer.reset()?;
    }
    wait::until_true(PATIENCE, "the gauge to return to 0", || Ok(open()? == 0.0))?;
    let found = gauge("tcpwnd_window_scale_mismatches_total")?;
    ensure!(found == count, "{found} mismatches were counted in all");
    agent.signal(libc::SIGTERM)?;
    let (lines, code) = agent.wait_end()?;
    ensure!(code == 0, "tcpwnd ended with {code}");
    check_log(&lines)?;
    Ok(format!("20 open, worst factor {worst}, then none"))
}

/// What was logged of the findings and of their ends, and what was held back, come to 20 each.
fn check_log(lines: &[String]) -> Result<()> {
    let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    for (sort, held_back) in [
        (" mismatch cause=", " of=handshake verdict=mismatch "),
        (" closed local=", " of=closed local_port=9092"),
    ] {
        let told = format!(" held_back lines={}{held_back}", DAMAGED - LOGGED);
        ensure!(
            count(sort) == usize::from(LOGGED) && count(&told) == 1,
            "{LOGGED} lines{sort} and one{told} were to be logged: {lines:#?}"
        );
    }
    Ok(())
}

/// A loopback address with a port that nobody uses.
pub fn free_address() -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to find a free port")?;
    listener.local_addr().context("failed to read an address")
}
