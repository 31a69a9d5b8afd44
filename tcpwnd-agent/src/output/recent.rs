//! What happened lately: findings as they were reported, how many handshakes were judged, and when
//! something was lost. What a script is told about the time since it restarted a broker rests on
//! this.
//!
//! Constraint: bounded. Each list forgets its oldest entries first and knows how far back it still
//! reaches, so that forgotten and never seen are two things.

use std::collections::VecDeque;

use serde_json::value::{RawValue, to_raw_value};
use tcpwnd_core::findings::{Finding, Line};

use crate::host::clock;

/// Findings that are kept unless the user says otherwise; about 3 KB each.
pub const DEFAULT_LIMIT: usize = 1000;

/// Slots for counts of handshakes, one for each tenth of a second and port where there were any:
/// most of half an hour of one port where they never stop, 384 KB.
const SLOTS: usize = 16_384;

/// Length of a slot, nanoseconds.
const TICK_NS: u64 = 100_000_000;

/// How many of the last slots are searched. More ports at once get more than one slot each.
const SEARCHED: usize = 64;

/// Occasions on which something was lost; beyond, the oldest are made one.
const LOSSES: usize = 64;

/// A moment that went out as the time of day and came back may have become this much earlier,
/// nanoseconds. Without it what was lost before an answer would count as lost after it.
const CLOCKS_APART_NS: u64 = 1_000_000;

/// A finding that is kept.
#[derive(Debug)]
pub struct Kept {
    /// When it was made, nanoseconds of CLOCK_MONOTONIC.
    pub ktime_ns: u64,
    /// Port of the listener.
    pub local_port: u16,
    /// Whether it is a mismatch or a lost scale, and not `unverified`.
    pub damaged: bool,
    /// The line that `run --format json` logs.
    pub line: Box<RawValue>,
}

/// Handshakes with a verdict on one port in one tenth of a second.
#[derive(Debug)]
struct Slot {
    tick: u64,
    judged: u32,
    local_port: u16,
}

/// What happened lately.
#[derive(Debug)]
pub struct Recent {
    findings: VecDeque<Kept>,
    limit: usize,
    dropped: u64,
    dropped_ns: Option<u64>,
    slots: VecDeque<Slot>,
    lost: u64,
    losses: VecDeque<Loss>,
}

#[derive(Debug)]
struct Loss {
    seen_ns: u64,
    events: u64,
}

impl Recent {
    /// Keeps up to `limit` findings.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            findings: VecDeque::new(),
            limit,
            dropped: 0,
            dropped_ns: None,
            slots: VecDeque::new(),
            lost: 0,
            losses: VecDeque::new(),
        }
    }

    /// Takes in a handshake.
    ///
    /// # Errors
    /// When the finding cannot be written as JSON.
    pub fn handshake(&mut self, finding: &Finding) -> serde_json::Result<()> {
        if finding.is_damaged() || matches!(finding.verdict, tcpwnd_core::Verdict::Ok) {
            self.judged(finding.ktime_ns, finding.flow.0.local_port);
        }
        if !finding.is_finding() {
            return Ok(());
        }
        let time = clock::rfc3339(clock::wall(finding.ktime_ns));
        let line = to_raw_value(&Line::new(Finding::KIND, &time, finding))?;
        if self.findings.len() >= self.limit
            && let Some(oldest) = self.findings.pop_front()
        {
            self.dropped += 1;
            self.dropped_ns = self.dropped_ns.max(Some(oldest.ktime_ns));
        }
        self.findings.push_back(Kept {
            ktime_ns: finding.ktime_ns,
            local_port: finding.flow.0.local_port,
            damaged: finding.is_damaged(),
            line,
        });
        Ok(())
    }

    fn judged(&mut self, ktime_ns: u64, local_port: u16) {
        let tick = ktime_ns / TICK_NS;
        let mut last = self.slots.iter_mut().rev().take(SEARCHED);
        match last.find(|slot| slot.tick == tick && slot.local_port == local_port) {
            Some(slot) => slot.judged += 1,
            None => {
                if self.slots.len() >= SLOTS {
                    self.slots.pop_front();
                }
                self.slots.push_back(Slot {
                    tick,
                    judged: 1,
                    local_port,
                });
            }
        }
    }

    /// Notes how many events have been lost in all by now (nanoseconds of CLOCK_MONOTONIC). What
    /// is new since the last time may have been lost at any moment in between.
    pub fn note_lost(&mut self, now_ns: u64, lost: u64) {
        if lost <= self.lost {
            return;
        }
        let events = lost - self.lost;
        self.lost = lost;
        self.losses.push_back(Loss {
            seen_ns: now_ns,
            events,
        });
        if self.losses.len() > LOSSES
            && let Some(oldest) = self.losses.pop_front()
            && let Some(next) = self.losses.front_mut()
        {
            next.events += oldest.events;
        }
    }

    /// Findings on this port, or on any, at `since_ns` or later, in the order in which they came.
    pub fn findings(
        &self,
        since_ns: u64,
        local_port: Option<u16>,
    ) -> impl DoubleEndedIterator<Item = &Kept> {
        self.findings.iter().filter(move |kept| {
            kept.ktime_ns >= since_ns && local_port.is_none_or(|port| port == kept.local_port)
        })
    }

    /// Whether no finding that was dropped is of `since_ns` or later.
    #[must_use]
    pub fn reaches_back_to(&self, since_ns: u64) -> bool {
        self.dropped_ns.is_none_or(|dropped| dropped < since_ns)
    }

    /// Handshakes with a verdict on this port, or on any, since `since_ns`: at least. Those of the
    /// tenth of a second that it falls into are left out, and those that are forgotten.
    #[must_use]
    pub fn judged_since(&self, since_ns: u64, local_port: Option<u16>) -> u64 {
        let first = since_ns.div_ceil(TICK_NS);
        let slots = self.slots.iter().filter(|slot| {
            slot.tick >= first && local_port.is_none_or(|port| port == slot.local_port)
        });
        slots.map(|slot| u64::from(slot.judged)).sum()
    }

    /// Events that may have been lost since `since_ns`: at most.
    #[must_use]
    pub fn lost_since(&self, since_ns: u64) -> u64 {
        let losses = self.losses.iter();
        let losses = losses.filter(|loss| loss.seen_ns > since_ns + CLOCKS_APART_NS);
        losses.map(|loss| loss.events).sum()
    }

    /// Findings that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.findings.len()
    }

    /// Most that are kept.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Findings that were dropped to make room.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
#[path = "recent_tests.rs"]
mod tests;
