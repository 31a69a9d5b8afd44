//! Changes of state that none of the programs saw: what the kernel did not show to the first one
//! (`__bpf_trace_run`, kernel/trace/bpf_trace.c, 6.1 to 7.3), less what the others saw of it.
//!
//! Constraint: a change counts only if it was missed while all of them were attached, and for good.
//! The two numbers cannot be read at once, and a change lies between them for as long as its
//! programs run.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often both numbers are read before a change counts as unseen.
const READINGS: usize = 3;

/// What the kernel and the programs say.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Runs of the first program that were skipped.
    pub missed: u64,
    /// Changes that another one handled in its place; read after `missed`.
    pub stood_in: u64,
}

impl Reading {
    const fn excess(self) -> u64 {
        self.missed.saturating_sub(self.stood_in)
    }
}

/// So many were there until now.
#[derive(Debug, Default)]
pub struct Unseen {
    /// While the programs were being attached one after the other.
    before: u64,
    most: AtomicU64,
    end: Option<Option<u64>>,
}

impl Unseen {
    /// Begins to count: all programs are attached.
    pub fn begin(&mut self, read: impl Fn() -> Option<Reading>) {
        self.before = read().map_or(0, Reading::excess);
    }

    /// Ends it: the programs are about to be taken off one after the other.
    pub fn end(&mut self, read: impl Fn() -> Option<Reading>) {
        if self.end.is_none() {
            self.end = Some(self.count(read));
        }
    }

    /// The number, which never goes back; `None` where the kernel does not tell.
    pub fn count(&self, read: impl Fn() -> Option<Reading>) -> Option<u64> {
        if let Some(end) = self.end {
            return end;
        }
        let mut least = self.beyond(read()?);
        for _ in 1..READINGS {
            if least <= self.most.load(Ordering::Relaxed) {
                break;
            }
            least = least.min(self.beyond(read()?));
        }
        Some(self.most.fetch_max(least, Ordering::Relaxed).max(least))
    }

    const fn beyond(&self, reading: Reading) -> u64 {
        reading.excess().saturating_sub(self.before)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::{Reading, Unseen};

    /// Answers one after the other.
    fn of(numbers: &[(u64, u64)]) -> impl Fn() -> Option<Reading> {
        let left = RefCell::new(numbers.iter().copied());
        move || {
            let (missed, stood_in) = left.borrow_mut().next()?;
            Some(Reading { missed, stood_in })
        }
    }

    #[test]
    fn what_another_program_is_about_to_see_is_not_unseen() {
        let unseen = Unseen::default();
        assert_eq!(unseen.count(of(&[(8, 7), (8, 7), (8, 8)])), Some(0));
        assert_eq!(unseen.count(of(&[(9, 8), (9, 8), (9, 8)])), Some(1));
    }

    #[test]
    fn the_number_never_goes_back() {
        let unseen = Unseen::default();
        assert_eq!(unseen.count(of(&[(9, 7), (9, 7), (9, 7)])), Some(2));
        assert_eq!(unseen.count(of(&[(9, 8)])), Some(2));
        assert_eq!(unseen.count(of(&[(10, 7), (10, 7), (10, 7)])), Some(3));
    }

    #[test]
    fn only_what_was_missed_between_beginning_and_end_counts() {
        let mut unseen = Unseen::default();
        unseen.begin(of(&[(2, 0)]));
        assert_eq!(unseen.count(of(&[(5, 3)])), Some(0));
        unseen.end(of(&[(6, 3), (6, 3), (6, 3)]));
        assert_eq!(unseen.count(of(&[(99, 0), (99, 0), (99, 0)])), Some(1));
        unseen.end(of(&[(99, 0), (99, 0), (99, 0)]));
        assert_eq!(unseen.count(of(&[])), Some(1));
    }

    #[test]
    fn where_the_kernel_does_not_tell_there_is_no_number() {
        let mut unseen = Unseen::default();
        unseen.begin(of(&[]));
        assert_eq!(unseen.count(of(&[])), None);
        unseen.end(of(&[]));
        assert_eq!(unseen.count(of(&[(1, 0)])), None);
    }
}
