//! The laboratory's command line, for everything but PID 1.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::agent::{Caps, Launch, Mechanism, Transport};
use crate::alert;
use crate::broker::Broker;
use crate::client::Client;
use crate::cost;
use crate::crowd;
use crate::demo;
use crate::scenarios::{self, ALL, Bench, Case, Format, Rows};
use crate::soak;
use crate::socket::ListenOptions;
use crate::unit_tests;

/// tcpwnd's network laboratory.
#[derive(Debug, Parser)]
#[command(name = "tcpwnd-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves requests until it is killed, in the network namespace that it is started in.
    Broker {
        /// Local port.
        #[arg(long, default_value_t = 9092)]
        port: u16,
        /// SO_RCVBUF in bytes, 0 for none.
        #[arg(long, default_value_t = 102_400)]
        receive_buffer: u32,
        /// Backlog, in connections.
        #[arg(long, default_value_t = 50)]
        backlog: u32,
    },
    /// Sends requests and prints how long each answer took, and what the socket believes.
    Client {
        /// The server.
        server: SocketAddr,
        /// Size of a request, in bytes.
        #[arg(long, default_value_t = 120_000)]
        size: u32,
        /// How many requests.
        #[arg(long, default_value_t = 1)]
        count: u32,
    },
    /// Opens connections that do nothing, runs a command beside them, and closes them.
    Crowd {
        /// Port of their listener.
        #[arg(long, default_value_t = 9092)]
        port: u16,
        /// How many; each has two sockets.
        #[arg(long, default_value_t = 9_000)]
        count: usize,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Shows a damaged connection, what tcpwnd says of it, and the remedy.
    Demo,
    /// Shows the project's alerts in a real Prometheus while clients come back all at once.
    Alert,
    /// Lets clients come back all at once again and again, and watches what the agent takes.
    Soak {
        /// For how long, in minutes.
        #[arg(long, default_value_t = 60)]
        minutes: u64,
    },
    /// Measures what watching costs, on a machine whose clock counts instructions; prints one JSON
    /// object a line.
    Cost {
        /// Only while this one watches, as figures name it (repeatable).
        #[arg(long = "watcher", value_name = "WATCHER")]
        watchers: Vec<String>,
        /// What is measured.
        #[arg(required = true, value_enum)]
        parts: Vec<cost::Part>,
    },
    /// Prints a golden of the scenario `check_goldens` anew: what `check` prints in a case, with the
    /// kernel's release replaced.
    CheckGolden {
        /// Which case.
        #[arg(value_enum)]
        case: Case,
        /// The JSON in place of the text.
        #[arg(long)]
        json: bool,
    },
    /// Lists and plays scenarios.
    #[command(subcommand)]
    Scenario(ScenarioCommand),
    /// Runs the ignored tests of a test binary, each in a process of its own, and prints one JSON
    /// object a line. Exit code 1 when one failed.
    UnitTests {
        /// The test binary.
        binary: PathBuf,
        /// What a test's name contains.
        filter: String,
    },
}

#[derive(Debug, Subcommand)]
enum ScenarioCommand {
    /// Lists all scenarios: name, what must be reported.
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
        /// How records come from the kernel.
        #[arg(long, value_enum, default_value_t = Transport::Auto)]
        transport: Transport,
        /// With which capabilities the agent runs.
        #[arg(long, value_enum, default_value_t = Caps::All)]
        caps: Caps,
        /// Only those that provoke causes, when no name is given.
        #[arg(long)]
        causes: bool,
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
        Command::Broker {
            port,
            receive_buffer,
            backlog,
        } => {
            let receive_buffer = (receive_buffer > 0).then_some(receive_buffer);
            serve(&ListenOptions {
                port,
                receive_buffer,
                backlog,
                ..ListenOptions::default()
            })
        }
        Command::Crowd {
            port,
            count,
            command,
        } => crowd::run(port, count, &command),
        Command::Demo => demo::run().map(|()| true),
        Command::Alert => alert::run(affected()?).map(|()| true),
        Command::Soak { minutes } => {
            soak::run(affected()?, Duration::from_secs(60 * minutes)).map(|()| true)
        }
        Command::Cost { watchers, parts } => cost::run(&parts, &watchers).map(|()| true),
        Command::Client {
            server,
            size,
            count,
        } => visit(server, size, count),
        Command::CheckGolden { case, json } => {
            print!("{}", scenarios::check(case, json)?.0);
            Ok(true)
        }
        Command::UnitTests { binary, filter } => unit_tests::run(&binary, &filter),
        Command::Scenario(ScenarioCommand::List { json }) => list(json),
        Command::Scenario(ScenarioCommand::Run {
            json,
            mechanism,
            transport,
            caps,
            causes,
            names,
        }) => {
            let names = if names.is_empty() {
                chosen(causes)
            } else {
                names
            };
            let format = if json { Format::Json } else { Format::Text };
            let bench = Bench {
                launch: Launch {
                    mechanism,
                    transport,
                    caps,
                },
                affected: affected()?,
                rows: Rows::default(),
            };
            scenarios::run(&names, &bench, format)
        }
    }
}

fn serve(options: &ListenOptions) -> Result<bool> {
    let broker = Broker::start_here(options)?;
    let mut known = 0;
    loop {
        for accepted in &broker.wait_accepted_more(known)?[known..] {
            println!("{} {:?}", accepted.peer, accepted.info);
            known += 1;
        }
    }
}

fn visit(server: SocketAddr, size: u32, count: u32) -> Result<bool> {
    let mut client = Client::connect_here(server)?;
    for _ in 0..count {
        let took = client.request(size)?;
        println!(
            "{} bytes in {:.3} s, {:?}",
            size,
            took.as_secs_f64(),
            client.info()?
        );
    }
    Ok(true)
}

fn chosen(causes: bool) -> Vec<String> {
    let here = ALL.iter().filter(|scenario| !scenario.elsewhere);
    let chosen = here.filter(|scenario| scenario.causes || !causes);
    chosen.map(|scenario| scenario.name.to_owned()).collect()
}

fn list(json: bool) -> Result<bool> {
    for scenario in ALL {
        if json {
            let line = serde_json::json!({
                "scenario": scenario.name, "about": scenario.about,
                "elsewhere": scenario.elsewhere,
            });
            println!("{line}");
        } else {
            println!("{:<24} {}", scenario.name, scenario.about);
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
