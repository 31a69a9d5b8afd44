//! `run`: watch for good, serve metrics, log findings.
//!
//! Constraint: once everything is attached every capability is given up, so nothing after that
//! may load, attach or ask the kernel for a map.

use std::cell::RefCell;
use std::io::{self, BufWriter, Write};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use tcpwnd_core::findings::{ClosedFlow, Finding, WindowSeen};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::CLEAN;
use super::session::{self, Session, Sink};
use crate::cli::{LogFormat, RunArgs};
use crate::config::{self, Filter};
use crate::host::process::{self, Process};
use crate::host::{clock, privileges};
use crate::kernel;
use crate::output::exposition::Family;
use crate::output::http::{self, Pages};
use crate::output::json::Json;
use crate::output::log::Log;
use crate::output::metrics::{self, View};
use crate::output::ports::PortLabels;
use crate::probes;

/// Runs `run`.
///
/// # Errors
/// When an option is wrong, the address is taken, or it cannot run here.
pub fn run(args: &RunArgs) -> Result<u8> {
    if args.print_config {
        io::stdout().write_all(config::print_run(args)?.as_bytes())?;
        return Ok(CLEAN);
    }
    let filter = Filter::resolve(&args.filter)?;
    let settings = config::settings(&filter, &args.kernel, false)?;
    // Before anything is loaded: it is what most often goes wrong.
    let listener = http::bind(config::listen_addr(&args.listen)?)?;
    let runtime = super::runtime()?;
    LocalSet::new().block_on(&runtime, watch_and_serve(args, &settings, filter, listener))
}

async fn watch_and_serve(
    args: &RunArgs,
    settings: &probes::Settings,
    filter: Filter,
    listener: std::net::TcpListener,
) -> Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let ports = PortLabels::new(&filter.ports);
    let (session, mut ring) = Session::start(settings, filter)?;
    let addr = listener.local_addr()?;
    session::announce(args.ready_file.as_deref())?;
    process::release_memory();
    privileges::drop_capabilities().context("failed to give up capabilities")?;
    eprintln!("tcpwnd: watching; metrics on http://{addr}/metrics");

    let state = Rc::new(State {
        session: RefCell::new(session),
        ports: RefCell::new(ports),
    });
    let (stop, stopped) = watch::channel(false);
    let mut server =
        tokio::task::spawn_local(http::serve(listener, Rc::clone(&state) as _, stopped));
    let mut out = Output::new(args.format);
    let mut settings_due = tokio::time::interval(session::SETTINGS_INTERVAL);
    loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            // It ends by itself only when it fails.
            ended = &mut server => {
                ended.context("the HTTP listener failed")??;
                bail!("the HTTP listener ended");
            }
            _ = settings_due.tick() => state.session.borrow_mut().read_settings(),
            read = session::batch(&mut ring, |record| state.session.borrow_mut().take(record, &mut out)) => {
                read?;
                out.flush()?;
            }
        }
    }
    state.session.borrow_mut().finish(&mut ring, &mut out)?;
    // Only fails when nobody listens for it any more.
    let _ = stop.send(true);
    server.await.context("the HTTP listener failed")??;
    let totals = state.session.borrow().totals();
    eprintln!(
        "tcpwnd: stopped: {} handshakes, {} mismatch, {} scale_lost, {} unverified, {} lost",
        totals.handshakes,
        totals.mismatch,
        totals.scale_lost,
        totals.unverified,
        totals.lost.events()
    );
    Ok(CLEAN)
}

/// What the pages look at. Between two points of waiting nobody else holds it.
struct State {
    session: RefCell<Session>,
    ports: RefCell<PortLabels>,
}

impl Pages for State {
    fn metrics(&self) -> Vec<Family> {
        let session = self.session.borrow();
        let mut ports = self.ports.borrow_mut();
        let listeners = session.listeners();
        let seen = session.engine().books().ports().map(|(port, _)| port);
        for port in listeners.iter().map(|slot| slot.key.port).chain(seen) {
            ports.see(port);
        }
        let since = clock::wall(session.watching_since_ktime_ns());
        metrics::families(&View {
            ports: &ports,
            books: session.engine().books(),
            flows: session.engine().flows(),
            listeners: &listeners,
            counters: &session.counters(),
            probes: &session.status(),
            watching_since: seconds(since),
            kernel: &kernel::release(),
            process: Process::read(),
        })
    }

    fn ready(&self) -> Result<(), String> {
        let status = self.session.borrow().status();
        // Without a mechanism: this kernel has no such hook, and it is not needed here.
        let missing: Vec<&str> = status
            .iter()
            .filter(|status| status.mechanism.is_some() && !status.attached)
            .map(|status| status.probe.name())
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(missing.join(", "))
        }
    }
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1e3
}

/// Where findings go.
enum Output {
    Text(Log<BufWriter<io::Stdout>>),
    Json(Json<BufWriter<io::Stdout>>),
}

impl Output {
    fn new(format: LogFormat) -> Self {
        let out = BufWriter::new(io::stdout());
        match format {
            LogFormat::Text => Self::Text(Log::new(out)),
            LogFormat::Json => Self::Json(Json::new(out, false)),
        }
    }

    fn sink(&mut self) -> &mut dyn Sink {
        match self {
            Self::Text(log) => log,
            Self::Json(json) => json,
        }
    }
}

impl Sink for Output {
    fn handshake(&mut self, finding: &Finding) -> io::Result<()> {
        self.sink().handshake(finding)
    }

    fn closed(&mut self, closed: &ClosedFlow) -> io::Result<()> {
        self.sink().closed(closed)
    }

    fn window(&mut self, window: &WindowSeen) -> io::Result<()> {
        self.sink().window(window)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink().flush()
    }
}
