//! The scenarios: each makes connections, some of them damaged, and checks what the agent says of
//! them, and what it does not say, against witnesses on the other side of the wire.
//!
//! Constraint: a scenario leaves the machine as it found it, and waits for conditions only.

mod bench;
mod cookies;
mod laboratory;
mod ordinary;
mod rcvbuf_raised;
mod run;
mod smoke;
mod stage;

pub use bench::{Bench, Unsupported};
pub use run::{Format, run};

use anyhow::Result;

/// How often a scenario runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// With every test.
    Gate,
    /// With `cargo xtask test --full`.
    Full,
}

/// A scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What must be reported.
    pub about: &'static str,
    /// How often it runs.
    pub depth: Depth,
    /// Plays it, and returns what was seen, in one line.
    pub play: fn(&Bench) -> Result<String>,
}

const fn gate(
    name: &'static str,
    about: &'static str,
    play: fn(&Bench) -> Result<String>,
) -> Scenario {
    Scenario {
        name,
        about,
        depth: Depth::Gate,
        play,
    }
}

/// Every scenario, in the order in which they run.
pub const ALL: &[Scenario] = &[
    gate(
        "laboratory",
        "the witnesses agree with each other (no agent)",
        laboratory::play,
    ),
    gate(
        "smoke",
        "sound handshakes are ok, an induced mismatch is found",
        smoke::play,
    ),
    gate(
        "ordinary",
        "300 handshakes over v4, v6 and v4 on dual stack are ok",
        ordinary::play,
    ),
    gate(
        "cookies",
        "the same by cookie: ok, or 1 to 7 on the affected kernel",
        cookies::play,
    ),
    gate(
        "rcvbuf_raised",
        "SO_RCVBUF raised before the cookie's ACK: mismatch, the peer's window is right",
        rcvbuf_raised::play,
    ),
];
