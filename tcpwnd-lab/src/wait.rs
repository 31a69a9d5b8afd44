//! Waiting for conditions instead of for time.
//!
//! Constraint: nothing in the laboratory sleeps in the hope that something has happened
//! meanwhile; emulated machines are up to fifty times slower than real ones.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a condition may take before the scenario gives up, unless it says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Interval between two looks at a condition.
const INTERVAL: Duration = Duration::from_millis(2);

/// Waits until `look` returns something, and returns that.
///
/// # Errors
/// When nothing came within `patience` (the message names `what`), or when `look` failed.
pub fn until<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > patience {
            bail!("waited {} s in vain for {what}", patience.as_secs());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Waits until `holds` is true.
///
/// # Errors
/// As [`until`].
pub fn until_true(
    patience: Duration,
    what: &str,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<()> {
    until(patience, what, || Ok(holds()?.then_some(())))
}
