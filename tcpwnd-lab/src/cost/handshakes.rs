//! Passive handshakes, one after the other: a server of the kernel's, and clients behind a TUN device
//! that send the packets of a handshake and nothing else.
//!
//! Constraint: one thread and no waiting. The kernel handles a packet that is written to a TUN device
//! before the call returns, so that what the clock says is what was executed.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::batches::{self, BATCHES, count_programs};
use super::tell;
use super::watcher::Watcher;
use crate::net::Namespace;
use crate::peer::Peer;
use crate::socket::{self, ListenOptions};
use crate::tun::Tun;

/// Where the server listens.
const PORT: u16 = 9092;

/// Handshakes before the first that counts: caches fill, lists of free entries are set up.
const WARM_UP: u16 = 100;

/// Handshakes of a batch.
const BATCH: u16 = 200;

/// How a connection comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// With a request in the SYN queue.
    Normal,
    /// With a SYN cookie.
    Cookie,
}

/// Measures each way, under this name, for each of the watchers.
///
/// # Errors
/// As [`Workload::measure`].
pub fn measure(works: &[(Path, &str)], watchers: &[Watcher]) -> Result<()> {
    for (path, name) in works {
        let workload = Workload::new(*path)?;
        for watcher in watchers {
            workload.measure(*watcher, name)?;
        }
    }
    Ok(())
}

/// A server, and its clients.
pub struct Workload {
    tun: Tun,
    listener: TcpListener,
    _server: Namespace,
}

impl Workload {
    /// Sets both up.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub fn new(path: Path) -> Result<Self> {
        let server = Namespace::new()?;
        if path == Path::Cookie {
            server.set("net/ipv4/tcp_syncookies", "2")?;
        }
        let tun = Tun::open(&server)?;
        let options = ListenOptions {
            backlog: 4_096,
            port: PORT,
            ..ListenOptions::default()
        };
        let listener = server.enter(|| socket::listen(&options))?;
        // What would have to be waited for would be no part of the handshake.
        listener
            .set_nonblocking(true)
            .context("failed to make the listener non-blocking")?;
        Ok(Self {
            tun,
            listener,
            _server: server,
        })
    }

    /// Makes handshakes while `watcher` watches, and tells what each took; then once more with the
    /// kernel's statistics of programs.
    ///
    /// # Errors
    /// When a handshake fails, or the watcher did not see all of them.
    fn measure(&self, watcher: Watcher, name: &str) -> Result<()> {
        let watching = watcher.start()?;
        self.batch(WARM_UP)?;
        let taken = batches::measure(BATCH.into(), || self.batch(BATCH))?;
        let watcher = watcher.name();
        tell(&json!({
            "figure": "work", "watcher": watcher, "work": name,
            "thread": taken.thread, "all": taken.all,
        }));
        count_programs(watcher, name, BATCH.into(), || self.batch(BATCH))?;
        watching.end(usize::from(WARM_UP) + (BATCHES + 1) * usize::from(BATCH))
    }

    /// Makes this many.
    ///
    /// # Errors
    /// When one fails.
    pub fn batch(&self, count: u16) -> Result<()> {
        (1..=count).try_for_each(|number| self.handshake(number))
    }

    /// One connection, closed by a RST as soon as it was accepted.
    fn handshake(&self, number: u16) -> Result<()> {
        let local = SocketAddr::new(Tun::client(false, number), 40_000 + number);
        let mut peer = Peer::new(&self.tun, local, Tun::server(false, PORT));
        peer.connect()?;
        let accepted = self.listener.accept();
        let (accepted, from) = accepted.context("the connection was not there at once")?;
        ensure!(
            socket::canonical(from) == local,
            "{from} was accepted instead of {local}"
        );
        socket::reset_on_close(&accepted)?;
        drop(accepted);
        // The RST, which nobody else would take.
        while self.tun.take(|_| true)?.is_some() {}
        Ok(())
    }
}
