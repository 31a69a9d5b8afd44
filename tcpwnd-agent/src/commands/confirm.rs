//! `scan --confirm`: suspects are watched while data flows, and what their peers do with the
//! windows that they are sent settles some of them.
//!
//! Constraint: bounded in time, in suspects, and in records of each.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::{Context, Result};
use tcpwnd_common::FlowKey;
use tcpwnd_core::decode::{self, Record};
use tcpwnd_core::scan::{Outcome, Peer, Scan, Settled, Suspect};
use tokio::signal::unix::{SignalKind, signal};

use super::session;
use crate::cli::ScanArgs;
use crate::probes::{self, SUSPECT_LIMIT, Suspects};

/// What was left of the watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Suspects that were watched.
    pub suspects: usize,
    /// Records that found no room on their way, or could not be decoded.
    pub records_lost: u64,
}

/// Watches the suspects, the weightiest first, and notes in them what is settled.
///
/// # Errors
/// When it cannot run here.
pub fn watch(args: &ScanArgs, settings: &probes::Settings, scan: &mut Scan) -> Result<Watched> {
    if scan.suspects.is_empty() {
        session::announce(args.ready_file.as_deref())?;
        return Ok(Watched::default());
    }
    super::runtime()?.block_on(until_settled(args, settings, scan))
}

async fn until_settled(
    args: &ScanArgs,
    settings: &probes::Settings,
    scan: &mut Scan,
) -> Result<Watched> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let limit: Duration = args.duration.into();
    let mut watch = Watch::new(&scan.suspects);
    let mut suspects = Suspects::watch(settings, &watch.flows())?;
    let records = suspects.take_events();
    let mut records = records.context("the records were taken before")?;
    session::announce(args.ready_file.as_deref())?;
    if io::stderr().is_terminal() {
        let count = watch.peers.len();
        eprintln!("watching {count} suspects for {limit:?}; Ctrl-C ends it");
    }
    let end = tokio::time::sleep(limit);
    tokio::pin!(end);
    while watch.open > 0 {
        tokio::select! {
            biased;
            () = &mut end => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            read = session::batch(&mut records, |record| { watch.take(record); Ok(()) }) => {
                read?;
                for flow in watch.decided() {
                    suspects.release(flow);
                }
            }
        }
    }
    suspects.detach();
    records.drain(|record| watch.take(record));
    watch.decided();
    let watched = Watched {
        suspects: watch.peers.len(),
        records_lost: suspects.lost() + watch.undecodable,
    };
    watch.note_in(&mut scan.suspects);
    Ok(watched)
}

/// A suspect under watch.
struct Watching {
    peer: Peer,
    /// It is suspected of having been told a larger scale.
    larger: bool,
    settled: Option<Settled>,
}

/// The suspects under watch.
struct Watch {
    peers: HashMap<FlowKey, Watching>,
    /// Of which something came in since the last look.
    touched: BTreeSet<FlowKey>,
    /// How many are not settled.
    open: usize,
    undecodable: u64,
}

impl Watch {
    fn new(suspects: &[Suspect]) -> Self {
        let watching = |suspect: &Suspect| Watching {
            peer: Peer::new(suspect.used),
            larger: suspect.factor.is_some_and(|factor| factor < 1.0),
            settled: None,
        };
        let suspects = suspects.iter().take(SUSPECT_LIMIT);
        let peers: HashMap<_, _> = suspects
            .map(|suspect| (suspect.flow.0, watching(suspect)))
            .collect();
        Self {
            open: peers.len(),
            peers,
            touched: BTreeSet::new(),
            undecodable: 0,
        }
    }

    fn flows(&self) -> Vec<FlowKey> {
        self.peers.keys().copied().collect()
    }

    fn take(&mut self, record: &[u8]) {
        let Ok(Record::Progress(record)) = decode::decode(record) else {
            self.undecodable += 1;
            return;
        };
        // A record of one that was released can still have been on its way.
        if let Some(watching) = self.peers.get_mut(&record.flow)
            && watching.settled.is_none()
        {
            watching.peer.observe(&record);
            self.touched.insert(record.flow);
        }
    }

    /// Those that have been settled since the last look.
    fn decided(&mut self) -> Vec<FlowKey> {
        let mut decided = Vec::new();
        for flow in std::mem::take(&mut self.touched) {
            let Some(watching) = self.peers.get_mut(&flow) else {
                continue;
            };
            let settled = watching.peer.settled(watching.larger);
            if settled.verdict != Outcome::Undecided {
                watching.settled = Some(settled);
                self.open -= 1;
                decided.push(flow);
            }
        }
        decided
    }

    fn note_in(mut self, suspects: &mut [Suspect]) {
        for suspect in suspects {
            suspect.settled = self.peers.remove(&suspect.flow.0).map(|watching| {
                let by_now = || watching.peer.settled(watching.larger);
                watching.settled.unwrap_or_else(by_now)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn what_is_no_record_is_counted_and_settles_nothing() {
        let mut scan = testing::scan(&[(1, 1), (2, 7)]);
        let mut watch = Watch::new(&scan.suspects);
        assert_eq!((watch.open, watch.flows().len()), (1, 1));
        watch.take(&[1, 2, 3]);
        // Of nobody that is watched.
        watch.take(&testing::progress(9, 0));
        assert_eq!(watch.undecodable, 1);
        assert_eq!(watch.decided(), []);
        watch.note_in(&mut scan.suspects);
        let settled = scan.suspects[0].settled.as_ref().unwrap();
        assert_eq!((settled.verdict, settled.bytes), (Outcome::Undecided, 0));
    }

    #[test]
    fn records_reach_the_suspect_that_they_are_of() {
        let mut scan = testing::scan(&[(1, 7), (2, 7)]);
        let mut watch = Watch::new(&scan.suspects);
        for number in 0..4 {
            watch.take(&testing::progress(2, number));
        }
        assert_eq!(watch.decided(), []);
        watch.note_in(&mut scan.suspects);
        let bytes = |port: u16| {
            let mut all = scan.suspects.iter();
            let suspect = all.find(|one| one.flow.0.remote_port == port).unwrap();
            suspect.settled.as_ref().unwrap().bytes
        };
        assert_eq!((bytes(1), bytes(2)), (0, 300));
    }
}
