//! How many lines of one sort the log gets: so many a minute for each listener and cause, and one
//! that says how many more there were.
//!
//! Constraint: bounded, and counts what it holds back. Only the log is held back; metrics, the
//! findings page and verdicts are not.

use std::collections::BTreeMap;

use serde::Serialize;
use tcpwnd_core::Verdict;

/// Lines of one sort in a minute, unless the user says otherwise.
pub const DEFAULT_LIMIT: u32 = 60;

/// Nanoseconds of CLOCK_MONOTONIC after which a sort may have lines again.
const MINUTE_NS: u64 = 60_000_000_000;

/// Sorts that are told apart; the rest is one more.
const SORTS: usize = 1024;

/// The port that stands for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Port {
    /// Of this host, which accepts.
    #[serde(rename = "local_port")]
    Local(u16),
    /// Of the peer, to which this host connects.
    #[serde(rename = "remote_port")]
    Remote(u16),
}

/// What lines have in common that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Sort {
    /// Port of the listener, or the one that connections opened here lead to; 0 for those that are
    /// not told apart.
    #[serde(flatten)]
    pub port: Port,
    /// Kind of the line, as in JSON.
    pub of: &'static str,
    /// The verdict, of a handshake.
    pub verdict: Option<&'static str>,
    /// Its cause.
    pub cause: Option<&'static str>,
}

impl Sort {
    const REST: Self = Self {
        port: Port::Local(0),
        of: "other",
        verdict: None,
        cause: None,
    };

    /// The same of connections that this host opened to the port.
    #[must_use]
    pub const fn opened(self) -> Self {
        let (Port::Local(port) | Port::Remote(port)) = self.port;
        Self {
            port: Port::Remote(port),
            ..self
        }
    }

    /// Handshakes with this verdict on this port.
    #[must_use]
    pub const fn handshake(local_port: u16, verdict: Verdict) -> Self {
        Self {
            port: Port::Local(local_port),
            of: tcpwnd_core::Finding::KIND,
            verdict: Some(verdict.name()),
            cause: verdict.cause(),
        }
    }

    /// Ends of damaged connections on this port.
    #[must_use]
    pub const fn closed(local_port: u16) -> Self {
        Self {
            port: Port::Local(local_port),
            of: tcpwnd_core::ClosedFlow::KIND,
            verdict: None,
            cause: None,
        }
    }
}

/// Lines of one sort that were held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Which.
    #[serde(flatten)]
    pub sort: Sort,
    /// How many.
    pub lines: u64,
}

impl Report {
    /// Kind of the line.
    pub const KIND: &'static str = "held_back";
}

#[derive(Clone, Copy, Debug)]
struct Minute {
    begun_ns: u64,
    written: u32,
    held_back: u64,
}

/// What the log may have.
#[derive(Debug)]
pub struct HeldBack {
    limit: u32,
    sorts: BTreeMap<Sort, Minute>,
    total: u64,
}

