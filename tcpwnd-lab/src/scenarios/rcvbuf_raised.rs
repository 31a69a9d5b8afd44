//! The listener's SO_RCVBUF is raised between the SYN+ACK and the cookie's ACK: the socket uses a
//! larger scale than the client was told, and the client takes each window for a tiny one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, compare};
use super::impact::Seen;
use super::provoked::Provocation;
use super::stage::{COOKIES, PORT};
use crate::agent::Report;
use crate::broker::Broker;
use crate::client::Visit;
use crate::findings::Handshake;
use crate::held;
use crate::net::{Pair, PairOptions};
use crate::socket::ListenOptions;

/// Time that a packet takes in each direction: within it, the change has to be made.
const DELAY: Duration = Duration::from_millis(250);

/// Windows that have to be confirmed (only those that differ from the one before are reported),
/// and requests that this may take.
const WINDOWS: usize = 1;
const REQUESTS: usize = 30;

/// Windows that the request takes by which the throughput is measured: few, since the window grows
/// with what is sent.
const FILLS: u32 = 2;

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
    let begin = Instant::now();
    let mut client = held::connect(&pair, to, change, undo)?;
    let address = client.address()?;
    let accepted = broker.wait_accepted_from(address)?;
    let round_trip = 2 * DELAY..=begin.elapsed();
    // The window probe is attached when the finding is there, and sees a window when the next one
    // is chosen: it takes some requests until enough have been confirmed.
    let mut believed = Vec::new();
    let mut measured = Duration::MAX;
    for _ in 0..REQUESTS {
        measured = client.request(100)?.min(measured);
        believed.push(client.info()?.send_window);
        if agent.count("window") >= WINDOWS {
            break;
        }
    }
    let visit = Visit {
        address,
        info: client.info()?,
    };
    let seen = Seen {
        told: Some(visit.info.send_scale),
        window: believed.first().copied().unwrap_or_default().into(),
        round_trip,
    };
    agent.wait_handshakes(1)?;
    // It ends here, so that it has seen the same windows as the client.
    let report = agent.finish()?;
    let size = FILLS * visit.info.send_window;
    let rate = f64::from(size) / client.request(size)?.as_secs_f64();
    client.reset()?;
    let raised = Provocation::mismatch("rcvbuf_changed", "SO_RCVBUF raised, client 500 ms away");
    let finding = report.of(address)?;
    bench.provoked(&raised, finding)?;
    compare(&report, PORT, &[accepted], &[visit])?;
    seen.check(finding, accepted.info.used(), Some(seen.held()))?;
    check_rate(finding, measured, rate)?;
    check(&report, finding, &believed)
}

/// The client's requests take the same round trip, within a quarter, and it gets no more through
/// than the ceiling, within a quarter. It gets less: where the window is smaller than a segment it
/// waits for more, and where it is large it begins slowly.
fn check_rate(finding: &Handshake, measured: Duration, rate: f64) -> Result<()> {
    let round_trip = finding.round_trip().context("no round-trip time")?;
    let ceiling = finding.impact.ceiling_bytes_per_second;
    let ceiling = ceiling.context("no ceiling")?;
    let times = round_trip.as_secs_f64() / measured.as_secs_f64();
    ensure!(
        (0.75..=1.25).contains(&times) && rate <= 1.25 * ceiling,
        "the client measured {measured:?} and got {rate:.0} bytes a second, but reported was \
         {finding:?}"
    );
    Ok(())
}

/// The finding is right, and so are the windows: they are what the client's stack believes.
fn check(report: &Report, finding: &Handshake, believed: &[u32]) -> Result<String> {
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
            line.confirmed
                && believed.contains(&line.peer_window_bytes)
                && line.on_wire == (line.window_bytes >> used).min(65_535)
                && line.flow.remote.address() == finding.flow.remote.address(),
            "the client took the windows for {believed:?}, but reported was {line:?}"
        );
    }
    let confirmation = report.summary.confirmation;
    ensure!(
        (confirmation.confirmed, confirmation.contradicted) == (1, 0),
        "one finding was confirmed, but reported was {confirmation:?}"
    );
    Ok(format!(
        "mismatch {:?} to {:?}; the client sees {} bytes, as reported",
        finding.advertised(),
        finding.used(),
        believed[0]
    ))
}
