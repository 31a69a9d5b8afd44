//! Keeps the state file: takes over what a former agent found, looks whether those connections are
//! open still, and writes down what the next one has to know.
//!
//! Constraint: bounded work at a time, since events wait meanwhile. A connection is known by its
//! socket's cookie beside its addresses and its namespace; where that cannot be had nothing is
//! claimed, but counted.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Result, anyhow};
use tcpwnd_core::{Engine, Flow, Listed, OpenFlow, OpenFlows, Role};

use super::document::Document;
use super::file::{Content, StateFile};
use super::former::Former;
use super::sockets::Sockets;
use crate::host::{clock, reason};

/// Names this boot of the kernel (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Between two writes, nanoseconds: a storm of findings is one file.
const SAVE_INTERVAL_NS: u64 = 5_000_000_000;

/// Longest time between the last word of one agent and the beginning of the next, nanoseconds: an
/// upgrade. Where it is longer others may have watched meanwhile, whose word is not there.
const LONGEST_PAUSE_NS: u64 = 300_000_000_000;

/// Connections whose sockets are looked up at a time.
const LOOK_UPS: usize = 2_000;

/// Of those that former agents found, one in so many is looked after at a time.
const ROUNDS: u64 = 10;

/// A connection and when it was established.
type Which = (Flow, u64);

/// What the metrics and the findings page say of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Connections that former agents found damaged, and that cannot be looked for.
    pub unchecked: u64,
    /// Every connection that the former agent counted as damaged is counted, or known to have ended.
    pub complete: bool,
    /// Connections that the file lists.
    pub saved: u64,
    /// Open damaged ones that it does not list.
    pub left_out: u64,
    /// How often the file could not be used or written, or a connection not be looked up.
    pub errors: u64,
}

/// What is known of the sockets of some connections.
#[derive(Debug, Default)]
pub struct LookedUp(Vec<(Which, Listed)>);

impl LookedUp {
    /// Whether there was nothing to look up.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Keeps the state file.
#[derive(Debug)]
pub struct Keeper {
    file: StateFile,
    /// Held for life; `None` where this agent keeps no state, or the lock cannot be had.
    _lock: Option<File>,
    /// Whether it is one of ours, or there is none yet.
    writes: bool,
    boot_id: String,
    sockets: Sockets,
    former: Former,
    /// All former agents of this boot have said what they knew.
    told: bool,
    round: u64,
    /// What [`OpenFlows::changes`] was when the file was written; `None` where it has to be anew.
    saved_changes: Option<u64>,
    next_save_ns: u64,
    failing: bool,
    numbers: Numbers,
    lines: Vec<String>,
}

impl Keeper {
    /// Opens it, without reading the file yet.
    ///
    /// # Errors
    /// When there cannot be a file at this path.
    pub fn open(path: &Path) -> Result<Self> {
        let file = StateFile::at(path).map_err(|error| {
            let reason = reason(&error);
            let line = format!(
                "no state file can be at {}: {reason}: make its folder, or choose another \
                 --state-file",
                path.display()
            );
            anyhow!(error).context(line)
        })?;
        let mut keeper = Self {
            file,
            _lock: None,
            writes: true,
            boot_id: String::new(),
            sockets: Sockets::open(),
            former: Former::default(),
            told: false,
            round: 0,
            saved_changes: None,
            next_save_ns: 0,
            failing: false,
            numbers: Numbers::default(),
            lines: Vec::new(),
        };
        match std::fs::read_to_string(BOOT_ID) {
            Ok(boot_id) => keeper.boot_id = boot_id.trim().to_owned(),
            Err(error) => {
                let why = format!("failed to read {BOOT_ID}: {}", reason(&error));
                keeper.keep_nothing(&why, "do without --state-file");
            }
        }
        keeper.lock();
        Ok(keeper)
    }

    fn lock(&mut self) {
        match self.file.lock() {
            Ok(lock) => self._lock = Some(lock),
            Err(TryLockError::WouldBlock) => {
                self.keep_nothing("another agent keeps it", "choose another --state-file");
            }
            Err(TryLockError::Error(error)) => self.trouble(format!(
                "{} cannot be locked: {}: see to it that no other agent has the same --state-file",
                self.path(),
                reason(&error)
            )),
        }
    }

