//! tcpwnd: finds TCP connections whose window scale was damaged in the handshake.
//!
//! Constraint: parse, run, exit code; nothing else. No other module ends the process.

mod cli;
mod commands;
mod config;
mod confine;
mod host;
mod kernel;
mod output;
mod probes;
#[cfg(test)]
mod schema_tests;
mod state;
#[cfg(test)]
mod testing;
mod transport;

use std::process::ExitCode;

use clap::error::ErrorKind;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let json = cli::wants_json(&args);
    let code = match cli::parse(args) {
        Ok(cli) => {
            let verbose = cli.verbose;
            commands::run(cli).unwrap_or_else(|error| commands::fail(&error, json, verbose))
        }
        // --help and --version.
        Err(error) if !error.use_stderr() => {
            // A reader that went away is no failure.
            let _ = error.print();
            commands::CLEAN
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            commands::FAILED
        }
        Err(error) => commands::fail(&anyhow::anyhow!(cli::one_line(&error)), json, 0),
    };
    ExitCode::from(code)
}
