//! Keeps the state file: takes over what a former agent found, looks whether those connections are
//! open still, and writes down what the next one has to know.
//!
//! Constraint: bounded work at a time, since events wait meanwhile. A connection is known by its
//! socket's cookie beside its addresses and its namespace; where that cannot be had nothing is
//! claimed, but counted.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use tcpwnd_core::engine::CarriedOver;
use tcpwnd_core::{Engine, Flow, Listed, OpenFlows, Role};

use super::document::{Document, Listing};
use super::file::{Content, StateFile};
use crate::host::sock_diag::Lookup;
use crate::host::{clock, netns, reason};

/// Names this boot of the kernel (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Between two writes, nanoseconds: a storm of findings is one file.
const SAVE_INTERVAL_NS: u64 = 5_000_000_000;

/// Connections whose sockets are looked up at a time.
const LOOK_UPS: usize = 2_000;

/// Of those carried over, one in so many is looked after at a time.
const ROUNDS: usize = 10;

/// A connection and when it was established.
type Which = (Flow, u64);

/// What the metrics and the findings page say of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Connections that the former agent found damaged, and that could not be looked for.
    pub unchecked: u64,
    /// Every connection that the former agent counted as damaged is counted, or known to have ended.
    pub complete: bool,
    /// Connections that the file lists.
    pub saved: u64,
    /// Open damaged ones that it does not list.
    pub left_out: u64,
    /// How often the file could not be used or written.
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
    /// Whether it is one of ours, or there is none yet.
    writes: bool,
    boot_id: String,
    lookup: Option<Lookup>,
    carried: VecDeque<(Which, u64)>,
    /// What [`OpenFlows::changes`] was when the file was written.
    saved_changes: Option<u64>,
    next_save_ns: u64,
    failing: bool,
    numbers: Numbers,
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
        let boot_id = std::fs::read_to_string(BOOT_ID)
            .with_context(|| format!("failed to read {BOOT_ID}"))?;
        Ok(Self {
            file,
            writes: true,
            boot_id: boot_id.trim().to_owned(),
            lookup: look_ups(),
            carried: VecDeque::new(),
            saved_changes: None,
            next_save_ns: 0,
            failing: false,
            numbers: Numbers::default(),
        })
    }

    /// The folder in which it writes.
    pub fn folder(&self) -> &Path {
        self.file.folder()
    }

    /// Reads the file, and takes those of its connections over that are open and wanted. Returns
    /// what there is to tell, a line each.
    pub fn take_over(
        &mut self,
        engine: &mut Engine,
        wanted: impl Fn(&Flow, Role) -> bool,
    ) -> Vec<String> {
        let path = self.file.path().display().to_string();
        match self.file.read() {
            Content::Nothing => Vec::new(),
            Content::Read(document) if document.boot_id != self.boot_id => {
                self.numbers.complete = true;
                Vec::new()
            }
            Content::Read(document) => self.look_for(&document, engine, wanted),
            Content::Spoiled(why) => {
                self.numbers.errors += 1;
                let moved = match self.file.set_aside() {
                    Ok(aside) => format!("moved to {}", aside.display()),
                    Err(error) => {
                        self.writes = false;
                        format!("it cannot be moved: {}", reason(&error))
                    }
                };
                vec![format!("{path} is of no use: {why}: {moved}")]
            }
            Content::Foreign(why) => {
                self.numbers.errors += 1;
                self.writes = false;
                vec![format!(
                    "{path} is left alone, and no state is kept: {why}: choose another --state-file"
                )]
            }
        }
    }

    fn look_for(
        &mut self,
        document: &Document,
        engine: &mut Engine,
        wanted: impl Fn(&Flow, Role) -> bool,
    ) -> Vec<String> {
        let (mut open, mut ended, mut unchecked) = (0_u64, 0_u64, document.left_out);
        for listing in document.connections().flatten() {
            if !wanted(&listing.flow, listing.open.role) {
                continue;
            }
            match look(self.lookup.as_mut(), &listing) {
                Some(false) => ended += 1,
                Some(true) => match engine.carry_over(listing.flow, listing.open) {
                    CarriedOver::Kept => {
                        let which = (listing.flow, listing.open.established_ktime_ns);
                        self.carried.push_back((which, listing.cookie));
                        open += 1;
                    }
                    CarriedOver::FilteredOut => {}
                    CarriedOver::NoRoom => unchecked += 1,
                },
                None => unchecked += 1,
            }
        }
        self.numbers.unchecked = unchecked;
        self.numbers.complete = document.stopped && unchecked == 0;
        let mut lines = Vec::new();
        if open + ended + unchecked > 0 {
            lines.push(format!(
                "of the damaged connections that a former agent found {open} are open, {ended} have \
                 ended, and {unchecked} cannot be looked for"
            ));
        }
        if !document.stopped {
            let killed = "the former agent was killed: what it found in its last seconds may be \
                          missing";
            lines.push(killed.to_owned());
        }
        lines
    }

    /// Looks whether some of the connections that were taken over are open still.
    pub fn check(&mut self, engine: &mut Engine) {
        let Some(lookup) = &mut self.lookup else {
            return;
        };
        let mut gone = Vec::new();
        for _ in 0..self.carried.len().div_ceil(ROUNDS) {
            let Some((which, cookie)) = self.carried.pop_front() else {
                break;
            };
            let (flow, established) = which;
            // Another one has taken its place.
            if engine.flows().of(&flow.0, established).is_none() {
                continue;
            }
            match lookup.connection(flow, Some(cookie)) {
                Ok(None) => gone.push((which, cookie)),
                Ok(Some(_)) | Err(_) => self.carried.push_back((which, cookie)),
            }
        }
        if gone.is_empty() {
            return;
        }
        if lookup.answers().is_err() {
            self.carried.extend(gone);
            return;
        }
        for ((flow, established), _) in gone {
            engine.ended(flow, established);
        }
    }

    /// Looks up the sockets of connections that were found since; of all of them with `all`. What
    /// it says holds for those that are known to be open by all that had happened until then.
    pub fn look_up(&mut self, flows: &OpenFlows, all: bool) -> LookedUp {
        let Some(lookup) = &mut self.lookup else {
            return LookedUp::default();
        };
        let limit = if all { usize::MAX } else { LOOK_UPS };
        let here = lookup.netns();
        let unknown = flows
            .iter()
            .filter(|(key, open)| open.listed == Listed::NotYet && key.netns == here);
        let unknown: Vec<_> = unknown.take(limit).collect();
        let looked_up = unknown.into_iter().filter_map(|(key, open)| {
            let flow = Flow(*key);
            let found = lookup.connection(flow, None).ok()?;
            let same = found.filter(|found| found.info.used() == open.used);
            let listed = same.map_or(Listed::Not, |found| Listed::As(found.cookie));
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
    /// CLOCK_MONOTONIC), or because the agent is about to end. Returns what there is to tell.
    pub fn save(&mut self, flows: &OpenFlows, now_ns: u64, stopped: bool) -> Option<String> {
        let changed = self.saved_changes != Some(flows.changes());
        if !self.writes {
            self.numbers.left_out = flows.len() as u64;
            return None;
        }
        if !stopped && (!changed || now_ns < self.next_save_ns) {
            return None;
        }
        self.next_save_ns = now_ns + SAVE_INTERVAL_NS;
        let written = clock::rfc3339(clock::wall(now_ns));
        let document = Document::of(flows, &self.boot_id, written, stopped);
        match self.file.write(&document) {
            Ok(()) => {
                self.saved_changes = Some(flows.changes());
                self.failing = false;
                self.numbers.saved = document.connections().len() as u64;
                self.numbers.left_out = document.left_out;
                None
            }
            Err(error) => {
                self.numbers.errors += 1;
                let again = std::mem::replace(&mut self.failing, true);
                let line = format!(
                    "failed to write {}: {}: damaged connections may look healed after a restart",
                    self.file.path().display(),
                    reason(&error)
                );
                (!again).then_some(line)
            }
        }
    }

    /// What there is to say of it.
    pub fn numbers(&self) -> Numbers {
        self.numbers
    }
}

/// Whether a connection is open, with that very socket; `None` where nobody can say.
fn look(lookup: Option<&mut Lookup>, listing: &Listing) -> Option<bool> {
    let lookup = lookup.filter(|lookup| lookup.netns() == listing.flow.netns())?;
    match lookup.connection(listing.flow, Some(listing.cookie)).ok()? {
        None => lookup.answers().ok().map(|()| false),
        // A socket never changes its scale after the handshake.
        Some(found) => (found.info.used() == listing.open.used).then_some(true),
    }
}

/// `None` where the kernel does not list TCP sockets, or it is not known where we are.
fn look_ups() -> Option<Lookup> {
    let netns = netns::own()?;
    match Lookup::open(netns) {
        Ok(lookup) => Some(lookup),
        Err(error) => {
            eprintln!(
                "tcpwnd: sockets cannot be looked up, and so none is found again after a restart: \
                 {} (try modprobe tcp_diag)",
                reason(&error)
            );
            None
        }
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
