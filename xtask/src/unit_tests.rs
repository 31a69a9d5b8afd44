//! The unit tests: `cargo test`, and what it leaves out.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use anyhow::Context;

use crate::build::cargo;
use crate::paths;
use crate::setup::prometheus;
use crate::vm::agent_tests;
use crate::vm::results::Tally;

/// The variable by which a test finds promtool (tcpwnd-agent/src/output/metrics_tests.rs).
const PROMTOOL: &str = "TCPWND_PROMTOOL";

/// How they ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UnitTests {
    /// Without those for VMs.
    pub tally: Tally,
    /// Names of tests that are to run in VMs.
    pub for_vms: Vec<String>,
    /// What was skipped for good: name and reason.
    pub skipped: Vec<String>,
}

/// Runs them and counts what cargo says of each crate.
///
/// # Errors
///
/// When cargo cannot be run.
pub fn run() -> anyhow::Result<UnitTests> {
    let mut tests = UnitTests::default();
    let mut cargo = cargo(&paths::workspace());
    cargo.env_remove(PROMTOOL);
    // Without it a test checks nothing, and says so; here that is a failure.
    match prometheus::ensure() {
        Ok(prometheus) => drop(cargo.env(PROMTOOL, prometheus.promtool)),
        Err(error) => {
            eprintln!("FAILED: promtool cannot be had: {error:#}");
            tests.tally.count(false);
        }
    }
    let mut child = cargo
        .args(["test", "--no-fail-fast"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo test")?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            writeln!(std::io::stderr(), "{line}")?;
            tests.take(&line);
        }
    }
    // A crate that does not build counts no tests; cargo's exit code tells.
    if !child.wait()?.success() && tests.tally.failed == 0 {
        tests.tally.count(false);
    }
    Ok(tests)
}

impl UnitTests {
    /// Takes a line of cargo test's.
    fn take(&mut self, line: &str) {
        if let Some((name, reason)) = ignored(line) {
            if reason == agent_tests::REASON {
                self.for_vms.push(name.to_owned());
            } else {
                self.skipped.push(format!("{name}: {reason}"));
                self.tally.skipped += 1;
            }
        } else if let Some((passed, failed)) = counts_of(line) {
            self.tally.passed += passed;
            self.tally.failed += failed;
        }
    }
}

/// `test NAME ... ignored, REASON`
fn ignored(line: &str) -> Option<(&str, &str)> {
    let (name, reason) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    Some((name, reason.strip_prefix(", ").unwrap_or("no reason given")))
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; …`: how many passed and failed.
fn counts_of(line: &str) -> Option<(usize, usize)> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let count = |what: &str| {
        let words = counts
            .split(';')
            .find_map(|part| part.trim().strip_suffix(what));
        words.and_then(|number| number.trim().parse().ok())
    };
    Some((count(" passed")?, count(" failed")?))
}

#[cfg(test)]
mod tests {
    use super::{Tally, UnitTests};

    #[test]
    fn lines_of_cargo_test() {
        let mut tests = UnitTests::default();
        for line in [
            "test vm::x ... ok",
            "test a::b ... ignored, runs in a VM: cargo xtask test",
            "test c ... ignored, writes the fixtures",
            "test d ... ignored",
            "test result: FAILED. 11 passed; 2 failed; 3 ignored; 0 measured; 0 filtered out",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            tests.take(line);
        }
        let expected = UnitTests {
            tally: Tally {
                passed: 12,
                failed: 2,
                skipped: 2,
            },
            for_vms: vec!["a::b".to_owned()],
            skipped: vec![
                "c: writes the fixtures".to_owned(),
                "d: no reason given".to_owned(),
            ],
        };
        assert_eq!(tests, expected);
    }
}
