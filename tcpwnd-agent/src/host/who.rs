//! Who listens: names for the socket that a connection came in at, from the listener's own cgroup
//! and from /proc. Whoever happened to run when a packet came in has no part in it.
//!
//! Constraint: events wait for this, so that looking is bounded: each listener once, [`BUDGET`] in
//! any [`PERIOD`], [`LIMIT`] listeners. What is not known is absent, and why is said once.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tcpwnd_core::Flow;
use tcpwnd_core::findings::{Finding, Listener, Place, Process};

use super::cgroups::{self, Found};
use super::netns::Names;
use super::owners::{self, Effort, Owner, printable};

/// Listeners that are remembered.
const LIMIT: usize = 1_024;

/// What may be looked at in each [`PERIOD`], processes, descriptors and cgroups together. Most are
/// found among the few processes of their own cgroup; else a host has thousands. That takes tenths
/// of a second at most, and meanwhile events wait in the ring buffer, which holds thousands of them.
const BUDGET: u32 = 200_000;
const PERIOD: Duration = Duration::from_secs(10);

/// How long a name is taken for granted. Then it is looked whether the process has the socket still.
const FRESH: Duration = Duration::from_secs(1);

/// What could be found out about listeners.
#[derive(Debug, Default)]
pub struct Directory {
    known: HashMap<u64, Known>,
    /// Descriptors of other processes are out of sight.
    blind: bool,
    netns: Names,
    left: Left,
    said: BTreeSet<&'static str>,
}

/// A listener that was looked up.
#[derive(Debug)]
struct Known {
    /// Where connections came in.
    netns: u32,
    local: BTreeSet<(IpAddr, u16)>,
    names: Listener,
    owner: Option<Owner>,
    /// Looking again would find nothing else: what is hidden stays so.
    settled: bool,
    checked: Instant,
}

/// What is left to be looked at in this period.
#[derive(Debug)]
struct Left {
    since: Instant,
    effort: Effort,
}

impl Default for Left {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            effort: Effort(BUDGET),
        }
    }
}

impl Left {
    /// Begins a period if one is over.
    fn renew(&mut self, now: Instant) {
        if now.duration_since(self.since) >= PERIOD {
            *self = Self {
                since: now,
                effort: Effort(BUDGET),
            };
        }
    }
}

impl Directory {
    /// Names the listener of a finding, as far as that can be found out.
    pub fn name(&mut self, finding: &mut Finding) {
        let now = Instant::now();
        let netns_name = self.netns.name(finding.flow.netns(), now);
        finding.listener.netns_name.clone_from(&netns_name);
        let Some(inode) = finding.listener.inode else {
            return;
        };
        if self.wants_look(inode, now) {
            self.look(inode, &finding.listener, &finding.flow, now);
        }
        if let Some(known) = self.known.get_mut(&inode) {
            let local = finding.flow.local();
            if known.local.len() < LIMIT {
                known.local.insert((local.ip(), local.port()));
            }
            finding.listener = Listener {
                netns_name,
                ..known.names.clone()
            };
        }
    }

    /// Looks into no process from here on. Nobody could be found, and to find that out takes long.
    pub fn forgo_processes(&mut self) {
        self.blind = true;
    }

    /// The listeners behind a port, of those that are known: bound to this address, or to any.
    pub fn of(&self, netns: u32, addr: IpAddr, port: u16) -> Vec<&Listener> {
        let there = |known: &&Known| {
            let mut local = known.local.iter();
            known.netns == netns
                && local.any(|(at, on)| *on == port && (addr.is_unspecified() || *at == addr))
        };
        let mut found: Vec<_> = self.known.values().filter(there).collect();
        found.sort_by_key(|known| known.names.inode);
        found.iter().map(|known| &known.names).collect()
    }

    /// Takes a listener as it is in a finding, for tests of what is made of it.
    #[cfg(test)]
    pub fn note(&mut self, finding: &Finding) {
        let local = finding.flow.local();
        let known = Known {
            netns: finding.flow.netns(),
            local: BTreeSet::from([(local.ip(), local.port())]),
            names: finding.listener.clone(),
            owner: None,
            settled: true,
            checked: Instant::now(),
        };
        let inode = finding.listener.inode.unwrap_or_default();
        self.known.insert(inode, known);
    }