impl HeldBack {
    /// Lets `limit` lines of a sort through a minute; all with 0.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self {
            limit,
            sorts: BTreeMap::new(),
            total: 0,
        }
    }

    /// Whether a line may be written now, nanoseconds of CLOCK_MONOTONIC; else it is counted.
    pub fn admits(&mut self, now_ns: u64, sort: Sort) -> bool {
        if self.limit == 0 {
            return true;
        }
        let known = self.sorts.len() < SORTS || self.sorts.contains_key(&sort);
        let sort = if known { sort } else { Sort::REST };
        let minute = self.sorts.entry(sort).or_insert(Minute {
            begun_ns: now_ns,
            written: 0,
            held_back: 0,
        });
        if minute.written < self.limit {
            minute.written += 1;
            return true;
        }
        minute.held_back += 1;
        self.total += 1;
        false
    }

    /// What was held back in minutes that are over; those sorts may have lines again.
    pub fn due(&mut self, now_ns: u64) -> Vec<Report> {
        self.end(|minute| now_ns.saturating_sub(minute.begun_ns) >= MINUTE_NS)
    }

    /// Everything that was held back and not told yet.
    pub fn rest(&mut self) -> Vec<Report> {
        self.end(|_| true)
    }

    /// Lines that were held back so far.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    fn end(&mut self, over: impl Fn(&Minute) -> bool) -> Vec<Report> {
        let ended = self.sorts.extract_if(.., |_, minute| over(minute));
        let reports = ended.map(|(sort, minute)| Report {
            sort,
            lines: minute.held_back,
        });
        reports.filter(|report| report.lines > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use tcpwnd_core::{MismatchCause, Verdict};

    use super::{HeldBack, MINUTE_NS, Report, SORTS, Sort};

    fn mismatch(port: u16) -> Sort {
        Sort::handshake(port, Verdict::Mismatch(MismatchCause::Unknown))
    }

    #[test]
    fn each_listener_and_cause_has_its_own_minute() {
        let mut held = HeldBack::new(2);
        let other = Verdict::Mismatch(MismatchCause::CookieIgnoredRcvbuf);
        for sort in [
            mismatch(9092),
            mismatch(9093),
            Sort::handshake(9092, other),
            Sort::closed(9092),
        ] {
            let admitted: Vec<_> = (0..5).map(|now| held.admits(now, sort)).collect();
            assert_eq!(admitted, [true, true, false, false, false], "{sort:?}");
        }
        assert_eq!(held.total(), 12);
    }

    #[test]
    fn what_was_held_back_is_told_once_and_then_there_is_room_again() {
        let mut held = HeldBack::new(1);
        for now in 0..4 {
            held.admits(now, mismatch(9092));
        }
        held.admits(0, mismatch(9093));
        assert_eq!(held.due(MINUTE_NS - 1), []);
        let told = Report {
            sort: mismatch(9092),
            lines: 3,
        };
        assert_eq!(held.due(MINUTE_NS), [told]);
        assert_eq!(held.due(MINUTE_NS), []);
        assert!(held.admits(MINUTE_NS, mismatch(9092)));
        assert!(!held.admits(MINUTE_NS, mismatch(9092)));
        assert_eq!(held.rest(), [Report { lines: 1, ..told }]);
        assert_eq!((held.rest(), held.total()), (Vec::new(), 4));
    }

    #[test]
    fn sorts_are_bounded_and_nothing_goes_uncounted() {
        let mut held = HeldBack::new(1);
        let lines = 3 * SORTS as u64;
        let ports = (0..lines).map(|port| u16::try_from(port).unwrap());
        let written = ports.filter(|port| held.admits(0, mismatch(*port))).count() as u64;
        assert_eq!(held.sorts.len(), SORTS + 1);
        assert_eq!(written + held.total(), lines);
        let told: u64 = held.rest().iter().map(|report| report.lines).sum();
        assert_eq!(told, held.total());
    }

    #[test]
    fn connections_opened_to_a_port_are_another_sort_than_those_accepted_on_it() {
        let mut held = HeldBack::new(1);
        assert!(held.admits(0, mismatch(9092)));
        assert!(held.admits(0, mismatch(9092).opened()));
        assert!(!held.admits(0, mismatch(9092).opened()));
        let told = serde_json::to_value(held.rest()).unwrap();
        assert_eq!(
            told,
            serde_json::json!([{
                "remote_port": 9092, "of": "handshake", "verdict": "mismatch", "cause": "unknown",
                "lines": 1
            }])
        );
        let server = serde_json::to_value(mismatch(9092)).unwrap();
        assert_eq!(server["local_port"], 9092);
    }

    #[test]
    fn no_limit_holds_nothing_back() {
        let mut held = HeldBack::new(0);
        assert!((0..10_000).all(|now| held.admits(now, mismatch(9092))));
        assert_eq!((held.total(), held.rest()), (0, Vec::new()));
    }
}
