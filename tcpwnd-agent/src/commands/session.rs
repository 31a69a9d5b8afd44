//! What `trace` and `run` have in common: programs attached, records coming in, books kept.
//!
//! Constraint: one thread. Everything that touches the state does so between two points of
//! waiting, so it needs no lock and each reader finds the books in order.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tcpwnd_common::{Counter, ListenerSlot};
use tcpwnd_core::books::{KernelTotals, Totals};
use tcpwnd_core::engine::{self, Engine, Observation};
use tcpwnd_core::findings::{ClosedFlow, Finding, WindowSeen};

use super::watch::Watches;
use crate::config::{Filter, Networks};
use crate::confine::Confinement;
use crate::host::who::Directory;
use crate::host::{clock, rmem_max};
use crate::probes::{self, Attached, CountersSnapshot, ProbeStatus};
use crate::transport::{Records, Transport};

/// Open damaged connections that are remembered, as many as the programs' table holds.
pub const FLOW_LIMIT: usize = 32_768;

/// How often settings are read. Two changes that are further apart than this are both seen.
pub const SETTINGS_INTERVAL: Duration = Duration::from_secs(10);

/// Records that are taken in at one go before somebody gets an answer: more than the ring buffer holds
/// unless it was made larger.
const SETTLED: usize = 32_768;

/// Where observations go.
pub trait Sink {
    /// A handshake ended.
    fn handshake(&mut self, finding: &Finding) -> io::Result<()>;
    /// A damaged connection ended.
    fn closed(&mut self, closed: &ClosedFlow) -> io::Result<()>;
    /// A connection under watch announced a window.
    fn window(&mut self, window: &WindowSeen) -> io::Result<()>;
    /// Whatever was written must be seen now.
    fn flush(&mut self) -> io::Result<()>;
}

/// The programs and what came of them so far.
pub struct Session {
    attached: Attached,
    engine: Engine,
    watches: Watches,
    directory: Directory,
    layers: Vec<(&'static str, bool)>,
    window_failed: bool,
}

impl Session {
    /// Attaches everything and begins to collect.
    ///
    /// # Errors
    /// When it cannot run here: which part, why, and the way out.
    pub fn start(
        settings: &probes::Settings,
        filter: Filter,
        ignored: Networks,
    ) -> Result<(Self, Records)> {
        let first_rmem_max = rmem_max::read();
        let mut attached = probes::attach(settings)?;
        let records = attached
            .take_events()
            .context("the records were taken before")?;
        for degradation in attached.degradations() {
            eprintln!(
                "tcpwnd: {} is missing in this kernel: {}",
                degradation.what, degradation.consequence
            );
        }
        let engine = Engine::new(engine::Settings {
            watching_since_ktime_ns: attached.watching_since_ktime_ns(),
            rcvbuf_sets_clamp: attached.rcvbuf_sets_clamp(),
            sees_synproxy: attached.sees_synproxy(),
            flow_limit: FLOW_LIMIT,
        });
        let engine = engine
            .with_filter(move |flow| filter.admits(&flow.0))
            .with_ignored(move |flow| ignored.contain(flow.0.remote_addr))
            .with_rmem_max(first_rmem_max, rmem_max::read);
        let session = Self {
            attached,
            engine,
            watches: Watches::default(),
            directory: Directory::default(),
            layers: Vec::new(),
            window_failed: false,
        };
        Ok((session, records))
    }

    /// Takes in one record. What cannot be decoded is counted, not fatal.
    ///
    /// # Errors
    /// When the sink fails.
    pub fn take(&mut self, record: &[u8], sink: &mut impl Sink) -> io::Result<()> {
        match self.engine.ingest(record) {
            Ok(Observation::Handshake(mut finding)) => {
                self.directory.name(&mut finding);
                // Who is ignored is not worth a probe on the transmit path either.
                if finding.watched && !finding.ignored {
                    self.watches.keep(finding.flow, clock::monotonic_ns());
                }
                sink.handshake(&finding)
            }
            Ok(Observation::Closed(closed)) => {
                self.watches.end(&closed.flow, clock::monotonic_ns());
                sink.closed(&closed)
            }
            Ok(Observation::Window(window)) => {
                if window.last {
                    self.watches.end(&window.flow, clock::monotonic_ns());
                } else {
                    self.watches.keep(window.flow, clock::monotonic_ns());
                }
                sink.window(&window)
            }
            Ok(Observation::FilteredOut) | Err(_) => Ok(()),
        }
    }