    /// The folder in which it writes.
    pub fn folder(&self) -> &Path {
        self.file.folder()
    }

    fn path(&self) -> String {
        self.file.path().display().to_string()
    }

    fn trouble(&mut self, line: String) {
        self.numbers.errors += 1;
        self.lines.push(line);
    }

    fn keep_nothing(&mut self, why: &str, way_out: &str) {
        self.writes = false;
        let path = self.path();
        self.trouble(format!(
            "{path} is left alone, and no state is kept: {why}: {way_out}"
        ));
    }

    /// What there is to tell, a line each.
    pub fn lines(&mut self) -> Vec<String> {
        self.lines.extend(self.sockets.trouble());
        std::mem::take(&mut self.lines)
    }

    /// Writes no more, and leaves no file that would speak for it to the next agent.
    pub fn stop_writing(&mut self) {
        if std::mem::take(&mut self.writes) {
            self.numbers.errors += 1;
            // Where it cannot be removed the next one reads what this one read.
            let _ = self.file.remove();
        }
    }

    /// Reads the file, and takes those of its connections over that are open and wanted, for an agent
    /// that has been watching since then (nanoseconds of CLOCK_MONOTONIC). From here on the file is
    /// this agent's.
    pub fn take_over(
        &mut self,
        engine: &mut Engine,
        since_ns: u64,
        wanted: impl Fn(&Flow, Role) -> bool,
    ) {
        if !self.writes {
            return;
        }
        match self.file.read() {
            Content::Nothing => {}
            Content::Read(document) if document.boot_id != self.boot_id => self.told = true,
            Content::Read(document) => self.look_for(&document, engine, since_ns, wanted),
            Content::Spoiled(why) => self.set_aside(&why),
            Content::Foreign(why) => self.keep_nothing(&why, "choose another --state-file"),
        }
        self.begin(engine.flows());
    }

    fn look_for(
        &mut self,
        document: &Document,
        engine: &mut Engine,
        since_ns: u64,
        wanted: impl Fn(&Flow, Role) -> bool,
    ) {
        self.former = Former::of(document, |flow, open| {
            wanted(flow, open.role) && !engine.ignores(flow, open.verdict)
        });
        let settled = self.former.look(&mut self.sockets, engine, |_| true);
        let unchecked = self.former.unchecked();
        if settled.open + settled.ended + unchecked > 0 {
            self.lines.push(format!(
                "of the damaged connections that a former agent found {} are open, {} have ended, and \
                 {unchecked} cannot be looked for",
                settled.open, settled.ended
            ));
        }
        let pause = since_ns.checked_sub(document.written_ktime_ns);
        let recent = pause.is_some_and(|pause| pause <= LONGEST_PAUSE_NS);
        if !document.stopped {
            self.lines.push(
                "the former agent did not stop properly: what it found in its last seconds may be \
                 missing"
                    .to_owned(),
            );
        } else if !recent {
            self.lines.push(format!(
                "{} was written at {}: what was found since may be missing",
                self.path(),
                document.written
            ));
        } else if document.gap {
            self.lines
                .push("what an earlier agent found may be missing".to_owned());
        }
        self.former.gap |= !document.stopped || !recent;
        self.told = !self.former.gap;
    }

    fn set_aside(&mut self, why: &str) {
        self.former.gap = true;
        let moved = match self.file.set_aside() {
            Ok(aside) => format!("moved to {}", aside.display()),
            Err(error) => {
                self.writes = false;
                format!(
                    "it cannot be moved, and no state is kept: {}: remove it",
                    reason(&error)
                )
            }
        };
        self.trouble(format!("{} is of no use: {why}: {moved}", self.path()));
    }

    /// From here on the last word is this agent's. If it cannot be written, the one before must not
    /// pass for it.
    fn begin(&mut self, flows: &OpenFlows) {
        self.save(flows, clock::monotonic_ns(), false);
        if !self.failing {
            return;
        }
        if let Err(error) = self.file.remove() {
            let line = format!("failed to remove {}: {}", self.path(), reason(&error));
            self.trouble(format!("{line}: remove it once this agent has ended"));
        }
    }

