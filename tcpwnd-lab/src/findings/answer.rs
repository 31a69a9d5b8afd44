//! What `/api/v1/findings` answers, as far as the scenarios look at it.
//!
//! Constraint: as above, written from the documents.

use serde::Deserialize;

use super::{Flow, Line};

/// What `/api/v1/findings` of `tcpwnd run` answers.
#[derive(Debug, Clone, Deserialize)]
pub struct Answer {
    /// `clean`, `healed`, `damaged` or `inconclusive`.
    pub verdict: String,
    /// What keeps it from being conclusive.
    pub reasons: Vec<Reason>,
    /// When it was given.
    pub now: String,
    /// Handshakes with a verdict since the time that was asked about.
    pub handshakes_judged: u64,
    /// Damaged connections that are open.
    pub damaged_open: u64,
    /// What was found since then.
    pub findings: Vec<Line>,
    /// What a former agent found; `None` without a state file.
    pub carried_over: Option<CarriedOver>,
}

/// What a former agent found.
#[derive(Debug, Clone, Deserialize)]
pub struct CarriedOver {
    /// Those that nobody could look for.
    pub unchecked: u64,
    /// Those that are open.
    pub connections: Vec<Carried>,
}

/// An open damaged connection that a former agent found.
#[derive(Debug, Clone, Deserialize)]
pub struct Carried {
    /// Which one.
    pub flow: Flow,
}

/// What keeps an answer from being conclusive.
#[derive(Debug, Clone, Deserialize)]
pub struct Reason {
    /// Its name.
    pub code: String,
}
