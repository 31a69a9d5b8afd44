//! What the pages of `run` look at.
//!
//! Constraint: between two points of waiting nobody else holds it, so nothing here waits but
//! [`Pages::settled`], which holds nothing meanwhile.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use jiff::Timestamp;
use tcpwnd_common::{Counter, PortRange};
use tcpwnd_core::Role;
use tcpwnd_core::findings::{ClosedFlow, Finding, WindowSeen};
use tokio::sync::{mpsc, oneshot};

use super::session::{Session, Sink};
use crate::cli::RoleArg;
use crate::config::Filter;
use crate::host::clock;
use crate::host::process::Process;
use crate::kernel;
use crate::output::connections::{self, Connections};
use crate::output::exposition::Family;
use crate::output::gate::{Answer, Evidence};
use crate::output::held_back::{HeldBack, Report, Sort};
use crate::output::http::Pages;
use crate::output::metrics::{self, View};
use crate::output::ports::PortLabels;
use crate::output::question::Question;
use crate::output::recent::Recent;
use crate::probes;
use crate::state::Keeper;
use crate::transport::Records;

/// Counters of what can make an answer of the findings page wrong. What only leaves out evidence
/// ends as `unverified` instead.
const LOSSES: [Counter; 4] = [
    Counter::HandshakesLost,
    Counter::ClosedLost,
    Counter::SocketUnreadable,
    Counter::OpenTableFull,
];

/// Tells whoever waits that everything was taken in, or that it was too much.
pub type Waiting = oneshot::Sender<bool>;

/// What the agent was asked to look at.
pub struct Watched {
    /// Local ports; empty for all.
    pub ports: Vec<PortRange>,
    /// Connections that this host accepts are among it.
    pub accepted: bool,
    /// The peers' ports; empty for all.
    pub remote_ports: Vec<PortRange>,
    /// Connections that this host opens are among it.
    pub opened: bool,
}

impl Watched {
    /// What these options ask for.
    pub fn by(filter: &Filter, role: RoleArg) -> Self {
        Self {
            ports: filter.ports.clone(),
            accepted: role != RoleArg::Client,
            remote_ports: filter.remote_ports.clone(),
            opened: role != RoleArg::Server,
        }
    }

    /// Whether connections of this role are among it.
    pub fn has(&self, role: Role) -> bool {
        match role {
            Role::Server => self.accepted,
            Role::Client => self.opened,
        }
    }
}

/// What the pages look at.
pub struct State {
    /// The programs and the books.
    pub session: RefCell<Session>,
    /// The HTTP connections.
    pub connections: Rc<Connections>,
    ports: RefCell<Option<PortLabels>>,
    remote_ports: RefCell<Option<PortLabels>>,
    watched: Watched,
    recent: RefCell<Recent>,
    held_back: RefCell<HeldBack>,
    /// What is kept for the next agent, where a state file is given.
    pub(super) keeper: RefCell<Option<Keeper>>,
    wait: mpsc::Sender<Waiting>,
}

impl State {
    /// The state, and who waits for records to be read.
    pub fn new(
        session: Session,
        watched: Watched,
        recent: Recent,
        log_limit: u32,
        keeper: Option<Keeper>,
    ) -> (Self, mpsc::Receiver<Waiting>) {
        let (wait, waiting) = mpsc::channel(connections::LIMIT);
        let state = Self {
            session: RefCell::new(session),
            connections: Rc::default(),
            ports: RefCell::new(watched.accepted.then(|| PortLabels::new(&watched.ports))),
            remote_ports: RefCell::new(
                watched
                    .opened
                    .then(|| PortLabels::new(&watched.remote_ports)),
            ),
            watched,
            recent: RefCell::new(recent),
            held_back: RefCell::new(HeldBack::new(log_limit)),
            keeper: RefCell::new(keeper),
            wait,
        };
        (state, waiting)
    }

    /// Takes in one record.
    ///
    /// # Errors
    /// When the sink fails.
    pub fn take(&self, record: &[u8], out: &mut dyn Sink) -> io::Result<()> {
        let mut noting = Noting { state: self, out };
        self.session.borrow_mut().take(record, &mut noting)
    }

    /// Detaches every program and takes in what is still on its way.
    ///
    /// # Errors
    /// When the sink fails.
    pub fn finish(&self, records: &mut Records, out: &mut dyn Sink) -> io::Result<()> {
        let mut noting = Noting { state: self, out };
        self.session.borrow_mut().finish(records, &mut noting)
    }

    /// What of the log was held back in minutes that are over, or all of it.
    pub fn held_back(&self, all: bool) -> Vec<Report> {
        let mut held_back = self.held_back.borrow_mut();
        if all {
            held_back.rest()
        } else {
            held_back.due(clock::monotonic_ns())
        }
    }

