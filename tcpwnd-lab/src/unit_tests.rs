//! Unit tests of another crate that want root and a kernel with probes.
//!
//! Constraint: each runs in a process of its own, because some give up capabilities or lower a
//! limit for good.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::json;

/// Runs the ignored tests of a test binary whose names contain `filter`, prints how each ended as
/// scenarios do, one JSON object a line, and returns whether none failed.
///
/// # Errors
/// When the binary cannot be run, or has no such test.
pub fn run(binary: &Path, filter: &str) -> Result<bool> {
    let mut none_failed = true;
    for name in list(binary, filter)? {
        let start = Instant::now();
        let failure = run_one(binary, &name)?;
        none_failed &= failure.is_none();
        let line = json!({
            "scenario": name,
            "outcome": if failure.is_none() { "passed" } else { "failed" },
            "seconds": (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            "detail": failure.unwrap_or_default(),
        });
        println!("{line}");
    }
    Ok(none_failed)
}

fn list(binary: &Path, filter: &str) -> Result<Vec<String>> {
    let printed = Command::new(binary)
        .args(["--ignored", "--list", "--format", "terse", filter])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to run {}", binary.display()))?;
    if !printed.status.success() {
        bail!(
            "{} --list: {}: {}",
            binary.display(),
            printed.status,
            String::from_utf8_lossy(&printed.stderr).trim()
        );
    }
    let names = names(&String::from_utf8_lossy(&printed.stdout));
    if names.is_empty() {
        bail!(
            "{} has no ignored test like {filter}: if they were renamed, name them anew in \
             xtask/src/vm/agent_tests.rs",
            binary.display()
        );
    }
    Ok(names)
}

/// The names in a list of tests: `NAME: test` in each line.
fn names(list: &str) -> Vec<String> {
    list.lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect()
}

/// Runs one test; returns what it said if it failed.
fn run_one(binary: &Path, name: &str) -> Result<Option<String>> {
    let ended = Command::new(binary)
        .args(["--ignored", "--exact", name])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to run {}", binary.display()))?;
    let printed = String::from_utf8_lossy(&ended.stdout);
    if ended.status.success() && printed.contains("test result: ok. 1 passed; 0 failed") {
        return Ok(None);
    }
    let said = said(&printed, name).unwrap_or(&printed);
    let errors = String::from_utf8_lossy(&ended.stderr);
    let failure = format!("{}: {} {}", ended.status, said.trim(), errors.trim());
    Ok(Some(failure.trim_end().to_owned()))
}

/// What a failed test printed, out of all that its binary printed.
fn said<'a>(printed: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = printed.split_once(&format!("---- {name} stdout ----\n"))?;
    rest.split("\n\nfailures:").next()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{list, names, run_one, said};

    #[test]
    fn names_of_a_list() {
        assert_eq!(names("a::b: test\nc: benchmark\nd: test\n"), ["a::b", "d"]);
    }

    #[test]
    fn no_test_is_an_error_and_not_a_run_of_nothing() {
        let error = list(&std::env::current_exe().unwrap(), "no_such_test").unwrap_err();
        assert!(
            error.to_string().contains("no ignored test like"),
            "{error}"
        );
        assert!(list(Path::new("/nowhere"), "").is_err());
    }

    #[test]
    fn a_name_that_matches_no_test_has_not_passed() {
        let failure = run_one(&std::env::current_exe().unwrap(), "no_such_test").unwrap();
        assert!(failure.unwrap().contains("0 passed"));
    }

    #[test]
    fn what_a_failed_test_said() {
        let printed = "running 1 test\ntest a ... FAILED\n\nfailures:\n\n---- a stdout ----\n\
                       x\nthread 'a' panicked at b.rs:1:2:\nleft: 1\n\n\nfailures:\n    a\n\n";
        let text = said(printed, "a").unwrap().trim();
        assert_eq!(text, "x\nthread 'a' panicked at b.rs:1:2:\nleft: 1");
        assert_eq!(said("Killed", "a"), None);
    }
}
