//! Fast Open connections that the server closes before the client's ACK. Such a one leaves SYN_RECV
//! in close(), which packets of other connections interrupt at any point, between the agent's
//! programs for state changes too: each is reported once all the same.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::stage::PORT;
use crate::broker::Broker;
use crate::client::come_and_go_in_a_crowd;
use crate::net::{Pair, PairOptions};
use crate::socket::{self, Family, ListenOptions};

/// Long enough for the server to accept and close before the ACK comes.
const DELAY: Duration = Duration::from_millis(5);

/// Connections with Fast Open, to a port of their own, and those that interrupt.
const CLOSED: usize = 2_000;
const OTHERS: usize = 4_000;

/// Clients at once, of either sort.
const CLIENTS: usize = 8;

const FAST_OPEN_PORT: u16 = 9093;

pub fn play(bench: &Bench) -> Result<String> {
    let pair = Pair::new(PairOptions { delay: DELAY })?;
    // Without cookies: 1 client, 4 that sends none; 2 server, 0x200 that asks for none.
    pair.client.set("net/ipv4/tcp_fastopen", "5")?;
    pair.server.set("net/ipv4/tcp_fastopen", "514")?;
    let broker = Broker::start(&pair.server, &ListenOptions::default())?;
    let listen = ListenOptions {
        family: Family::V4,
        port: FAST_OPEN_PORT,
        fast_open: 1024,
        backlog: 1024,
        ..ListenOptions::default()
    };
    let listener = pair.server.enter(|| socket::listen(&listen))?;
    let mut agent = bench.launch.trace("9092-9093", &[])?;
    let resets = std::thread::scope(|scope| {
        let server = scope.spawn(|| close_at_once(&listener));
        let clients: Vec<_> = (0..CLIENTS)
            .flat_map(|_| {
                [
                    scope.spawn(|| fast_open(&pair)),
                    scope.spawn(|| ordinary(&pair)),
                ]
            })
            .collect();
        let mut resets = 0;
        for client in clients {
            resets += client.join().ok().context("a client panicked")??;
        }
        server.join().ok().context("the server panicked")??;
        anyhow::Ok(resets)
    })?;
    // Of a connection that was reset the server has its end, or it has not.
    let others = broker.wait_accepted(OTHERS)?.len();
    ensure!(
        others <= OTHERS + resets,
        "{OTHERS} visits and {resets} more that were reset, but {others} were accepted"
    );
    agent.wait_handshakes(CLOSED + others)?;
    let report = agent.finish()?;
    ensure!(
        report.handshakes.len() == CLOSED + others,
        "{} handshakes made, but {} reported",
        CLOSED + others,
        report.handshakes.len()
    );
    let early = report.handshakes.iter();
    let early = early.filter(|at| at.outcome != "established").count();
    // A slow server sees some of them established.
    ensure!(
        early > CLOSED / 10,
        "only {early} were closed before the ACK"
    );
    Ok(format!(
        "{early} of {CLOSED} closed before the ACK, each reported once, as were {others} others, {resets} \
         more reset by the server"
    ))
}

fn ordinary(pair: &Pair) -> Result<usize> {
    let to = SocketAddr::new(Pair::SERVER_V4, PORT);
    come_and_go_in_a_crowd(&pair.client, to, OTHERS / CLIENTS)
}

fn fast_open(pair: &Pair) -> Result<usize> {
    let to = SocketAddr::new(Pair::SERVER_V4, FAST_OPEN_PORT);
    pair.client.enter(|| {
        for _ in 0..CLOSED / CLIENTS {
            let mut stream = socket::connect_fast_open(to, b"ping")?;
            // Until the server's end of it; a RST is as good.
            let _ = stream.read(&mut [0; 1]);
            socket::reset_on_close(&stream)?;
        }
        Ok(0)
    })
}

fn close_at_once(listener: &TcpListener) -> Result<()> {
    for _ in 0..CLOSED {
        let (mut stream, _) = listener.accept().context("failed to accept")?;
        stream.read_exact(&mut [0; 4]).context("failed to read")?;
    }
    Ok(())
}
