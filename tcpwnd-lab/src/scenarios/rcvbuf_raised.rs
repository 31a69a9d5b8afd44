//! The listener's SO_RCVBUF is raised between the SYN+ACK and the cookie's ACK: the socket uses a
//! larger scale than the client was told, and the client takes each window for a tiny one.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::bench::{Bench, compare};
use super::stage::{COOKIES, PORT};
use crate::broker::Broker;
use crate::client::{Client, Visit};
use crate::net::{Pair, PairOptions};
use crate::socket::ListenOptions;
use crate::witness::{self, Tcpdump};

/// Time that a packet takes in each direction: within it, the change has to be made.
const DELAY: Duration = Duration::from_millis(250);

/// Attempts at making the change in time.
const ATTEMPTS: usize = 5;

pub fn play(bench: &Bench) -> Result<String> {
    let pair = Pair::new(PairOptions { delay: DELAY })?;
    for (name, value) in COOKIES {
        pair.server.set(name, value)?;
    }
    for _ in 0..ATTEMPTS {
        let broker = Broker::start(&pair.server, &ListenOptions::default())?;
        let change = || broker.set_receive_buffer(16 << 20);
        if let Some(detail) = attempt(bench, &pair, &broker, change)? {
            return Ok(detail);
        }
    }
    bail!("the change was never made in time")
}

/// One connection with the change; none when the ACK was faster.
fn attempt(
    bench: &Bench,
    pair: &Pair,
    broker: &Broker,
    change: impl FnOnce() -> Result<()>,
) -> Result<Option<String>> {
    let mut wire = Tcpdump::start(&pair.server, "eth0")?;
    let mut agent = bench.trace()?;
    let (mut client, in_time) = connect_with(pair, &mut wire, change)?;
    let accepted = broker.wait_accepted(1)?;
    if !in_time {
        return Ok(None);
    }
    let address = client.address()?;
    let mut believed = Vec::new();
    for _ in 0..4 {
        client.request(100)?;
        believed.push(client.info()?.send_window);
    }
    let visit = Visit {
        address,
        info: client.info()?,
    };
    client.reset()?;
    agent.wait_handshakes(1)?;
    agent.wait_kind("window", 2)?;
    let report = agent.finish()?;
    report.expect_all(1, "mismatch", "cookie", Some("cookie_recomputed"))?;
    compare(&report, PORT, &accepted, &[visit])?;
    let finding = report.of(address)?;
    let damage = finding
        .receive
        .as_ref()
        .map(|receive| receive.damage.as_str());
    ensure!(
        finding.used() > finding.advertised() && damage == Some("too_small"),
        "the peer sees too small a window, but reported was {finding:?}"
    );
    // The last two windows may not have been confirmed: that takes a later segment.
    let used = finding.used().context("no scale in use")?;
    for window in &believed[..2] {
        ensure!(
            report
                .windows
                .iter()
                .any(|line| line.peer_window_bytes == *window
                    && line.on_wire == line.window_bytes >> used
                    && line.flow.remote.address() == address),
            "the client takes the window for {window} bytes, but reported was {:?}",
            report.windows
        );
    }
    Ok(Some(format!(
        "mismatch {:?} to {:?}; the client sees {} bytes, as reported",
        finding.advertised(),
        finding.used(),
        believed[0]
    )))
}

/// Connects, makes the change after the SYN+ACK, and says whether it was done before the ACK.
fn connect_with(
    pair: &Pair,
    wire: &mut Tcpdump,
    change: impl FnOnce() -> Result<()>,
) -> Result<(Client, bool)> {
    let valid = || witness::counter(&pair.server, "TcpExt", "SyncookiesRecv");
    let before = valid()?;
    std::thread::scope(|scope| {
        let to = SocketAddr::new(Pair::SERVER_V4, PORT);
        let connecting = scope.spawn(move || Client::connect(&pair.client, to));
        wire.synacks(1)?;
        change()?;
        let in_time = valid()? == before;
        let client = connecting.join().ok().context("the client panicked")??;
        Ok((client, in_time))
    })
}