    /// Looks how much has been lost, so that it is known when.
    pub fn note_lost(&self) {
        let now_ns = clock::monotonic_ns();
        let session = self.session.borrow();
        let counters = session.counters();
        let in_kernel: u64 = LOSSES.iter().map(|loss| counters.get(*loss)).sum();
        let missed = probes::missed_handshakes(&session.status()).unwrap_or(0);
        let engine = session.engine();
        let here = engine.books().decode_errors() + engine.flows().refused();
        let lost = in_kernel + missed + here;
        self.recent.borrow_mut().note_lost(now_ns, lost);
    }

    /// How it goes, in one line.
    pub fn status(&self) -> String {
        let session = self.session.borrow();
        let totals = session.totals();
        format!(
            "watching; {} handshakes, {} damaged connections open, {} events lost",
            totals.handshakes,
            session.engine().flows().len(),
            totals.lost.events()
        )
    }

    /// Probes that should be attached and are not.
    fn missing(&self) -> Vec<&'static str> {
        let status = self.session.borrow().status();
        // Without a mechanism: this kernel has no such hook, and it is not needed here.
        let missing = status
            .iter()
            .filter(|status| status.mechanism.is_some() && !status.attached);
        missing.map(|status| status.probe.name()).collect()
    }
}

impl Pages for State {
    fn metrics(&self) -> Vec<Family> {
        let session = self.session.borrow();
        let (mut ports, mut remote_ports) =
            (self.ports.borrow_mut(), self.remote_ports.borrow_mut());
        let listeners = session.listeners();
        let books = session.engine().books();
        let flows = session.engine().flows();
        if let Some(ports) = &mut *ports {
            ports.see_local(flows, &listeners, books);
        }
        if let Some(ports) = &mut *remote_ports {
            ports.see_remote(flows, books);
        }
        let since = clock::wall(session.watching_since_ktime_ns());
        metrics::families(&View {
            ports: ports.as_ref(),
            remote_ports: remote_ports.as_ref(),
            books,
            flows,
            listeners: &listeners,
            counters: &session.counters(),
            probes: &session.status(),
            recent: &self.recent.borrow(),
            state: self.keeper.borrow().as_ref().map(Keeper::numbers),
            log_lines_held_back: self.held_back.borrow().total(),
            connections: &self.connections,
            layers: session.layers(),
            watching_since: seconds(since),
            kernel: &kernel::release(),
            backend: session.transport().name(),
            process: Process::read(),
        })
    }

    fn ready(&self) -> Result<(), String> {
        let missing = self.missing();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(missing.join(", "))
        }
    }

    fn settled(&self) -> Pin<Box<dyn Future<Output = bool>>> {
        let wait = self.wait.clone();
        Box::pin(async move {
            let (answered, answer) = oneshot::channel();
            // Nobody answers any more once the programs are detached; then nothing is to come.
            wait.send(answered).await.is_err() || answer.await.unwrap_or(true)
        })
    }

    fn findings(&self, query: &str, settled: bool) -> Result<String, String> {
        let question = Question::parse(query, Timestamp::now())?;
        self.note_lost();
        let session = self.session.borrow();
        let evidence = Evidence {
            now_ns: clock::monotonic_ns(),
            watching_since_ns: session.watching_since_ktime_ns(),
            missing: &self.missing(),
            settled,
            accepted: self.watched.accepted,
            watched: &self.watched.ports,
            open: session.engine().flows(),
            state: self.keeper.borrow().as_ref().map(Keeper::numbers),
            recent: &self.recent.borrow(),
        };
        serde_json::to_string(&Answer::to(&question, &evidence)).map_err(|error| error.to_string())
    }
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1e3
}

/// Notes what goes out, and holds back what is too much for the log.
struct Noting<'a> {
    state: &'a State,
    out: &'a mut dyn Sink,
}

impl Noting<'_> {
    fn admits(&self, sort: Sort) -> bool {
        let mut held_back = self.state.held_back.borrow_mut();
        held_back.admits(clock::monotonic_ns(), sort)
    }
}

impl Sink for Noting<'_> {
    fn handshake(&mut self, finding: &Finding) -> io::Result<()> {
        let flow = &finding.flow.0;
        let sort = match finding.role {
            Role::Server => {
                // The page is about listeners.
                self.state.recent.borrow_mut().handshake(finding)?;
                Sort::handshake(flow.local_port, finding.verdict)
            }
            Role::Client => Sort::handshake(flow.remote_port, finding.verdict).opened(),
        };
        if finding.is_finding() && self.admits(sort) {
            self.out.handshake(finding)?;
        }
        Ok(())
    }

    fn closed(&mut self, closed: &ClosedFlow) -> io::Result<()> {
        let flow = &closed.flow.0;
        let sort = match closed.role {
            Role::Server => Sort::closed(flow.local_port),
            Role::Client => Sort::closed(flow.remote_port).opened(),
        };
        if self.admits(sort) {
            self.out.closed(closed)?;
        }
        Ok(())
    }

    fn window(&mut self, window: &WindowSeen) -> io::Result<()> {
        self.out.window(window)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
