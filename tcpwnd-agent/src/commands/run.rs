//! `run`: watch for good, serve metrics, log findings.
//!
//! Constraint: once everything is attached it is confined, so nothing after that may load, attach,
//! ask the kernel for a map, make a socket, or write a file other than the state file. What it calls
//! then is in `confine/calls.rs`, what it reads in `confine/files.rs`.

use std::io::{self, BufWriter, Write};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use tcpwnd_core::findings::{ClosedFlow, Finding, WindowSeen};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::CLEAN;
use super::keep;
use super::served::{State, Watched};
use super::session::{self, Session, Sink};
use crate::cli::{LogFormat, RunArgs};
use crate::config::{self, Filter, Networks};
use crate::confine::{self, Extent, Needs};
use crate::host::process;
use crate::host::service_manager::ServiceManager;
use crate::output::held_back::Report;
use crate::output::http;
use crate::output::json::Json;
use crate::output::log::Log;
use crate::output::recent::Recent;
use crate::probes;
use crate::state::Keeper;

/// Runs `run`.
///
/// # Errors
/// When an option is wrong, the address is taken, or it cannot run here.
pub fn run(args: &RunArgs, verbose: u8) -> Result<u8> {
    if args.print_config {
        io::stdout().write_all(config::print_run(args)?.as_bytes())?;
        return Ok(CLEAN);
    }
    let filter = Filter::resolve(&args.filter)?;
    let ignored = config::ignored_peers(&args.ignore)?;
    let settings = config::settings(&filter, args.role, &args.kernel, false)?;
    let recent = Recent::new(config::recent_findings(args)?);
    let keeper = args.state_file.as_deref().map(Keeper::open).transpose()?;
    // Before anything is loaded: it is what most often goes wrong.
    let listener = http::bind(config::listen_addr(&args.listen)?)?;
    let runtime = super::runtime()?;
    LocalSet::new().block_on(
        &runtime,
        watch_and_serve(
            args,
            verbose,
            &settings,
            (filter, ignored),
            (recent, keeper),
            listener,
        ),
    )
}

async fn watch_and_serve(
    args: &RunArgs,
    verbose: u8,
    settings: &probes::Settings,
    (filter, ignored): (Filter, Networks),
    (recent, mut keeper): (Recent, Option<Keeper>),
    listener: std::net::TcpListener,
) -> Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let watched = Watched::by(&filter, args.role.role);
    let wanted = filter.clone();
    let (mut session, mut records) = Session::start(settings, filter, ignored)?;
    session.tell_startup(verbose);
    let mut manager = ServiceManager::new();
    if let Some(keeper) = &mut keeper {
        keep::take_over(keeper, &mut session, &wanted, &watched);
    }
    let addr = listener.local_addr()?;
    session::announce(args.ready_file.as_deref())?;
    process::release_memory();
    give_up(args, &mut session, keeper.as_mut())?;
    let status = format!("watching; metrics on http://{addr}/metrics");
    eprintln!("tcpwnd: {status}");

    let (state, mut waiting) = State::new(session, watched, recent, args.log_limit, keeper);
    let state = Rc::new(state);
    let (stop, stopped) = watch::channel(false);
    let connections = Rc::clone(&state.connections);
    let pages = Rc::clone(&state) as _;
    let mut server = tokio::task::spawn_local(http::serve(listener, pages, connections, stopped));
    let mut out = Output::new(args.format);
    manager.ready(status);
    let mut settings_due = tokio::time::interval(session::SETTINGS_INTERVAL);
    let mut keeping_due = keep::interval();
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
            () = manager.ping_due() => manager.ping(),
            _ = settings_due.tick() => {
                state.session.borrow_mut().read_settings();
                state.note_lost();
                manager.status(state.status());
                out.held_back(&state.held_back(false))?;
            }
            _ = keeping_due.tick(), if state.keeps() => {
                state.keep(&mut records, &mut out)?;
                out.flush()?;
            }
            Some(answered) = waiting.recv() => {
                let settled = session::settle(&mut records, |record| state.take(record, &mut out))?;
                out.flush()?;
                // It fails for a client that went away meanwhile.
                let _ = answered.send(settled);
            }
            read = session::batch(&mut records, |record| state.take(record, &mut out)) => {
                read?;
                out.flush()?;
            }
        }
    }
    manager.stopping();
    state.end(&mut records, &mut out)?;
    drop(waiting);
    out.held_back(&state.held_back(true))?;
    // Only fails when nobody listens for it any more.
    let _ = stop.send(true);
    server.await.context("the HTTP listener failed")??;
    let totals = state.session.borrow().totals();
    eprintln!(
        "tcpwnd: stopped: {} handshakes, {} mismatch, {} scale_lost, {} ignored, {} unverified, {} \
         lost",
        totals.handshakes,
        totals.mismatch,
        totals.scale_lost,
        totals.ignored,
        totals.unverified,
        totals.lost.events()
    );
    Ok(CLEAN)
}

/// Gives up what is needed no longer, and says what holds from here on.
fn give_up(args: &RunArgs, session: &mut Session, keeper: Option<&mut Keeper>) -> Result<()> {
    if session.needs_capabilities() {
        eprintln!("tcpwnd: not confined: reading this kernel's counters takes capabilities");
        return Ok(());
    }
    let extent = if args.no_sandbox {
        Extent::Capabilities
    } else {
        Extent::Full
    };
    let writes = keeper.as_ref().map(|keeper| keeper.folder().to_owned());
    let begun = confine::begin(extent, &Needs { writes })?;
    if begun.forgoes_files()
        && let Some(keeper) = keeper
    {
        keeper.stop_writing();
    }
    let confinement = begun.finish()?;
    eprintln!("tcpwnd: confined: {confinement}");
    for gap in confinement.gaps() {
        eprintln!("tcpwnd: {gap}");
    }
    session.confined_by(&confinement);
    Ok(())
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

    fn held_back(&mut self, reports: &[Report]) -> io::Result<()> {
        for report in reports {
            match self {
                Self::Text(log) => log.held_back(report)?,
                Self::Json(json) => json.held_back(report)?,
            }
        }
        self.flush()
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
