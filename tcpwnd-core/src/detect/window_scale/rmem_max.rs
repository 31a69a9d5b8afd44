//! What `net.core.rmem_max` was and when, from readings now and then.
//!
//! The programs cannot read it: it is a variable of the kernel, whose address only a process with
//! CAP_SYSLOG may know. Constraint: what it was between two readings that differ is not known, and
//! both values are given. A value that came and went between two readings is never seen.

use std::collections::VecDeque;

/// Values that are remembered; older ones are forgotten.
const LIMIT: usize = 32;

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RmemMax {
    /// When it was read, nanoseconds of CLOCK_MONOTONIC.
    pub ktime_ns: u64,
    /// The value, bytes.
    pub bytes: u32,
}

/// A value, with the first and the last time at which it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first_ns: u64,
    last_ns: u64,
    bytes: u32,
}

/// The readings so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RmemMaxHistory {
    spans: VecDeque<Span>,
}

impl RmemMaxHistory {
    /// Takes in a reading; they come in the order of their times.
    pub fn add(&mut self, reading: RmemMax) {
        match self.spans.back_mut() {
            Some(span) if span.bytes == reading.bytes => span.last_ns = reading.ktime_ns,
            _ => {
                if self.spans.len() == LIMIT {
                    self.spans.pop_front();
                }
                self.spans.push_back(Span {
                    first_ns: reading.ktime_ns,
                    last_ns: reading.ktime_ns,
                    bytes: reading.bytes,
                });
            }
        }
    }

    /// When it was last read; `None` when it never was.
    pub(crate) fn last_ns(&self) -> Option<u64> {
        self.spans.back().map(|span| span.last_ns)
    }

    /// The value that it had at a moment, where it can have had but one.
    pub(crate) fn known_at(&self, ktime_ns: u64) -> Option<u32> {
        let mut values = self.at(ktime_ns);
        let (_, only) = values.next()?;
        values.next().is_none().then_some(only)
    }

    /// Every pair of values that it can have had at two moments, the earlier one first; none when
    /// a moment lies outside of what was read.
    pub(super) fn pairs(&self, then_ns: u64, now_ns: u64) -> Vec<(u32, u32)> {
        let (then, now) = (self.at(then_ns), self.at(now_ns));
        let mut pairs = Vec::new();
        for (i, earlier) in then {
            for (j, later) in now.clone() {
                if i <= j {
                    pairs.push((earlier, later));
                }
            }
        }
        pairs
    }

    /// The values that it can have had, with their place in the order of time.
    fn at(&self, ktime_ns: u64) -> impl Iterator<Item = (usize, u32)> + Clone {
        let covered = self.spans.front().is_some_and(|s| s.first_ns <= ktime_ns)
            && self.spans.back().is_some_and(|s| ktime_ns <= s.last_ns);
        self.spans
            .iter()
            .enumerate()
            .filter(move |(i, _)| {
                // It can have begun right after the last reading of the value before, and have
                // ended right before the first of the next.
                let after = *i == 0 || self.spans[i - 1].last_ns < ktime_ns;
                let before = self
                    .spans
                    .get(i + 1)
                    .is_none_or(|next| ktime_ns < next.first_ns);
                covered && after && before
            })
            .map(|(i, span)| (i, span.bytes))
    }
}