    fn wants_look(&mut self, inode: u64, now: Instant) -> bool {
        let Some(known) = self.known.get_mut(&inode) else {
            return true;
        };
        let age = now.duration_since(known.checked);
        match &known.owner {
            None => !known.settled && age >= PERIOD,
            Some(_) if age < FRESH => false,
            Some(owner) => {
                known.checked = now;
                let gone = !owner.is_current();
                if gone {
                    // Nobody is named who cannot be looked for again.
                    (known.owner, known.names.process) = (None, None);
                }
                gone
            }
        }
    }

    fn look(&mut self, inode: u64, told: &Listener, flow: &Flow, now: Instant) {
        self.left.renew(now);
        if !self.left.effort.spend() {
            self.say("listeners come faster than they can be looked up: some are not named");
            return;
        }
        // The socket's own, whatever the process does later.
        let (of_socket, near) = match told.cgroup_id.map(|id| self.cgroup(id)) {
            Some(Some((path, processes))) => (Some(path), processes),
            Some(None) | None => (None, BTreeSet::new()),
        };
        let (owner, settled) = self.owner(inode, &near);
        let mut names = told.clone();
        names.process = owner.as_ref().map(|owner| Process {
            pid: owner.pid,
            name: owner.name.clone(),
            kafka: owner.is_kafka(),
            others: owner.others,
        });
        // The root says nothing: where cgroups are of version 1 every socket is there.
        names.cgroup = match (of_socket, &names.process) {
            (Some(root), Some(process)) if root == "/" => {
                cgroups::of_process(process.pid).or(Some(root))
            }
            (None, Some(process)) if told.cgroup_id.is_none() => cgroups::of_process(process.pid),
            (path, _) => path,
        };
        names.cgroup = names.cgroup.as_deref().map(printable);
        names.place = names.cgroup.as_deref().map(Place::of).unwrap_or_default();
        self.make_room();
        let local = self.known.remove(&inode).map(|known| known.local);
        let known = Known {
            netns: flow.netns(),
            local: local.unwrap_or_default(),
            names,
            owner,
            settled,
            checked: now,
        };
        self.known.insert(inode, known);
    }

    /// Who has a socket open, and whether that is the last word.
    /// Asks the processes `near` it first.
    fn owner(&mut self, inode: u64, near: &BTreeSet<u32>) -> (Option<Owner>, bool) {
        if self.blind {
            self.say(
                "the process of a listener is not named: `run` gives up looking into other \
                 processes (`trace` as root names it)",
            );
            return (None, true);
        }
        let sockets = BTreeSet::from([inode]);
        let mut owners = owners::among(near, &sockets, &mut self.left.effort);
        if let Some(owner) = owners.found.remove(&inode) {
            return (Some(owner), true);
        }
        let mut owners = owners::of(&sockets, &mut self.left.effort);
        let found = owners.found.remove(&inode);
        if found.is_none() {
            self.say(match (owners.cut_short, owners.hidden) {
                (true, _) => {
                    "the process of a listener is not named: there are too many to look at"
                }
                (_, 0) => {
                    "the process of a listener is not named: it has ended, or is in another PID \
                     namespace"
                }
                _ => {
                    "the process of a listener is not named: descriptors of other users' processes \
                     are hidden (it takes root with CAP_SYS_PTRACE)"
                }
            });
        }
        (found, owners.hidden > 0 && !owners.cut_short)
    }

    /// The path of a cgroup, and who is in it.
    fn cgroup(&mut self, id: u64) -> Option<(String, BTreeSet<u32>)> {
        let found = cgroups::find(id, &mut self.left.effort);
        self.say(match found {
            Found::At(path, processes) => return Some((path, processes)),
            Found::Nowhere => {
                "the cgroup of a listener is not named: it was removed, or lies outside of what is \
                 mounted here"
            }
            Found::NoMount => {
                "the cgroup of a listener is not named: no cgroup2 file system is mounted here"
            }
            Found::CutShort => {
                "the cgroup of a listener is not named: there are too many to look at"
            }
        });
        None
    }

    /// Each reason once.
    fn say(&mut self, why: &'static str) {
        if self.said.insert(why) {
            eprintln!("tcpwnd: {why}");
        }
    }

    fn make_room(&mut self) {
        if self.known.len() >= LIMIT {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.checked);
            if let Some(inode) = oldest.map(|(inode, _)| *inode) {
                self.known.remove(&inode);
            }
        }
    }
}

#[cfg(test)]
#[path = "who_tests.rs"]
mod tests;
