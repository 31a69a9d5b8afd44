//! One end has said its last word and the other goes on: the kernel's function for handshakes
//! (`tcp_rcv_state_process`) then handles each segment, and none of that is a handshake.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::stage::PORT;
use crate::ends;
use crate::net::{Pair, PairOptions};
use crate::socket::{self, ListenOptions, TcpInfo};
use crate::wait::{self, PATIENCE};
use crate::witness;

/// Segments that are sent to the end that is silent, one after the other.
const SEGMENTS: u64 = 200;

/// Bytes in each.
const SIZE: usize = 100;

/// States (include/net/tcp_states.h).
const FIN_WAIT2: u8 = 5;
const CLOSE_WAIT: u8 = 8;

pub fn play(bench: &Bench) -> Result<String> {
    let pair = Pair::new(PairOptions::default())?;
    let listen = ListenOptions::default();
    let listener = pair.server.enter(|| socket::listen(&listen))?;
    let mut agent = bench.trace()?;
    let arrived = || witness::counter(&pair.server, "Tcp", "InSegs");
    let mut clients = Vec::new();
    let mut half_closed = 0;
    for address in [Pair::SERVER_V4, Pair::SERVER_V6] {
        for server_is_silent in [true, false] {
            let to = SocketAddr::new(address, PORT);
            let (mut client, mut server) = connect(&pair, &listener, to)?;
            clients.push(client.local_addr().context("a client without address")?);
            let before = arrived()?;
            if server_is_silent {
                talk_to(&mut server, &mut client)?;
            } else {
                talk_to(&mut client, &mut server)?;
            }
            half_closed += arrived()? - before;
        }
    }
    agent.wait_handshakes(clients.len())?;
    let report = agent.finish()?;
    report.expect_all(clients.len(), "ok", "normal", None)?;
    for &client in &clients {
        report.of(client)?;
    }
    ensure!(
        report.windows.is_empty() && report.closed.is_empty(),
        "half-closed connections are no finding: {:?}, {:?}",
        report.windows,
        report.closed
    );
    let mut probes = report.summary.probes.iter();
    let probe = probes.find(|probe| probe.probe == "tcp_rcv_state_process");
    let runs = probe.context("no tcp_rcv_state_process")?.runs;
    // The silent server was sent all of it, and the silent client acknowledged it now and then.
    ensure!(
        runs == clients.len() as u64 && half_closed >= 2 * SEGMENTS,
        "{} handshakes and {half_closed} segments behind them, but {runs} runs were counted",
        clients.len()
    );
    Ok(format!(
        "{} ok; {half_closed} segments for half-closed connections, {runs} runs",
        report.summary.ok
    ))
}

fn connect(pair: &Pair, listener: &TcpListener, to: SocketAddr) -> Result<(TcpStream, TcpStream)> {
    let client = pair.client.enter(|| {
        TcpStream::connect_timeout(&to, PATIENCE)
            .with_context(|| format!("failed to connect to {to}"))
    })?;
    ends::accept(listener, client)
}

/// One end is silent from now on, and the other one sends, each segment when the one before has
/// arrived.
fn talk_to(silent: &mut TcpStream, talking: &mut TcpStream) -> Result<()> {
    ends::half_close(silent, talking)?;
    let half_closed = || {
        let states = (TcpInfo::of(silent)?.state, TcpInfo::of(talking)?.state);
        Ok(states == (FIN_WAIT2, CLOSE_WAIT))
    };
    wait::until_true(PATIENCE, "the connection to be half-closed", half_closed)?;
    for _ in 0..SEGMENTS {
        talking.write_all(&[1; SIZE]).context("failed to send")?;
        silent
            .read_exact(&mut [0; SIZE])
            .context("failed to receive")?;
    }
    Ok(())
}
