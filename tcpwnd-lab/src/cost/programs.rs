//! What the kernel counts of BPF programs while `kernel.bpf_stats_enabled` is on, and of maps.
//!
//! Constraint: asks bpftool only, so that every watcher is asked in the same way.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::net::output;

/// What a program has done since it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name, of which old kernels keep 15 letters.
    pub name: String,
    /// How often it ran.
    pub runs: u64,
    /// For how long in all, in nanoseconds: instructions, where the clock counts those.
    pub nanoseconds: u64,
    /// Runs that the kernel skipped (`recursion_misses`).
    pub skipped: u64,
}

/// Every program of this machine, by its number.
///
/// # Errors
/// When bpftool fails.
pub fn programs() -> Result<BTreeMap<u64, Program>> {
    let mut programs = BTreeMap::new();
    for object in list("prog")? {
        let number = |name: &str| object[name].as_u64().unwrap_or(0);
        let program = Program {
            name: object["name"].as_str().unwrap_or_default().to_owned(),
            runs: number("run_cnt"),
            nanoseconds: number("run_time_ns"),
            skipped: number("recursion_misses"),
        };
        programs.insert(number("id"), program);
    }
    Ok(programs)
}

/// What the programs that are in both have done in between, without those that did nothing.
#[must_use]
pub fn since(before: &BTreeMap<u64, Program>, after: BTreeMap<u64, Program>) -> Vec<Program> {
    let done = after.into_iter().filter_map(|(id, program)| {
        let old = before.get(&id)?;
        Some(Program {
            runs: program.runs - old.runs,
            nanoseconds: program.nanoseconds - old.nanoseconds,
            skipped: program.skipped - old.skipped,
            ..program
        })
    });
    done.filter(|program| program.runs + program.skipped > 0)
        .collect()
}

/// A map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Its name, of which the kernel keeps 15 letters.
    pub name: String,
    /// Most entries.
    pub entries: u64,
    /// Memory that the kernel says it takes, in bytes.
    pub bytes: u64,
}

/// Every map of this machine, the largest first.
///
/// # Errors
/// When bpftool fails.
pub fn maps() -> Result<Vec<Map>> {
    let map = |object: Value| Map {
        name: object["name"].as_str().unwrap_or_default().to_owned(),
        entries: object["max_entries"].as_u64().unwrap_or(0),
        bytes: object["bytes_memlock"].as_u64().unwrap_or(0),
    };
    let mut maps: Vec<_> = list("map")?.into_iter().map(map).collect();
    maps.sort_by_key(|map| std::cmp::Reverse(map.bytes));
    Ok(maps)
}

fn list(kind: &str) -> Result<Vec<Value>> {
    let text = output(&format!("bpftool -j {kind} show"))?;
    serde_json::from_str(text.trim()).with_context(|| format!("bpftool {kind} printed no list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(runs: u64, nanoseconds: u64) -> Program {
        Program {
            name: "p".to_owned(),
            runs,
            nanoseconds,
            skipped: 0,
        }
    }

    #[test]
    fn only_what_was_done_in_between_counts() {
        let before = BTreeMap::from([(1, program(10, 100)), (2, program(7, 70))]);
        let after = BTreeMap::from([
            (1, program(12, 130)),
            (2, program(7, 70)),
            (3, program(9, 90)),
        ]);
        assert_eq!(since(&before, after), [program(2, 30)]);
    }
}