    /// Attaches the window probe while something is being watched, and takes it off soon after.
    pub fn adjust_window_probe(&mut self) {
        let wanted = self.watches.want_probe(clock::monotonic_ns());
        if self.window_failed {
            return;
        }
        if let Err(error) = self.attached.watch_window(wanted) {
            // Verdicts do not depend on it, so the trace goes on.
            eprintln!("tcpwnd: windows are not confirmed: {error}");
            self.window_failed = true;
        }
    }

    /// Looks whether settings have changed; every [`SETTINGS_INTERVAL`].
    pub fn read_settings(&mut self) {
        self.engine.note_rmem_max();
    }

    /// Whether the window probe is attached, and has to be looked after.
    pub fn probes_windows(&self) -> bool {
        self.attached.is_watching_windows()
    }

    /// Detaches every program and takes in what is still on its way, so that the sums hold still.
    ///
    /// # Errors
    /// When the sink fails.
    pub fn finish(&mut self, records: &mut Records, sink: &mut impl Sink) -> io::Result<()> {
        self.attached.detach();
        let mut result = Ok(());
        records.drain(|record| {
            if result.is_ok() {
                result = self.take(record, sink);
            }
        });
        result.and_then(|()| sink.flush())
    }

    /// The books, added up and compared with what the kernel counted.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let counters = self.attached.counters();
        let totals = self.engine.books().totals(KernelTotals {
            handshakes: counters.get(Counter::Established)
                + counters.get(Counter::LeftSynRecv)
                + counters.get(Counter::Connected),
            sent: counters.get(Counter::HandshakesSent),
            lost: counters.get(Counter::HandshakesLost),
        });
        totals.with_missed_runs(probes::missed_handshakes(&self.attached.status()))
    }

    /// What carries records.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.attached.transport()
    }

    /// Whether reading counters takes capabilities.
    #[must_use]
    pub fn needs_capabilities(&self) -> bool {
        self.attached.needs_capabilities()
    }

    /// Goes on as a confined process: with names of other processes only where they are in sight.
    pub fn confined_by(&mut self, confinement: &Confinement) {
        self.layers = confinement
            .layers()
            .map(|(name, layer)| (name, layer.holds()))
            .into();
        if confinement.hides_processes() {
            self.directory.forgo_processes();
        }
    }

    /// What confines this process by name, and whether it does. Empty as long as nothing was tried.
    #[must_use]
    pub fn layers(&self) -> &[(&'static str, bool)] {
        &self.layers
    }

    /// The engine with its books.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The same, to tell it what was found out otherwise.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Who listens, as far as that was found out.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The programs' counters now.
    #[must_use]
    pub fn counters(&self) -> CountersSnapshot {
        self.attached.counters()
    }

    /// Listeners that were seen, by namespace, port and address.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerSlot> {
        let mut listeners = self.attached.listeners();
        listeners.sort_by_key(|slot| (slot.key.netns, slot.key.port, slot.key.addr));
        listeners
    }

    /// What became of each hook.
    #[must_use]
    pub fn status(&self) -> Vec<ProbeStatus> {
        self.attached.status()
    }

    /// Says on standard error what starting took, if it was asked for (`-v`).
    pub fn tell_startup(&self, verbose: u8) {
        if verbose > 0 {
            eprintln!("tcpwnd: {}", self.attached.startup());
        }
    }

    /// When watching began, nanoseconds of CLOCK_MONOTONIC.
    #[must_use]
    pub fn watching_since_ktime_ns(&self) -> u64 {
        self.attached.watching_since_ktime_ns()
    }
}

/// Hands one batch of records to the session.
///
/// # Errors
/// When the sink fails or they cannot be read.
pub async fn batch(
    records: &mut Records,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<()> {
    let mut result = Ok(());
    let read = records.batch(|record| {
        if result.is_ok() {
            result = take(record);
        }
    });
    read.await
        .map_err(|error| anyhow!(error).context("failed to read records"))?;
    Ok(result?)
}

/// Hands everything to the session that is there now; false when it is too much for one go.
///
/// # Errors
/// When the sink fails.
pub fn settle(
    records: &mut Records,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<bool> {
    let mut result = Ok(());
    let taken = records.drain_up_to(SETTLED, |record| {
        if result.is_ok() {
            result = take(record);
        }
    });
    result.map(|()| taken < SETTLED)
}

/// Creates the file that says that everything is attached.
///
/// # Errors
/// When it cannot be written.
pub fn announce(ready_file: Option<&std::path::Path>) -> Result<()> {
    let Some(path) = ready_file else {
        return Ok(());
    };
    std::fs::write(path, format!("{}\n", std::process::id())).map_err(|error| {
        let reason = crate::host::reason(&error);
        let line = format!(
            "failed to create {}: {reason}: choose another --ready-file",
            path.display()
        );
        anyhow!(error).context(line)
    })
}
