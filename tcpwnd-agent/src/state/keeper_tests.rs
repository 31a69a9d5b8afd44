//! One agent after the other, with connections of this process and this kernel's list of them.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use tcpwnd_common::HandshakeRecord;
use tcpwnd_core::{Engine, Flow};
use tempfile::TempDir;

use super::{Keeper, LookedUp, ROUNDS, SAVE_INTERVAL_NS};
use crate::host::netns;
use crate::host::sock_diag::Lookup;
use crate::testing;

/// Connections of this process, as a former agent has found them, and a place for its file.
struct Host {
    folder: TempDir,
    here: u32,
    lookup: Lookup,
    listener: TcpListener,
    clients: Vec<TcpStream>,
    accepted: Vec<Option<TcpStream>>,
}

/// An agent.
struct Agent {
    keeper: Keeper,
    engine: Engine,
    said: Vec<String>,
}

impl Host {
    /// `None` where the kernel has no sock_diag for TCP.
    fn new(connections: usize) -> Option<Self> {
        let here = netns::own().unwrap();
        let lookup = Lookup::open(here).ok()?;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut host = Self {
            folder: tempfile::tempdir().unwrap(),
            here,
            lookup,
            listener,
            clients: Vec::new(),
            accepted: Vec::new(),
        };
        for _ in 0..connections {
            host.clients.push(TcpStream::connect(address).unwrap());
            host.accepted.push(Some(host.listener.accept().unwrap().0));
        }
        Some(host)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state.json")
    }

    fn flow(&self, at: usize) -> Flow {
        let local = self.listener.local_addr().unwrap();
        let remote = self.clients[at].local_addr().unwrap();
        Flow::between(self.here, 0, local, remote)
    }

    /// The record of a connection that was told another scale than its socket has.
    fn record(&mut self, at: usize) -> HandshakeRecord {
        let flow = self.flow(at);
        let found = self.lookup.connection(flow, None).unwrap().unwrap();
        let used = found.info.used().unwrap();
        let mut record = testing::handshake(1, 1, used - 1, used);
        record.flow = flow.0;
        record.header.ktime_ns += at as u64;
        record
    }

    /// The accepting end closes last, and is gone at once.
    fn close(&mut self, at: usize) {
        let _ = self.clients[at].shutdown(std::net::Shutdown::Both);
        self.accepted[at] = None;
    }

    /// An agent that has found all of them.
    fn former(&mut self) -> Agent {
        let mut agent = Agent::start(&self.path());
        for at in 0..self.clients.len() {
            let record = self.record(at);
            testing::ingest(&mut agent.engine, &record);
        }
        agent
    }
}

impl Agent {
    fn start(path: &Path) -> Self {
        Self::wanting(path, |_| true)
    }

    fn wanting(path: &Path, wanted: impl Fn(&Flow) -> bool) -> Self {
        let mut keeper = Keeper::open(path).unwrap();
        let mut engine = testing::engine();
        let said = keeper.take_over(&mut engine, |flow, _| wanted(flow));
        Self {
            keeper,
            engine,
            said,
        }
    }

    fn look_up(&mut self, all: bool) -> LookedUp {
        self.keeper.look_up(self.engine.flows(), all)
    }

    fn stop(&mut self) {
        let looked_up = self.look_up(true);
        Keeper::identify(&mut self.engine, looked_up);
        assert_eq!(self.keeper.save(self.engine.flows(), 0, true), None);
    }

    fn open(&self) -> usize {
        self.engine.flows().len()
    }

    fn check_all(&mut self) {
        for _ in 0..ROUNDS {
            self.keeper.check(&mut self.engine);
        }
    }

    fn complete(&self) -> bool {
        self.keeper.numbers().complete
    }

    fn unchecked(&self) -> u64 {
        self.keeper.numbers().unchecked
    }
}

