//! PID 1 of the test VM: brings the machine up, runs one command, reports how it ended, powers off.
//!
//! The outside relies on this alone: `ttyS1` carries the command's standard output, `ttyS2` its
//! standard error, and `ttyS3` exactly one line, `exit N` or `init MESSAGE`. A VM that stops
//! without that line has crashed.

mod command;
mod machine;
mod serial;

use std::convert::Infallible;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde::Deserialize;

use serial::Port;

/// Where xtask puts what is to be run.
const JOB_FILE: &str = "/etc/tcpwnd-vm-job.json";

/// What to run, as xtask writes it (xtask/src/vm/job.rs).
#[derive(Debug, Deserialize)]
struct Job {
    /// The command and its arguments.
    argv: Vec<String>,
    /// Variables that are added to the environment.
    env: Vec<(String, String)>,
    /// Whether the command gets `ttyS1` as its controlling terminal, for people, in place of
    /// /dev/null and pipes.
    terminal: bool,
}

/// Does all that PID 1 does. Does not return: a PID 1 that ends panics the kernel.
pub fn run() -> ExitCode {
    let line = match run_job() {
        Ok(code) => format!("exit {code}\n"),
        Err(error) => format!("init {error:#}\n"),
    };
    let reported = report(&line);
    if let Err(error) = reported {
        eprintln!("tcpwnd-lab: could not report {}: {error:#}", line.trim());
    }
    match machine::power_off() {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("tcpwnd-lab: could not power off: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Brings the machine up and runs the job; returns the command's exit code.
fn run_job() -> anyhow::Result<u8> {
    machine::bring_up()?;
    let text = std::fs::read_to_string(JOB_FILE).with_context(|| format!("read {JOB_FILE}"))?;
    let job: Job = serde_json::from_str(&text).with_context(|| format!("parse {JOB_FILE}"))?;
    if job.terminal {
        command::run_on_terminal(&job)
    } else {
        command::run_on_pipes(&job)
    }
}

/// Writes the one line that tells the outside how the command ended.
fn report(line: &str) -> anyhow::Result<()> {
    let mut port = Port::open(Path::new("/dev/ttyS3"))?;
    port.write_all(line.as_bytes())?;
    port.drain()?;
    Ok(())
}

/// What never happens: a successful power-off does not return.
type Never = Infallible;
