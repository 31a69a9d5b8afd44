//! The laboratory's command line, for everything but PID 1.

use std::process::ExitCode;

/// Runs the command line's subcommand.
pub fn run() -> ExitCode {
    eprintln!("tcpwnd-lab: no subcommand is written yet");
    ExitCode::from(2)
}
