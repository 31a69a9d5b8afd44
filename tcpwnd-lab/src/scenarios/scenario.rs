//! What a scenario is.

use anyhow::Result;

use super::bench::Bench;

/// A scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What must be reported.
    pub about: &'static str,
    /// Whether it provokes causes, for the table of them.
    pub causes: bool,
    /// Whether it is about kernels of its own, and is played only when it is named.
    pub elsewhere: bool,
    /// Plays it, and returns what was seen, in one line.
    pub play: fn(&Bench) -> Result<String>,
}

pub const fn scenario(
    name: &'static str,
    about: &'static str,
    play: fn(&Bench) -> Result<String>,
) -> Scenario {
    Scenario {
        name,
        about,
        causes: false,
        elsewhere: false,
        play,
    }
}

impl Scenario {
    /// The same as one about kernels of its own.
    pub const fn elsewhere(self) -> Self {
        Self {
            elsewhere: true,
            ..self
        }
    }

    /// The same as one that provokes causes.
    pub const fn of_causes(self) -> Self {
        Self {
            causes: true,
            ..self
        }
    }
}
