//! The subcommands, one file each, and what they have in common: exit codes and errors.

mod pages;

use std::io::{self, Write};

use anyhow::Result;
use jiff::Timestamp;

use crate::cli::{Cli, Command};
use crate::host::clock;

/// Exit code: nothing to complain about.
pub const CLEAN: u8 = 0;
/// Exit code: findings that --fail-on names.
pub const FINDINGS: u8 = 1;
/// Exit code: usage, or it cannot run here.
pub const FAILED: u8 = 2;
/// Exit code: events were lost, or there were fewer handshakes than asked for.
pub const INCONCLUSIVE: u8 = 3;

/// Runs a subcommand and gives back the exit code.
///
/// # Errors
/// One line each: object, reason, way out.
pub fn run(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Trace(_) | Command::Run(_) | Command::Check(_) => anyhow::bail!("not written yet"),
        Command::Completions { shell } => pages::completions(shell),
        Command::Man { dir } => pages::man(dir.as_deref()),
    }
}

/// Reports an error and gives back the exit code that it stands for.
pub fn fail(error: &anyhow::Error, json: bool, verbose: u8) -> u8 {
    if is_broken_pipe(error) {
        return CLEAN;
    }
    let line = error.to_string();
    if json {
        let (time, text) = (
            clock::rfc3339(Timestamp::now()),
            serde_json::Value::from(line.as_str()),
        );
        let object =
            format!("{{\"schema\":1,\"kind\":\"error\",\"time\":\"{time}\",\"error\":{text}}}");
        // Nothing is left to be done when neither stream takes it.
        let _ = writeln!(io::stdout(), "{object}");
    }
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "tcpwnd: {line}");
    if verbose > 0 {
        for cause in error.chain().skip(1) {
            let _ = writeln!(stderr, "  because: {cause}");
        }
    }
    if verbose > 1
        && let Some(log) = verifier_log(error)
    {
        let _ = writeln!(stderr, "{log}");
    }
    FAILED
}

/// Whether an error means that nobody reads our output any more, as after `| head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

fn verifier_log(error: &anyhow::Error) -> Option<&str> {
    error
        .downcast_ref::<crate::probes::AttachError>()?
        .verifier_log()
}
