//! The subcommands, one file each, and what they have in common: exit codes and errors.

mod btf;
mod check;
pub mod confirm;
mod keep;
mod pages;
mod run;
mod scan;
mod served;
pub mod session;
mod trace;
mod watch;

#[cfg(test)]
pub use check::examples as examples_of_check;

use std::io::{self, Write};

use crate::cli::{Cli, Command};
use crate::host::process;
use anyhow::{Context, Result};

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
    process::without_huge_pages();
    match cli.command {
        Command::Trace(args) => trace::run(&args, cli.verbose),
        Command::Run(args) => run::run(&args, cli.verbose),
        Command::Check(args) => check::run(&args),
        Command::Scan(args) => scan::run(&args),
        Command::Btf(args) => btf::run(&args),
        Command::Completions { shell } => pages::completions(shell),
        Command::Man { dir } => pages::man(dir.as_deref()),
    }
}

/// A runtime on this thread alone: the work is a trickle, and a thread less is one less to account
/// for in a container.
fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.context("failed to set up the event loop")
}

/// Reports an error and gives back the exit code that it stands for.
pub fn fail(error: &anyhow::Error, json: bool, verbose: u8) -> u8 {
    if is_broken_pipe(error) {
        return CLEAN;
    }
    let line = error.to_string();
    if json {
        // Nothing is left to be done when neither stream takes it.
        let _ = crate::output::json::error(io::stdout().lock(), &line);
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
