//! `trace`: watch for a while, print what is damaged, say what it comes to.

use std::io::{self, BufWriter, IsTerminal, StdoutLock};
use std::time::{Duration, Instant};

use anyhow::Result;
use tcpwnd_core::books::{Books, Gate};
use tcpwnd_core::findings::{ClosedFlow, Finding, WindowSeen};
use tokio::signal::unix::{SignalKind, signal};

use super::session::{self, Session, Sink};
use super::{CLEAN, FINDINGS, INCONCLUSIVE};
use crate::cli::{FailOn, RoleArg, TraceArgs, TraceFormat};
use crate::config::{self, Filter, Networks};
use crate::host::netns;
use crate::host::settings::Settings;
use crate::output::confirmation::Watched;
use crate::output::json::Json;
use crate::output::reconnect;
use crate::output::remedy::Hints;
use crate::output::summary::{self, Summary};
use crate::output::table::{Style, Table};
use crate::probes;

/// How long nothing happens before it is looked whether the window probe is still wanted.
const TICK: Duration = Duration::from_secs(1);

/// Runs `trace`.
///
/// # Errors
/// When an option is wrong, or it cannot run here.
pub fn run(args: &TraceArgs, verbose: u8) -> Result<u8> {
    let filter = Filter::resolve(&args.filter)?;
    let settings = config::settings(&filter, args.role, &args.kernel, args.confirm)?;
    let ignored = config::ignored_peers(&args.ignore)?;
    super::runtime()?.block_on(trace(args, verbose, &settings, filter, ignored))
}

async fn trace(
    args: &TraceArgs,
    verbose: u8,
    settings: &probes::Settings,
    filter: Filter,
    ignored: Networks,
) -> Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (mut session, mut records) = Session::start(settings, filter, ignored)?;
    session.tell_startup(verbose);
    let mut out = Output::new(args)?;
    let begun = Instant::now();
    session::announce(args.ready_file.as_deref())?;
    if io::stderr().is_terminal() {
        eprintln!("watching handshakes; Ctrl-C ends it");
    }
    let limit = args.duration.map_or(Duration::MAX, Into::into);
    let end = tokio::time::sleep(limit);
    tokio::pin!(end);
    let mut settings_due = tokio::time::interval(session::SETTINGS_INTERVAL);
    loop {
        tokio::select! {
            biased;
            () = &mut end => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = settings_due.tick() => session.read_settings(),
            read = session::batch(&mut records, |record| session.take(record, &mut out)) => {
                read?;
                session.adjust_window_probe();
                out.flush()?;
            }
            () = tokio::time::sleep(TICK), if session.probes_windows() => session.adjust_window_probe(),
        }
    }
    session.finish(&mut records, &mut out)?;
    out.end(args, &session, begun.elapsed())
}

/// Where the observations go, and what is gathered from them for the summary.
struct Output {
    format: Format,
    hints: Hints,
    watched: Watched,
}

type Stdout = BufWriter<StdoutLock<'static>>;

enum Format {
    Table(Table<Stdout>),
    Json(Json<Stdout>),
}

impl Output {
    fn new(args: &TraceArgs) -> io::Result<Self> {
        let out = BufWriter::new(io::stdout().lock());
        let format = if args.json || args.format == TraceFormat::Json {
            Format::Json(Json::new(out, args.all))
        } else {
            let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let colour = io::stdout().is_terminal() && !no_color;
            Format::Table(Table::new(
                out,
                Style {
                    wide: args.wide,
                    colour,
                    roles: args.role.role != RoleArg::Server,
                },
                args.all,
            )?)
        };
        Ok(Self {
            format,
            hints: Hints::default(),
            watched: Watched::default(),
        })
    }

    fn sink(&mut self) -> &mut dyn Sink {
        match &mut self.format {
            Format::Table(table) => table,
            Format::Json(json) => json,
        }
    }

    /// Prints the summary and gives back the exit code.
    fn end(&mut self, args: &TraceArgs, session: &Session, took: Duration) -> Result<u8> {
        let (books, listeners) = (session.engine().books(), session.listeners());
        let mut summary = Summary::new(
            session.totals(),
            &listeners,
            session.directory(),
            session.status(),
            &session.counters(),
        );
        let reconnect = reconnect::groups(session.engine().flows(), netns::entering);
        summary.advise(&self.hints, &Settings::read(), reconnect);
        summary.confirmation = self.watched.counts();
        let doubts = summary.doubts(args.min_handshakes);
        summary.exit_code = exit_code(books, gate(&args.fail_on), !doubts.is_empty());
        match &mut self.format {
            Format::Table(table) => table.text(&summary.text(books, took, &doubts))?,
            Format::Json(json) => {
                json.now(summary::KIND, &summary)?;
                json.flush()?;
            }
        }
        Ok(summary.exit_code)
    }
}

impl Sink for Output {
    fn handshake(&mut self, finding: &Finding) -> io::Result<()> {
        self.hints.add(finding);
        self.watched.handshake(finding);
        self.sink().handshake(finding)
    }

    fn closed(&mut self, closed: &ClosedFlow) -> io::Result<()> {
        self.watched.closed(closed);
        self.sink().closed(closed)
    }

    fn window(&mut self, window: &WindowSeen) -> io::Result<()> {
        self.watched.window(window);
        self.sink().window(window)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink().flush()
    }
}

/// What --fail-on asks for.
fn gate(fail_on: &[FailOn]) -> Gate {
    let mut gate = Gate::default();
    for verdict in fail_on {
        match verdict {
            FailOn::Mismatch => gate.mismatch = true,
            FailOn::ScaleLost => gate.scale_lost = true,
            FailOn::Unverified => gate.unverified = true,
            FailOn::Any => gate = Gate::ANY,
        }
    }
    gate
}

/// Findings win over doubts: a damaged connection that was seen is damaged whatever was missed.
fn exit_code(books: &Books, gate: Gate, doubtful: bool) -> u8 {
    match (books.trips(gate), doubtful) {
        (true, _) => FINDINGS,
        (false, true) => INCONCLUSIVE,
        (false, false) => CLEAN,
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