#[test]
fn the_next_agent_counts_those_that_are_still_open_and_no_other() {
    let Some(mut host) = Host::new(4) else { return };
    let mut former = host.former();
    former.stop();
    assert_eq!(former.keeper.numbers().saved, 4);
    host.close(1);

    let mut next = Agent::start(&host.path());
    assert_eq!(
        (next.open(), next.unchecked(), next.complete()),
        (3, 0, true)
    );
    assert_eq!(
        next.said,
        [
            "of the damaged connections that a former agent found 3 are open, 1 have ended, and 0 \
             cannot be looked for"
        ]
    );
    let ports = next.engine.flows().ports();
    let port = host.listener.local_addr().unwrap().port();
    assert_eq!(ports[&port].mismatched, 3);
    next.check_all();
    assert_eq!(next.open(), 3);
    host.close(0);
    host.close(3);
    next.check_all();
    assert_eq!(next.open(), 1);
    assert!(
        next.engine
            .flows()
            .iter()
            .all(|(key, _)| *key == host.flow(2).0)
    );

    // And the one after that.
    next.stop();
    let mut last = Agent::start(&host.path());
    assert_eq!((last.open(), last.complete()), (1, true));
    host.close(2);
    last.check_all();
    assert_eq!(last.open(), 0);
}

#[test]
fn a_socket_with_another_number_is_another_connection() {
    let Some(mut host) = Host::new(1) else { return };
    host.former().stop();
    let text = std::fs::read_to_string(host.path()).unwrap();
    let begin = text.find("\"cookie\":").unwrap() + 9;
    std::fs::write(
        host.path(),
        format!("{}1{}", &text[..begin], &text[begin..]),
    )
    .unwrap();
    let next = Agent::start(&host.path());
    assert_eq!((next.open(), next.complete()), (0, true), "{:?}", next.said);
}

#[test]
fn what_happens_while_sockets_are_looked_up_is_heeded() {
    let Some(mut host) = Host::new(2) else { return };
    let mut agent = host.former();
    let looked_up = agent.look_up(true);
    // The first one closes, and its addresses are used again, before this is known.
    let first = host.record(0);
    testing::ingest(&mut agent.engine, &testing::closed(&first, 1000));
    let mut again = first;
    again.header.ktime_ns += 2000;
    testing::ingest(&mut agent.engine, &again);
    Keeper::identify(&mut agent.engine, looked_up);
    agent.keeper.save(agent.engine.flows(), 0, false);
    let numbers = agent.keeper.numbers();
    assert_eq!((numbers.saved, numbers.left_out), (1, 1));
}

#[test]
fn what_another_namespace_has_is_counted_and_not_claimed() {
    let Some(mut host) = Host::new(1) else { return };
    let mut former = host.former();
    // 10.9.0.1 is nowhere, and namespace 0 neither.
    testing::ingest(&mut former.engine, &testing::handshake(9092, 1, 1, 7));
    former.stop();
    let numbers = former.keeper.numbers();
    assert_eq!((numbers.saved, numbers.left_out), (1, 1));
    let next = Agent::start(&host.path());
    assert_eq!(
        (next.open(), next.unchecked(), next.complete()),
        (1, 1, false)
    );

    // As when the agent itself has moved to another one.
    let text = std::fs::read_to_string(host.path()).unwrap();
    let moved = text.replace(&format!("\"netns\":{}", host.here), "\"netns\":1");
    assert_ne!(moved, text);
    std::fs::write(host.path(), moved).unwrap();
    let next = Agent::start(&host.path());
    assert_eq!(
        (next.open(), next.unchecked(), next.complete()),
        (0, 2, false)
    );
}

#[test]
fn after_a_kill_or_a_reboot_it_says_what_it_knows() {
    let Some(mut host) = Host::new(1) else { return };
    let mut former = host.former();
    let looked_up = former.look_up(false);
    Keeper::identify(&mut former.engine, looked_up);
    assert_eq!(former.keeper.save(former.engine.flows(), 0, false), None);
    let next = Agent::start(&host.path());
    assert_eq!((next.open(), next.complete()), (1, false));
    assert!(
        next.said[1].starts_with("the former agent was killed"),
        "{:?}",
        next.said
    );

    let text = std::fs::read_to_string(host.path()).unwrap();
    let rebooted = text.replace("\"boot_id\":\"", "\"boot_id\":\"0");
    std::fs::write(host.path(), rebooted).unwrap();
    let next = Agent::start(&host.path());
    assert_eq!(
        (next.open(), next.complete()),
        (0, true),
        "all ended with the boot"
    );
    assert!(next.said.is_empty(), "{:?}", next.said);
}

