//! The same work some times over, and what each time took.

use std::io;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::programs::{programs, since};
use super::tell;
use crate::net::Changed;

/// How many batches there are, to see how much they differ.
pub const BATCHES: usize = 5;

/// What something took in each batch, in nanoseconds for each of its items: instructions, where the clock
/// counts those.
pub struct Taken {
    /// Of the thread that does the work: the kernel's part of it included, with all programs.
    pub thread: Vec<f64>,
    /// Of the whole machine: what the watcher does with what it is told, too.
    pub all: Vec<f64>,
}

/// Does some work [`BATCHES`] times, each of so many items.
///
/// # Errors
/// What `work` returns.
pub fn measure(items: f64, mut work: impl FnMut() -> Result<()>) -> Result<Taken> {
    let (mut thread, mut all) = (Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        let begin = [libc::CLOCK_THREAD_CPUTIME_ID, libc::CLOCK_MONOTONIC].map(now);
        work()?;
        let end = [libc::CLOCK_THREAD_CPUTIME_ID, libc::CLOCK_MONOTONIC].map(now);
        thread.push((end[0] - begin[0]).as_nanos() as f64 / items);
        all.push((end[1] - begin[1]).as_nanos() as f64 / items);
    }
    Ok(Taken { thread, all })
}

/// Does the work of this name once more while the kernel counts programs, and tells what it counted.
///
/// # Errors
/// What `work` returns, and when bpftool fails.
pub fn count_programs(
    watcher: &str,
    name: &str,
    items: f64,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let _counting = Changed::new("kernel/bpf_stats_enabled", "1")?;
    let before = programs()?;
    work()?;
    for program in since(&before, programs()?) {
        tell(&json!({
            "figure": "program", "watcher": watcher, "work": name, "program": program.name,
            "items": items, "runs": program.runs, "instructions": program.nanoseconds,
            "skipped": program.skipped,
        }));
    }
    Ok(())
}

/// A clock of the kernel's.
fn now(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to what the call fills, and outlives it. The two clocks are always there.
    let done = unsafe { libc::clock_gettime(clock, &raw mut time) };
    debug_assert_eq!(done, 0, "{}", io::Error::last_os_error());
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
