//! What is done to connections on purpose, and what tcpwnd says of them: the rows of the table of
//! causes in docs/detection.md.
//!
//! Constraint: a row has what was reported, and is noted before that is compared with what must be
//! reported. Where no cause can be named, or this kernel makes nothing of it, the row says why.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::bench::Bench;
use crate::agent::Report;
use crate::findings::Handshake;

/// The cause of a mismatch of which the evidence shows no cause.
pub const UNKNOWN: &str = "unknown";

/// What must be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// No damage.
    Ok,
    /// A mismatch of this cause.
    Mismatch(&'static str),
    /// Scaling is lost, by this cause.
    ScaleLost(&'static str),
    /// No verdict, for this cause.
    Unverified(&'static str),
}

impl Expected {
    /// The verdict's name.
    #[must_use]
    pub const fn verdict(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Mismatch(_) => "mismatch",
            Self::ScaleLost(_) => "scale_lost",
            Self::Unverified(_) => "unverified",
        }
    }

    /// The cause, unless there is no damage.
    #[must_use]
    pub const fn cause(self) -> Option<&'static str> {
        match self {
            Self::Ok => None,
            Self::Mismatch(cause) | Self::ScaleLost(cause) | Self::Unverified(cause) => Some(cause),
        }
    }
}

/// Something that is done on purpose, and what must come of it in this kernel.
#[derive(Debug, Clone, Copy)]
pub struct Provocation {
    /// The cause that it brings about, or that it only looks like.
    cause: &'static str,
    near_miss: bool,
    /// In words.
    pub done: &'static str,
    path: &'static str,
    /// What must be reported.
    pub expected: Expected,
    because: Option<&'static str>,
}

impl Provocation {
    /// What brings about a mismatch of this cause, by cookie.
    #[must_use]
    pub const fn mismatch(cause: &'static str, done: &'static str) -> Self {
        Self::new(cause, done, Expected::Mismatch(cause), "cookie")
    }

    /// What brings about a loss of scaling by this cause, by cookie.
    #[must_use]
    pub const fn scale_lost(cause: &'static str, done: &'static str) -> Self {
        Self::new(cause, done, Expected::ScaleLost(cause), "cookie")
    }

    /// What leaves a connection without verdict for this cause, without a trace of how it came
    /// about.
    #[must_use]
    pub const fn unverified(cause: &'static str, done: &'static str) -> Self {
        Self::new(cause, done, Expected::Unverified(cause), "unknown")
    }

    /// What looks like this cause, by cookie, and must not be called so.
    #[must_use]
    pub const fn near_miss(cause: &'static str, done: &'static str, expected: Expected) -> Self {
        Self {
            near_miss: true,
            ..Self::new(cause, done, expected, "cookie")
        }
    }

    const fn new(
        cause: &'static str,
        done: &'static str,
        expected: Expected,
        path: &'static str,
    ) -> Self {
        Self {
            cause,
            near_miss: false,
            done,
            path,
            expected,
            because: None,
        }
    }