    /// Looks whether some of the connections that were taken over are open still, and for some of
    /// those that could not be looked for.
    pub fn check(&mut self, engine: &mut Engine) {
        self.round = (self.round + 1) % ROUNDS;
        let round = self.round;
        // Numbers of sockets follow each other.
        let is_due =
            |open: &OpenFlow| matches!(open.listed, Listed::As(cookie) if cookie % ROUNDS == round);
        let carried = engine.flows().iter();
        let due = carried.filter(|(_, open)| open.carried_over && is_due(open));
        let due: Vec<_> = due.map(|(key, open)| (Flow(*key), *open)).collect();
        for (flow, open) in due {
            if self.sockets.is_open(flow, &open) == Some(false) {
                engine.ended(flow, open.established_ktime_ns);
            }
        }
        let settled = self.former.look(&mut self.sockets, engine, is_due);
        if settled.open + settled.ended > 0 {
            self.saved_changes = None;
        }
    }

    /// Looks up the sockets of connections that were found since; of all of them with `all`. What
    /// it says holds for those that are known to be open by all that had happened until then.
    pub fn look_up(&mut self, flows: &OpenFlows, all: bool) -> LookedUp {
        let Some(here) = self.sockets.netns() else {
            return LookedUp::default();
        };
        let limit = if all { usize::MAX } else { LOOK_UPS };
        let unknown = flows
            .iter()
            .filter(|(key, open)| open.listed == Listed::NotYet && key.netns == here);
        let looked_up = unknown.take(limit).filter_map(|(key, open)| {
            let flow = Flow(*key);
            let listed = self.sockets.identify(flow, open)?;
            Some(((flow, open.established_ktime_ns), listed))
        });
        LookedUp(looked_up.collect())
    }

    /// Takes in what was looked up, once everything has been taken in that had happened by then: of
    /// connections that are still there it was their own socket that was found.
    pub fn identify(engine: &mut Engine, looked_up: LookedUp) {
        for ((flow, established), listed) in looked_up.0 {
            engine.note_listed(flow, established, listed);
        }
    }

    /// Writes the file if something has changed and the last time is long enough ago (`now_ns` of
    /// CLOCK_MONOTONIC), or because the agent is about to end.
    pub fn save(&mut self, flows: &OpenFlows, now_ns: u64, stopped: bool) {
        if !self.writes {
            self.numbers.left_out = flows.len() as u64;
            return;
        }
        let changed = self.saved_changes != Some(flows.changes());
        if !stopped && (!changed || now_ns < self.next_save_ns) {
            return;
        }
        self.next_save_ns = now_ns + SAVE_INTERVAL_NS;
        let document = Document::of(flows, &self.former, &self.boot_id, now_ns, stopped);
        match self.file.write(&document) {
            Ok(()) => {
                self.saved_changes = Some(flows.changes());
                self.failing = false;
                self.numbers.saved = document.len() as u64;
                self.numbers.left_out = document.left_out;
            }
            Err(error) => {
                self.numbers.errors += 1;
                let again = std::mem::replace(&mut self.failing, true);
                // Whoever reads the journal later looks at its end.
                if !again || stopped {
                    self.lines.push(format!(
                        "failed to write {}: {}: damaged connections may look healed after a \
                         restart: make room there, or choose another --state-file",
                        self.path(),
                        reason(&error)
                    ));
                }
            }
        }
    }

    /// What there is to say of it.
    pub fn numbers(&self) -> Numbers {
        let unchecked = self.former.unchecked();
        Numbers {
            unchecked,
            complete: self.told && unchecked == 0,
            errors: self.numbers.errors + self.sockets.errors,
            ..self.numbers
        }
    }
}

#[cfg(test)]
#[path = "keeper_agents.rs"]
mod agents;
#[cfg(test)]
#[path = "successor_tests.rs"]
mod successor_tests;
#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
