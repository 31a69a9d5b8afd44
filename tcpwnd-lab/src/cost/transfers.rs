//! Data over connections that are sound, over the loopback device: with nothing to watch, with one other
//! connection under watch, and half-closed.
//!
//! Constraint: one thread that sends and receives, so that what the clock says is what was executed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::batches::{BATCHES, count_programs, measure};
use super::tell;
use super::watcher::{Watcher, start_trace};
use crate::ends;
use crate::hooks::Hooks;
use crate::net::Namespace;
use crate::scenarios::{Stage, unlocked};
use crate::socket::{self, ListenOptions};
use crate::wait::{self, PATIENCE};

/// Where the server listens.
const PORT: u16 = 9092;

/// What is sent at a time, in bytes: it fits into any kernel's empty receive buffer.
const PIECE: usize = 16 << 10;

/// Pieces of a batch, and its size in MB of 10^6 bytes.
const PIECES: usize = 999;
const MEGABYTES: f64 = (PIECES * PIECE) as f64 / 1e6;

/// Batches of many connections before the first that counts.
const WARM_UP: usize = 10;

/// Segments of a batch to a half-closed connection, and the bytes in each.
const SEGMENTS: usize = 1_000;
const SIZE: usize = 100;

/// What the work is called in figures.
const ONE: &str = "transfer";
const MANY: &str = "transfer of 999";
const HALF_CLOSED: &str = "half-closed";

/// Connections, both ends of them.
struct Ends {
    pairs: Vec<(TcpStream, TcpStream)>,
    _listener: TcpListener,
    _at: Namespace,
}

impl Ends {
    /// Opens this many in a namespace of their own.
    fn open(count: usize) -> Result<Self> {
        let at = Namespace::new()?;
        let options = ListenOptions {
            port: PORT,
            ..unlocked()
        };
        let (listener, pairs) = at.enter(|| {
            let listener = socket::listen(&options)?;
            let pairs = (0..count).map(|_| open(&listener)).collect::<Result<_>>()?;
            Ok((listener, pairs))
        })?;
        Ok(Self {
            pairs,
            _listener: listener,
            _at: at,
        })
    }

    /// Sends the pieces, over one connection after the other.
    fn send(&mut self) -> Result<()> {
        let mut piece = vec![1; PIECE];
        for number in 0..PIECES {
            let count = self.pairs.len();
            let (client, server) = &mut self.pairs[number % count];
            client.write_all(&piece).context("failed to send")?;
            server.read_exact(&mut piece).context("failed to receive")?;
        }
        Ok(())
    }
}

fn open(listener: &TcpListener) -> Result<(TcpStream, TcpStream)> {
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT);
    let client = TcpStream::connect(to).context("failed to connect")?;
    ends::accept(listener, client)
}

/// Data with nothing to watch, over another connection each time: how much those differ is what a
/// difference between watchers has to exceed.
///
/// # Errors
/// When it does not arrive, or the watcher did not see the connections.
pub fn nothing_to_watch(watchers: &[Watcher]) -> Result<()> {
    for watcher in watchers {
        let watching = watcher.start()?;
        let (mut thread, mut all) = (Vec::new(), Vec::new());
        for _ in 0..BATCHES {
            let mut ends = Ends::open(1)?;
            // Windows and buffers have grown to their size by then.
            ends.send()?;
            let taken = measure(MEGABYTES, || ends.send())?;
            thread.push(median(taken.thread));
            all.push(median(taken.all));
        }
        tell(&json!({
            "figure": "work", "watcher": watcher.name(), "work": ONE, "thread": thread, "all": all,
        }));
        // Which programs run: none of the agent's.
        let mut ends = Ends::open(1)?;
        count_programs(watcher.name(), ONE, MEGABYTES, || ends.send())?;
        watching.end(BATCHES + 1)?;
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Data over 999 connections while another one is under watch, and while none is.
///
/// # Errors
/// When it does not arrive, or nothing is watched.
pub fn one_watched() -> Result<()> {
    let mut ends = Ends::open(PIECES)?;
    transfer(&mut ends, "nobody")?;
    let agent = start_trace()?;
    transfer(&mut ends, "trace")?;
    let stage = Stage::with_cookies()?;
    let damaged = stage.damaged(1..=1)?;
    wait::until_true(PATIENCE, "the window probe", || {
        Ok(Hooks::look()?.attached_to().contains("__tcp_select_window"))
    })?;
    transfer(&mut ends, "trace, one watched")?;
    count_programs("trace, one watched", MANY, MEGABYTES, || ends.send())?;
    ensure!(
        Hooks::look()?.attached_to().contains("__tcp_select_window"),
        "the window probe went before the transfer was over"
    );
    drop(damaged);
    agent.finish_with(0).map(drop)
}

/// For each MB. What was idle while a watcher started first acknowledges more often than it will.
fn transfer(ends: &mut Ends, watcher: &str) -> Result<()> {
    (0..WARM_UP).try_for_each(|_| ends.send())?;
    let taken = measure(MEGABYTES, || ends.send())?;
    tell(&json!({
        "figure": "work", "watcher": watcher, "work": MANY,
        "thread": taken.thread, "all": taken.all,
    }));
    Ok(())
}

/// Segments to an end that has said its last word: `tcp_rcv_state_process` sees each, and each ACK.
///
/// # Errors
/// As [`nothing_to_watch`].
pub fn half_closed(watchers: &[Watcher]) -> Result<()> {
    for watcher in watchers {
        let watching = watcher.start()?;
        let mut ends = Ends::open(1)?;
        let (client, server) = &mut ends.pairs[0];
        ends::half_close(client, server)?;
        let mut talk = || {
            let mut bytes = [1; SIZE];
            for _ in 0..SEGMENTS {
                server.write_all(&bytes).context("failed to send")?;
                client.read_exact(&mut bytes).context("failed to receive")?;
            }
            Ok(())
        };
        talk()?;
        let name = watcher.name();
        let taken = measure(SEGMENTS as f64, &mut talk)?;
        tell(&json!({
            "figure": "work", "watcher": name, "work": HALF_CLOSED,
            "thread": taken.thread, "all": taken.all,
        }));
        count_programs(name, HALF_CLOSED, SEGMENTS as f64, talk)?;
        watching.end(1)?;
    }
    Ok(())
}
