//! The listener's SO_RCVBUF is raised between the SYN+ACK and the cookie's ACK: the socket uses a
//! larger scale than the client was told, and the client takes each window for a tiny one.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, compare};
use super::provoked::Provocation;
use super::stage::{COOKIES, PORT};
use crate::agent::Report;
use crate::broker::Broker;
use crate::client::Visit;
use crate::held;
use crate::net::{Pair, PairOptions};
use crate::socket::ListenOptions;

/// Time that a packet takes in each direction: within it, the change has to be made.
const DELAY: Duration = Duration::from_millis(250);

/// Windows that have to be confirmed (only those that differ from the one before are reported),
/// and requests that this may take.
const WINDOWS: usize = 1;
const REQUESTS: usize = 30;

pub fn play(bench: &Bench) -> Result<String> {
    let pair = Pair::new(PairOptions { delay: DELAY })?;
    for (name, value) in COOKIES {
        pair.server.set(name, value)?;
    }
    let listen = ListenOptions::default();
    let broker = Broker::start(&pair.server, &listen)?;
    let mut agent = bench.trace()?;
    let to = SocketAddr::new(Pair::SERVER_V4, PORT);
    let change = || broker.set_receive_buffer(16 << 20);
    let undo = || broker.set_receive_buffer(listen.receive_buffer.unwrap_or_default());
    let mut client = held::connect(&pair, to, change, undo)?;
    let address = client.address()?;
    let accepted = broker.wait_accepted_from(address)?;
    // The window probe is attached when the finding is there, and sees a window when the next one
    // is chosen: it takes some requests until enough have been confirmed.
    let mut believed = Vec::new();
    for _ in 0..REQUESTS {
        client.request(100)?;
        believed.push(client.info()?.send_window);
        if agent.count("window") >= WINDOWS {
            break;
        }
    }
    let visit = Visit {
        address,
        info: client.info()?,
    };
    client.reset()?;
    agent.wait_handshakes(1)?;
    let report = agent.finish()?;
    let raised = Provocation::mismatch("rcvbuf_changed", "SO_RCVBUF raised, client 500 ms away");
    bench.provoked(&raised, report.of(address)?)?;
    compare(&report, PORT, &[accepted], &[visit])?;
    check(&report, address, &believed)
}

/// The finding is right, and so are the windows: they are what the client's stack believes.
fn check(report: &Report, address: SocketAddr, believed: &[u32]) -> Result<String> {
    let finding = report.of(address)?;
    let damage = finding
        .receive
        .as_ref()
        .map(|receive| receive.damage.as_str());
    ensure!(
        finding.used() > finding.advertised() && damage == Some("too_small"),
        "the peer sees too small a window, but reported was {finding:?}"
    );
    let used = finding.used().context("no scale in use")?;
    ensure!(
        report.windows.len() >= WINDOWS,
        "too few windows: {:?}",
        report.windows
    );
    for line in &report.windows {
        ensure!(
            believed.contains(&line.peer_window_bytes)
                && line.on_wire == (line.window_bytes >> used).min(65_535)
                && line.flow.remote.address() == address,
            "the client took the windows for {believed:?}, but reported was {line:?}"
        );
    }
    Ok(format!(
        "mismatch {:?} to {:?}; the client sees {} bytes, as reported",
        finding.advertised(),
        finding.used(),
        believed[0]
    ))
}
