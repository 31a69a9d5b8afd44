//! Agents, one after the other, with connections of this process and this kernel's list of them.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use tcpwnd_common::HandshakeRecord;
use tcpwnd_core::{Engine, Flow};
use tempfile::TempDir;

use super::{Keeper, LookedUp, Numbers, ROUNDS, SAVE_INTERVAL_NS};
use crate::host::sock_diag::Lookup;
use crate::host::{clock, netns};
use crate::state::sockets::Sockets;
use crate::testing;

/// Connections of this process, as a former agent has found them, and a place for its file.
pub struct Host {
    pub folder: TempDir,
    pub here: u32,
    pub lookup: Lookup,
    pub listener: TcpListener,
    pub clients: Vec<TcpStream>,
    pub accepted: Vec<Option<TcpStream>>,
    begin_ns: u64,
}

/// An agent.
pub struct Agent {
    pub keeper: Keeper,
    pub engine: Engine,
    pub said: Vec<String>,
}

impl Host {
    /// `None` where the kernel has no sock_diag for TCP.
    pub fn new(connections: usize) -> Option<Self> {
        let here = netns::own().unwrap();
        let lookup = match Lookup::open(here) {
            Ok(lookup) => lookup,
            Err(error) => {
                assert!(Lookup::is_unsupported(&error), "{error}");
                return None;
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut host = Self {
            folder: tempfile::tempdir().unwrap(),
            here,
            lookup,
            listener,
            clients: Vec::new(),
            accepted: Vec::new(),
            begin_ns: clock::monotonic_ns(),
        };
        for _ in 0..connections {
            host.clients.push(TcpStream::connect(address).unwrap());
            host.accepted.push(Some(host.listener.accept().unwrap().0));
        }
        Some(host)
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("state.json")
    }

    pub fn flow(&self, at: usize) -> Flow {
        let local = self.listener.local_addr().unwrap();
        let remote = self.clients[at].local_addr().unwrap();
        Flow::between(self.here, 0, local, remote)
    }

    /// The record of a connection that was told another scale than its socket has.
    pub fn record(&mut self, at: usize) -> HandshakeRecord {
        let flow = self.flow(at);
        let found = self.lookup.connection(flow, None).unwrap().unwrap();
        let used = found.info.used().unwrap();
        let mut record = testing::handshake(1, 1, used - 1, used);
        record.flow = flow.0;
        record.header.ktime_ns = self.begin_ns + at as u64;
        record
    }

    /// The accepting end closes last, and is gone at once.
    pub fn close(&mut self, at: usize) {
        let _ = self.clients[at].shutdown(std::net::Shutdown::Both);
        self.accepted[at] = None;
    }

    /// An agent that has found all of them.
    pub fn former(&mut self) -> Agent {
        let mut agent = Agent::start(&self.path());
        for at in 0..self.clients.len() {
            let record = self.record(at);
            testing::ingest(&mut agent.engine, &record);
        }
        agent
    }
}

impl Agent {
    pub fn start(path: &Path) -> Self {
        Self::wanting(path, |_| true)
    }

    pub fn wanting(path: &Path, wanted: impl Fn(&Flow) -> bool) -> Self {
        Self::with(Keeper::open(path).unwrap(), clock::monotonic_ns(), wanted)
    }

    /// Where sockets cannot be looked up.
    pub fn blind(path: &Path) -> Self {
        let mut keeper = Keeper::open(path).unwrap();
        keeper.sockets = Sockets::default();
        Self::with(keeper, clock::monotonic_ns(), |_| true)
    }

    pub fn with(mut keeper: Keeper, since_ns: u64, wanted: impl Fn(&Flow) -> bool) -> Self {
        let mut engine = testing::engine();
        keeper.take_over(&mut engine, since_ns, |flow, _| wanted(flow));
        Self {
            said: keeper.lines(),
            keeper,
            engine,
        }
    }

    pub fn look_up(&mut self, all: bool) -> LookedUp {
        self.keeper.look_up(self.engine.flows(), all)
    }

    /// Writes the file as if so much time had passed, and returns what was said.
    pub fn save(&mut self, after_ns: u64, stopped: bool) -> Vec<String> {
        let now_ns = clock::monotonic_ns() + after_ns;
        self.keeper.save(self.engine.flows(), now_ns, stopped);
        self.keeper.lines()
    }

    /// Ends it properly.
    pub fn stop(mut self) -> Numbers {
        let looked_up = self.look_up(true);
        Keeper::identify(&mut self.engine, looked_up);
        assert_eq!(self.save(0, true), [""; 0]);
        self.keeper.numbers()
    }

    /// Ends it otherwise, after it has written down what it found.
    pub fn kill(mut self) {
        let looked_up = self.look_up(false);
        Keeper::identify(&mut self.engine, looked_up);
        assert_eq!(self.save(SAVE_INTERVAL_NS, false), [""; 0]);
    }

    /// What it counts, what it could not check, and whether it says that this is all.
    pub fn state(&self) -> (usize, u64, bool) {
        (self.open(), self.unchecked(), self.complete())
    }

    pub fn open(&self) -> usize {
        self.engine.flows().len()
    }

    pub fn check_all(&mut self) {
        for _ in 0..ROUNDS {
            self.keeper.check(&mut self.engine);
        }
    }

    pub fn complete(&self) -> bool {
        self.keeper.numbers().complete
    }

    pub fn unchecked(&self) -> u64 {
        self.keeper.numbers().unchecked
    }
}