#[test]
fn without_a_file_nothing_is_claimed() {
    let Some(host) = Host::new(0) else { return };
    let mut agent = Agent::start(&host.path());
    assert_eq!((agent.open(), agent.complete()), (0, false));
    assert!(agent.said.is_empty());
    agent.stop();
    assert!(Agent::start(&host.path()).complete());
}

#[test]
fn what_the_options_leave_out_now_is_left_out() {
    let Some(mut host) = Host::new(1) else { return };
    host.former().stop();
    let next = Agent::wanting(&host.path(), |_| false);
    assert_eq!(
        (next.open(), next.unchecked(), next.complete()),
        (0, 0, true)
    );
}

#[test]
fn it_is_written_when_something_has_changed_and_not_too_often() {
    let Some(mut host) = Host::new(1) else { return };
    let mut agent = Agent::start(&host.path());
    let save = |agent: &mut Agent, now_ns| {
        let _ = std::fs::remove_file(host.path());
        assert_eq!(agent.keeper.save(agent.engine.flows(), now_ns, false), None);
        host.path().exists()
    };
    assert!(save(&mut agent, 0), "the first time, to see that it can be");
    assert!(
        !save(&mut agent, 2 * SAVE_INTERVAL_NS),
        "nothing has changed"
    );
    let record = testing::handshake(9092, 1, 1, 7);
    testing::ingest(&mut agent.engine, &record);
    assert!(!save(&mut agent, SAVE_INTERVAL_NS - 1));
    assert!(save(&mut agent, SAVE_INTERVAL_NS));
    testing::ingest(&mut agent.engine, &testing::closed(&record, 1));
    assert!(!save(&mut agent, 2 * SAVE_INTERVAL_NS - 1));
    assert!(save(&mut agent, 2 * SAVE_INTERVAL_NS));
    host.close(0);
}

#[test]
fn trouble_costs_a_line() {
    let Some(host) = Host::new(0) else { return };
    std::fs::write(host.path(), "{\"kind\":\"tcpwnd-state\",\"version\":1,").unwrap();
    let mut agent = Agent::start(&host.path());
    assert_eq!(agent.said.len(), 1, "{:?}", agent.said);
    assert!(agent.said[0].contains("state.json is of no use: it is damaged"));
    assert!(agent.said[0].ends_with("state.json.unusable"));
    assert_eq!(
        (agent.complete(), agent.keeper.numbers().errors),
        (false, 1)
    );
    agent.stop();
    assert!(host.path().exists());

    std::fs::write(host.path(), "mine\n").unwrap();
    let mut agent = Agent::start(&host.path());
    assert!(agent.said[0].contains("is left alone, and no state is kept"));
    testing::ingest(&mut agent.engine, &testing::handshake(9092, 1, 1, 7));
    agent.stop();
    assert_eq!(std::fs::read_to_string(host.path()).unwrap(), "mine\n");
    assert_eq!(agent.keeper.numbers().left_out, 1);

    std::fs::remove_file(host.path()).unwrap();
    let mut agent = Agent::start(&host.path());
    std::fs::create_dir_all(host.folder.path().join(".state.json.new/x")).unwrap();
    let line = agent.keeper.save(agent.engine.flows(), 0, false).unwrap();
    assert!(line.contains("failed to write "), "{line}");
    let again = agent
        .keeper
        .save(agent.engine.flows(), SAVE_INTERVAL_NS, false);
    assert_eq!(again, None, "once is enough");
    assert_eq!(agent.keeper.numbers().errors, 2);
}
