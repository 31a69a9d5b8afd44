//! What watching costs, measured on a machine whose clock counts executed instructions (a nanosecond
//! each), so that the same work gives the same figures whatever the machine around it does.
//!
//! Constraint: nothing is asserted about a cost. What is asserted is that the work was done: that the
//! agent judged every handshake that was made, and lost none.

mod batches;
mod handshakes;
mod memory;
mod programs;
mod records;
mod script;
mod start;
mod storm;
mod transfers;
mod watcher;

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;

use handshakes::Path;
use watcher::Watcher;

/// For how long the kernel is left alone first.
const AFTER_BOOT: Duration = Duration::from_secs(20);

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Instructions for a passive handshake.
    Handshakes,
    /// Instructions for hooks whose programs do nothing.
    Mechanisms,
    /// Instructions for data with nothing to watch, and with one connection of 1,000 under watch.
    Transfers,
    /// Instructions for each segment to a half-closed connection.
    HalfClosed,
    /// Records for measuring what becomes of them.
    Records,
    /// 18,000 clients that come back all at once; nothing to count instructions of.
    Storm,
    /// Time from start to ready.
    Start,
    /// Memory of the agent and of its maps.
    Memory,
}

/// Measures these parts, by these watchers, or all of them where none is named; each figure is a JSON
/// object on a line of its own.
///
/// # Errors
/// When the work cannot be done, or the agent does not see all of it.
pub fn run(parts: &[Part], only: &[String]) -> Result<()> {
    // One more thread, whoever watches: where threads share their descriptors, the kernel takes a reference
    // to the file of each call (__fget_light, fs/file.c), and reading the agent's output takes threads.
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    // The kernel has work of its own after a boot; nothing says when that is done. This clock jumps.
    std::thread::sleep(AFTER_BOOT);
    let chosen = |watchers: &[Watcher]| -> Vec<Watcher> {
        let is_asked_for = |name| only.is_empty() || only.iter().any(|only| only == name);
        let chosen = watchers
            .iter()
            .filter(|at| at.is_here() && is_asked_for(at.name()));
        chosen.copied().collect()
    };
    for part in parts {
        match part {
            Part::Handshakes => {
                let all = [Watcher::CAPTURES, Watcher::SCRIPTS].concat();
                let watchers = chosen(&all);
                let works = [(Path::Normal, "normal"), (Path::Cookie, "cookie")];
                handshakes::measure(&works, &watchers)?;
            }
            // The same work by another name: what another boot measured is not compared with it.
            Part::Mechanisms => {
                handshakes::measure(&[(Path::Normal, "hook")], &chosen(Watcher::HOOKS))?;
            }
            Part::Transfers => {
                transfers::nothing_to_watch(&chosen(Watcher::CAPTURES))?;
                transfers::one_watched()?;
            }
            Part::HalfClosed => {
                transfers::half_closed(&chosen(Watcher::CAPTURES))?;
                transfers::half_closed(&chosen(&Watcher::HOOKS[..2]))?;
            }
            Part::Records => records::record()?,
            Part::Storm => storm::measure()?,
            Part::Start => start::measure(&chosen(Watcher::STARTS))?,
            Part::Memory => memory::measure()?,
        }
    }
    Ok(())
}

/// Prints a figure.
fn tell(figure: &Value) {
    println!("{figure}");
}
