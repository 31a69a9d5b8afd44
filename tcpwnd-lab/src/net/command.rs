//! Calling the machine's own tools (`ip`, `tc`, `ss`, `bpftool`).

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs a command line, split at blanks, and returns what it printed.
///
/// # Errors
/// When it cannot be started or fails; the message has its standard error, and its standard output,
/// where bpftool says what was wrong.
pub fn output(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command line")?;
    let done = Command::new(program)
        .args(words)
        .output()
        .with_context(|| format!("failed to start `{line}`"))?;
    ensure!(
        done.status.success(),
        "`{line}` failed ({}): {} {}",
        done.status,
        String::from_utf8_lossy(&done.stderr).trim(),
        String::from_utf8_lossy(&done.stdout).trim()
    );
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs a command line for its effect.
///
/// # Errors
/// As [`output`].
pub fn run(line: &str) -> Result<()> {
    output(line).map(|_| ())
}
