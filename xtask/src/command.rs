//! Running other programs, with errors that name what was run.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail};

/// Exit code for "could not do what was asked", apart from every answer that a command in a VM
/// is likely to give.
pub const CANNOT_RUN: u8 = 125;

/// Runs to the end, its output on this process's stderr: stdout belongs to results.
///
/// # Errors
///
/// When it cannot be started or does not succeed.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    command.stdout(std::io::stderr()).stdin(Stdio::null());
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", describe(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", describe(command));
    }
    Ok(())
}

/// Runs to the end and returns what it printed on stdout.
///
/// # Errors
///
/// When it cannot be started, does not succeed (the message has its stderr) or prints no UTF-8.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", describe(command)))?;
    if !status.success() {
        let said = format!("{status}: {}", String::from_utf8_lossy(&stderr));
        // Nothing where stderr was not for this program.
        let said = said.trim_end_matches([':', ' ', '\n']);
        bail!("{} failed: {said}", describe(command));
    }
    String::from_utf8(stdout).with_context(|| format!("{} printed no text", describe(command)))
}

/// Where a program is, looked up in PATH and in the folders for administrators, which are not in
/// the PATH of ordinary users.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// The program and its arguments as one would type them.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words: Vec<_> = std::iter::once(name)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
