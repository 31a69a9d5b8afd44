//! 20 connections are damaged, 5 lose their scaling, and then they are closed: the gauges of `tcpwnd
//! run` rise to 20 and to 5 and go back, and its log has as many lines about it as it may have, and one that says how many more there were.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::stage::Stage;
use crate::http::{get, metric};
use crate::peer::Offer;
use crate::wait::{self, PATIENCE};

const DAMAGED: u16 = 20;
const LOST: u16 = 5;
/// Log lines of one sort in a minute.
const LOGGED: u16 = 5;
const LABEL: &[&str] = &["local_port=\"9092\""];

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::with_cookies()?;
    let listen = free_address()?;
    let limit = LOGGED.to_string();
    let mut agent = bench.launch.serve(listen, &["--log-limit", &limit])?;
    ensure!(
        get(listen, "/readyz").is_ok(),
        "ready, but /readyz says otherwise"
    );
    let gauge = |name: &str| metric(&get(listen, "/metrics")?, name, LABEL);
    let open_are = |mismatched: u16, lost: u16| {
        let seen = gauge("tcpwnd_mismatched_connections")? == f64::from(mismatched);
        Ok(seen && gauge("tcpwnd_scale_lost_connections")? == f64::from(lost))
    };
    ensure!(open_are(0, 0)?, "the gauges do not begin at 0");

    let mut peers = stage.damaged(1..=DAMAGED)?;
    for number in DAMAGED + 1..=DAMAGED + LOST {
        let offer = Offer {
            window_scale: None,
            ..Offer::default()
        };
        let mut peer = stage.peer_offering(number, offer);
        peer.connect()?;
        peers.push(peer);
    }
    stage.broker.wait_accepted(peers.len())?;
    wait::until_true(PATIENCE, "the gauges to rise to 20 and to 5", || {
        open_are(DAMAGED, LOST)
    })?;
    let worst = gauge("tcpwnd_worst_shrink_factor")?;
    ensure!(
        worst > 1.0,
        "20 damaged connections are open, but the worst factor is {worst}"
    );
    for peer in &mut peers {
        peer.reset()?;
    }
    wait::until_true(PATIENCE, "the gauges to return to 0", || open_are(0, 0))?;
    for (name, count) in [
        ("tcpwnd_window_scale_mismatches_total", DAMAGED),
        ("tcpwnd_window_scale_lost_total", LOST),
    ] {
        let found = gauge(name)?;
        ensure!(found == f64::from(count), "{name} is {found} in all");
    }
    agent.signal(libc::SIGTERM)?;
    let (lines, code) = agent.wait_end()?;
    ensure!(code == 0, "tcpwnd ended with {code}");
    check_log(&lines)?;
    Ok(format!(
        "{DAMAGED} and {LOST} open, worst factor {worst}, then none"
    ))
}

/// What was logged of the findings and of the ends, and what was held back, come to all there were.
fn check_log(lines: &[String]) -> Result<()> {
    let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    for (sort, held_back, all) in [
        (
            " mismatch cause=",
            " of=handshake verdict=mismatch ",
            DAMAGED,
        ),
        (
            " closed local=",
            " of=closed local_port=9092",
            DAMAGED + LOST,
        ),
    ] {
        let told = format!(" held_back lines={}{held_back}", all - LOGGED);
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