    /// The same on another path.
    #[must_use]
    pub const fn by(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    /// The same where something else comes of it, and why.
    #[must_use]
    pub const fn here(self, expected: Expected, because: &'static str) -> Self {
        Self {
            expected,
            because: Some(because),
            ..self
        }
    }

    /// The same where the evidence shows no cause, and why.
    #[must_use]
    pub const fn unknown(self, because: &'static str) -> Self {
        self.here(Expected::Mismatch(UNKNOWN), because)
    }

    /// Whether somebody who reads the row is owed a reason.
    fn wants_reason(&self) -> bool {
        let cause = self.expected.cause();
        cause == Some(UNKNOWN) || !self.near_miss && cause != Some(self.cause)
    }

    /// Whether nothing is called what it only looks like.
    fn is_sound(&self) -> bool {
        let named = self.near_miss && self.expected.cause() == Some(self.cause);
        !named && (self.because.is_some() || !self.wants_reason())
    }
}

/// A row of the table, on one kernel.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    cause: &'static str,
    near_miss: bool,
    done: &'static str,
    expected: Verdict,
    /// What was reported of the connections to which this was done, each answer once.
    reported: Vec<Reported>,
    /// How many connections those were.
    of: usize,
    because: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Verdict {
    verdict: String,
    cause: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Reported {
    #[serde(flatten)]
    verdict: Verdict,
    advertised: Option<u8>,
    used: Option<u8>,
    count: usize,
}

impl Reported {
    fn of(handshake: &Handshake) -> Self {
        Self {
            verdict: Verdict {
                verdict: handshake.verdict.clone(),
                cause: handshake.cause.clone(),
            },
            advertised: handshake.advertised(),
            used: handshake.used(),
            count: 1,
        }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        (self.advertised, self.used) == (other.advertised, other.used)
            && self.verdict == other.verdict
    }
}

impl Row {
    fn new(what: &Provocation, handshakes: &[&Handshake], of: usize) -> Self {
        let mut reported: Vec<Reported> = Vec::new();
        for handshake in handshakes {
            let answer = Reported::of(handshake);
            let same = |known: &&mut Reported| known.says_the_same(&answer);
            match reported.iter_mut().find(same) {
                Some(known) => known.count += 1,
                None => reported.push(answer),
            }
        }
        Self {
            cause: what.cause,
            near_miss: what.near_miss,
            done: what.done,
            expected: Verdict {
                verdict: what.expected.verdict().to_owned(),
                cause: what.expected.cause().map(str::to_owned),
            },
            reported,
            of,
            because: what.because,
        }
    }
}

/// The rows that a scenario has noted so far.
#[derive(Debug, Default)]
pub struct Rows(Mutex<Vec<Row>>);

impl Rows {
    /// Takes them away.
    pub fn take(&self) -> Vec<Row> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bench {
    /// Notes what was reported of the one connection to which this was done, and checks it.
    ///
    /// # Errors
    /// When it is not what must be reported.
    pub fn provoked(&self, what: &Provocation, reported: &Handshake) -> Result<()> {
        self.note(what, &[reported], 1)?;
        let expected = what.expected;
        reported.expect(expected.verdict(), what.path, expected.cause())
    }

    /// Notes what was reported of `count` connections, which must be all that were reported, and
    /// checks it.
    ///
    /// # Errors
    /// When it is not what must be reported.
    pub fn provoked_all(&self, what: &Provocation, count: usize, report: &Report) -> Result<()> {
        let handshakes: Vec<_> = report.handshakes.iter().collect();
        self.note(what, &handshakes, count)?;
        let expected = what.expected;
        report.expect_all(count, expected.verdict(), what.path, expected.cause())
    }

    /// The same of `count` connections among others.
    ///
    /// # Errors
    /// When it is not what must be reported.
    pub fn provoked_some(
        &self,
        what: &Provocation,
        count: usize,
        reported: &[&Handshake],
    ) -> Result<()> {
        self.note(what, reported, count)?;
        let expected = what.expected;
        for handshake in reported {
            handshake.expect(expected.verdict(), what.path, expected.cause())?;
        }
        let found = reported.len();
        ensure!(
            found == count,
            "{count} made, but {found} reported: {what:?}"
        );
        Ok(())
    }

    fn note(&self, what: &Provocation, handshakes: &[&Handshake], of: usize) -> Result<()> {
        let row = Row::new(what, handshakes, of);
        self.rows.lock().push(row);
        ensure!(
            what.is_sound(),
            "no reason is given, or a wrong one: {what:?}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(verdict: &str, cause: Option<&str>) -> Handshake {
        let line = serde_json::json!({
            "verdict": verdict, "cause": cause, "ignored": false,
            "role": "server", "path": "cookie",
            "outcome": "established",
            "flow": {
                "netns": 1, "ifindex": 0,
                "local": {"addr": "10.9.0.1", "port": 9092},
                "remote": {"addr": "10.9.0.2", "port": 40_000},
            },
            "listener": {
                "process": null, "cgroup": null, "container": null, "pod": null, "unit": null,
            },
            "receive": {
                "advertised": 9, "used": 13, "factor": 16.0, "damage": "too_small",
                "peer_window_bytes": 4096,
            },
            "send": null, "evidence": {"synack": null},
            "impact": {"srtt_us": null, "handshake_us": null, "ceiling_bytes_per_second": null},
        });
        serde_json::from_value(line).unwrap()
    }

    fn bench() -> Bench {
        Bench {
            launch: crate::agent::Launch {
                mechanism: crate::agent::Mechanism::Auto,
                transport: crate::agent::Transport::Auto,
                caps: crate::agent::Caps::All,
            },
            affected: false,
            rows: Rows::default(),
        }
    }

    /// The table is of use only if it shows what is wrong.
    #[test]
    fn a_row_has_what_was_reported_and_not_what_was_expected() {
        let bench = bench();
        let what = Provocation::mismatch("rcvbuf_changed", "SO_RCVBUF set");
        let wrong = handshake("mismatch", Some("tcp_rmem_changed"));
        assert!(bench.provoked(&what, &wrong).is_err());
        let [row] = &bench.rows.take()[..] else {
            panic!("not one row")
        };
        let row = serde_json::to_value(row).unwrap();
        let reported = serde_json::json!([{
            "verdict": "mismatch", "cause": "tcp_rmem_changed",
            "advertised": 9, "used": 13, "count": 1,
        }]);
        assert_eq!(row["reported"], reported);
        assert_eq!(row["expected"]["cause"], "rcvbuf_changed");
        assert!(bench.rows.take().is_empty());
    }

    #[test]
    fn equal_answers_are_counted() {
        let [one, other] = [
            handshake("ok", None),
            handshake("mismatch", Some("unknown")),
        ];
        let what = Provocation::near_miss("rcvbuf_changed", "nothing", Expected::Ok);
        let row = Row::new(&what, &[&one, &other, &one], 4);
        let counts: Vec<_> = row.reported.iter().map(|answer| answer.count).collect();
        assert_eq!((counts, row.of), (vec![2, 1], 4));
    }

    #[test]
    fn what_has_no_cause_owes_a_reason() {
        let what = Provocation::mismatch("rcvbuf_changed", "SO_RCVBUF set");
        assert!(what.is_sound());
        assert!(what.unknown("either leads there").is_sound());
        assert!(what.here(Expected::Ok, "it is ignored").is_sound());
        let silent = |expected| Provocation { expected, ..what };
        assert!(!silent(Expected::Ok).is_sound());
        let near = |expected| Provocation::near_miss("rcvbuf_changed", "nothing", expected);
        assert!(near(Expected::Ok).is_sound());
        assert!(!near(Expected::Mismatch(UNKNOWN)).is_sound());
        // That would be no near miss.
        assert!(!near(Expected::Mismatch("rcvbuf_changed")).is_sound());
    }
}
