//! What was done to connections on purpose and what was reported of it, as the laboratory's
//! answers have it.

use serde::{Deserialize, Serialize};

/// One thing that was done, on one kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Provoked {
    /// The cause that it brings about, or that it only looks like.
    pub cause: String,
    /// Whether it only looks like it.
    pub near_miss: bool,
    /// In words.
    pub done: String,
    /// What must be reported.
    pub expected: Verdict,
    /// What was reported, each answer once.
    pub reported: Vec<Reported>,
    /// Connections to which it was done.
    pub of: usize,
    /// Why what must be reported is not that cause.
    pub because: Option<String>,
}

/// A verdict and its cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// `ok`, `mismatch`, `scale_lost` or `unverified`.
    pub verdict: String,
    /// None for `ok`.
    pub cause: Option<String>,
}

/// What was reported.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reported {
    /// The verdict and its cause.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Shift count in the SYN+ACK.
    pub advertised: Option<u8>,
    /// Shift count of the socket.
    pub used: Option<u8>,
    /// Of how many connections.
    pub count: usize,
}

impl Provoked {
    /// Whether every connection was reported as it must be.
    pub fn is_right(&self) -> bool {
        let count: usize = self.reported.iter().map(|answer| answer.count).sum();
        let mut verdicts = self.reported.iter().map(|answer| &answer.verdict);
        count == self.of && verdicts.all(|verdict| *verdict == self.expected)
    }

    /// What was reported, in words.
    pub fn said(&self) -> String {
        let answers: Vec<_> = self
            .reported
            .iter()
            .map(|answer| {
                if (answer.count, self.of) == (1, 1) {
                    answer.to_string()
                } else {
                    format!("{} of {}: {answer}", answer.count, self.of)
                }
            })
            .collect();
        if answers.is_empty() {
            return format!("nothing of {}", self.of);
        }
        answers.join("; ")
    }
}

impl std::fmt::Display for Reported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Verdict { verdict, cause } = &self.verdict;
        write!(f, "{verdict}")?;
        if let Some(cause) = cause {
            write!(f, ": {cause}")?;
        }
        // Without a verdict nothing is said of shift counts.
        if verdict == "unverified" {
            return Ok(());
        }
        let shift = |shift: Option<u8>| shift.map_or("none".to_owned(), |shift| shift.to_string());
        write!(f, ", {} → {}", shift(self.advertised), shift(self.used))
    }
}
