//! The gate: everything that must hold before a change is taken.
//!
//! The last line says how many checks passed and failed, so that a run of nothing is seen.

use std::io::{BufRead, BufReader, Write};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use crate::build::{self, cargo};
use crate::deploy;
use crate::docs;
use crate::kernels::{Source, TABLE};
use crate::lint;
use crate::paths;
use crate::setup;
use crate::vm::results::{Results, Tally};
use crate::vm::test::{Caps, DEFAULT_TIMEOUT, Mechanism, Run, run_all};

/// The kernels on which the gate runs every scenario: the oldest, with the bug, and the newest.
const GATE_KERNELS: [&str; 2] = ["5.10-affected", "newest"];

/// The scenario that the gate runs on the others.
const SMOKE: &str = "smoke";

/// Seconds that one kernel's part of the full matrix may take.
const FULL_TIMEOUT: u64 = 5400;

/// How much is tested.
#[derive(Args)]
pub struct Options {
    /// Every scenario on every kernel, with either mechanism and with the service's capabilities
    /// alone; writes the matrix to docs/kernels.md
    #[arg(long)]
    full: bool,
}

/// Runs the gate.
///
/// # Errors
///
/// When set-up fails or something cannot be run at all; what does not hold is no error.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let begin = Instant::now();
    let kernels: Vec<_> = TABLE.iter().collect();
    let missing = step("set-up", || setup::ensure(&kernels, false))?;
    let mut tally = Tally::default();
    for lint in lint::all() {
        let name = lint.name;
        let passed = step(name, || lint.passes());
        if !passed {
            eprintln!("FAILED: {name}");
        }
        tally.count(passed);
    }
    tally.add(step("unit tests", unit_tests)?);
    tally.add(step("deploy", deploy::check));
    let results = match step("build", build::run) {
        Ok(binaries) => {
            let seconds = if options.full {
                FULL_TIMEOUT
            } else {
                DEFAULT_TIMEOUT
            };
            let timeout = Duration::from_secs(seconds);
            let runs = runs(options.full);
            step("scenarios", || run_all(runs, &missing, &binaries, timeout))
        }
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            Results::default()
        }
    };
    if results.tally().passed + results.tally().failed == 0 {
        eprintln!("FAILED: no scenario ran");
        tally.count(false);
    }
    tally.add(results.tally());
    println!("{}", results.matrix());
    if options.full {
        docs::write_matrix(&results)?;
    }
    eprintln!("took {} s", begin.elapsed().as_secs());
    println!("{tally}");
    Ok(if tally.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Says what is done and how long it took.
fn step<T>(name: &str, work: impl FnOnce() -> T) -> T {
    eprintln!("== {name}");
    let begin = Instant::now();
    let result = work();
    eprintln!("== {name}: {:.1} s", begin.elapsed().as_secs_f64());
    result
}

/// The gate's boots, or all of the matrix.
fn runs(full: bool) -> Vec<Run> {
    let mut runs = Vec::new();
    for kernel in TABLE {
        let every = full || GATE_KERNELS.contains(&kernel.name);
        let run = |mechanism, caps| Run {
            kernel,
            mechanism,
            caps,
            scenarios: if every {
                Vec::new()
            } else {
                vec![SMOKE.to_owned()]
            },
            full,
        };
        runs.push(run(Mechanism::Fentry, Caps::All));
        if full {
            runs.push(run(Mechanism::Kprobe, Caps::All));
            // What the service's capabilities are good for is a matter of stock kernels.
            if kernel.source != Source::Affected {
                runs.push(run(Mechanism::Fentry, Caps::Service));
            }
        }
    }
    // The long ones first: two run at a time.
    runs.sort_by_key(|run| !run.scenarios.is_empty());
    runs
}

/// Runs the unit tests and counts what cargo says of each crate.
fn unit_tests() -> anyhow::Result<Tally> {
    let mut child = cargo(&paths::workspace())
        .args(["test", "--no-fail-fast"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo test")?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            writeln!(std::io::stderr(), "{line}")?;
            tally.add(counts_of(&line).unwrap_or_default());
        }
    }
    // A crate that does not build counts no tests; cargo's exit code tells.
    if !child.wait()?.success() && tally.failed == 0 {
        tally.count(false);
    }
    Ok(tally)
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; …`
fn counts_of(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let count = |what: &str| {
        let words = counts
            .split(';')
            .find_map(|part| part.trim().strip_suffix(what));
        words.and_then(|number| number.trim().parse().ok())
    };
    Some(Tally {
        passed: count(" passed")?,
        failed: count(" failed")?,
        skipped: count(" ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::{counts_of, runs};
    use crate::kernels::TABLE;

    #[test]
    fn counts_of_cargo_test() {
        let line =
            "test result: FAILED. 11 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out";
        let tally = counts_of(line).unwrap();
        assert_eq!((tally.passed, tally.failed, tally.skipped), (11, 2, 1));
        assert!(counts_of("test vm::x ... ok").is_none());
    }

    #[test]
    fn the_gate_leaves_no_kernel_out() {
        assert_eq!(runs(false).len(), TABLE.len());
        assert_eq!(runs(true).len(), 3 * TABLE.len() - 1);
        assert!(runs(true).iter().all(|run| run.scenarios.is_empty()));
        assert_eq!(
            runs(false)
                .iter()
                .filter(|run| run.scenarios.is_empty())
                .count(),
            2
        );
    }
}
