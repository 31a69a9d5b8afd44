//! The laboratory's command line, for everything but PID 1.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::agent::{Caps, Launch, Mechanism};
use crate::scenarios::{self, ALL, Bench, Depth, Format};

/// tcpwnd's network laboratory.
#[derive(Debug, Parser)]
#[command(name = "tcpwnd-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists and plays scenarios.
    #[command(subcommand)]
    Scenario(ScenarioCommand),
}

#[derive(Debug, Subcommand)]
enum ScenarioCommand {
    /// Lists all scenarios: name, depth, what must be reported.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Plays scenarios, as root, with `tcpwnd` in PATH. Exit code 1 when one failed.
    Run {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
        /// How the agent hooks kernel functions.
        #[arg(long, value_enum, default_value_t = Mechanism::Auto)]
        mechanism: Mechanism,
        /// With which capabilities the agent runs.
        #[arg(long, value_enum, default_value_t = Caps::All)]
        caps: Caps,
        /// Also those that only run with the full matrix, when no name is given.
        #[arg(long)]
        full: bool,
        /// Which; none means all.
        names: Vec<String>,
    },
}

/// Runs the command line's subcommand.
pub fn run() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tcpwnd-lab: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(command: Command) -> Result<bool> {
    match command {
        Command::Scenario(ScenarioCommand::List { json }) => list(json),
        Command::Scenario(ScenarioCommand::Run {
            json,
            mechanism,
            caps,
            full,
            names,
        }) => {
            let names = if names.is_empty() {
                chosen(full)
            } else {
                names
            };
            let format = if json { Format::Json } else { Format::Text };
            let bench = Bench {
                launch: Launch { mechanism, caps },
                affected: affected()?,
            };
            scenarios::run(&names, &bench, format)
        }
    }
}

fn chosen(full: bool) -> Vec<String> {
    let chosen = ALL
        .iter()
        .filter(|scenario| full || scenario.depth == Depth::Gate);
    chosen.map(|scenario| scenario.name.to_owned()).collect()
}

fn list(json: bool) -> Result<bool> {
    for scenario in ALL {
        let depth = if scenario.depth == Depth::Gate {
            "gate"
        } else {
            "full"
        };
        if json {
            let line = serde_json::json!({
                "scenario": scenario.name, "depth": depth, "about": scenario.about,
            });
            println!("{line}");
        } else {
            println!("{:<24} {depth}  {}", scenario.name, scenario.about);
        }
    }
    Ok(true)
}

/// Whether this is the laboratory's kernel without the fix of 2020. That its name tells the truth
/// is checked by the scenario `laboratory`.
fn affected() -> Result<bool> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("failed to read the kernel's release")?;
    Ok(release.contains("affected"))
}
