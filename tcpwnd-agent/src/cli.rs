//! What the user typed: options and their help, nothing resolved.
//!
//! Constraint: no option is interpreted here beyond its syntax; [`crate::config`] does that, so
//! that every rule about options has one place and can be tested without a command line.

mod filters;
mod kernel;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use filters::{FilterArgs, IgnoreArgs, RoleArg, RoleArgs};
pub use kernel::{KernelArgs, MechanismArg, TransportArg};

/// Prefix of the environment variables that stand for the options of `run`.
pub const ENV_PREFIX: &str = "TCPWND_";

/// Finds TCP connections whose window scale was damaged in the handshake.
///
/// Compares, per connection, the window scale that the SYN+ACK announced with the one that the
/// socket uses, and says which connections are damaged, by how much, why, and what to do.
///
/// Exit codes: 0 clean; 1 findings that --fail-on names; 2 usage, or it cannot run here;
/// 3 inconclusive: events were lost, or fewer handshakes than --min-handshakes.
#[derive(Debug, Parser)]
#[command(
    name = "tcpwnd",
    version,
    max_term_width = 100,
    args_override_self = true
)]
pub struct Cli {
    /// More detail: what starting took, and why of errors; twice: the verifier's log as well
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch handshakes as they happen and print the damaged ones
    Trace(TraceArgs),
    /// Watch all the time; serve Prometheus metrics and log findings
    Run(RunArgs),
    /// Say whether it can run here, and if not, why; and whether this host is at risk
    Check(CheckArgs),
    /// Name the connections that exist already and may be damaged, with reasons
    Scan(ScanArgs),
    /// Say what the kernel's type information (BTF) has, or cut it down to what is needed
    Btf(BtfArgs),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each subcommand
    Man {
        /// Directory to write the pages to
        dir: Option<PathBuf>,
    },
}

/// Values of --fail-on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// The scale announced is not the one used
    Mismatch,
    /// No window scaling although there could have been
    ScaleLost,
    /// Evidence was missing, but not because the connection is older than the trace or never
    /// came about
    Unverified,
    /// All of these
    Any,
}

/// Values of `trace --format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TraceFormat {
    /// Columns for people
    Table,
    /// One JSON object a line
    Json,
}

/// Options of `trace`.
#[derive(Args, Debug)]
pub struct TraceArgs {
    #[command(flatten)]
    pub filter: FilterArgs,

    #[command(flatten)]
    pub role: RoleArgs,

    #[command(flatten)]
    pub ignore: IgnoreArgs,

    #[command(flatten)]
    pub kernel: KernelArgs,

    /// End after this time, as in 90s or 2m
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<humantime::Duration>,

    /// Findings that make the exit code 1
    #[arg(long, value_enum, value_name = "VERDICT", value_delimiter = ',')]
    pub fail_on: Vec<FailOn>,

    /// Exit with 3 if fewer handshakes than this were judged
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_handshakes: u64,

    /// Print every handshake, not only findings
    #[arg(long)]
    pub all: bool,

    /// Watch the windows that damaged connections send
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub confirm: bool,

    /// How to print
    #[arg(long, value_enum, default_value_t = TraceFormat::Table)]
    pub format: TraceFormat,

    /// The same as --format json
    #[arg(short, long, conflicts_with = "format")]
    pub json: bool,

    /// Wide columns: IPv6 addresses are not cut
    #[arg(short, long)]
    pub wide: bool,

    /// File to create once everything is attached
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
}

/// Values of `run --format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// key=value
    Text,
    /// One JSON object a line
    Json,
}

/// Options of `run`. Each can be given as environment variable TCPWND_<OPTION> too.
#[derive(Args, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    pub filter: FilterArgs,

    #[command(flatten)]
    pub role: RoleArgs,

    #[command(flatten)]
    pub ignore: IgnoreArgs,

    #[command(flatten)]
    pub kernel: KernelArgs,

    /// Where to serve /metrics
    #[arg(long, value_name = "ADDR:PORT", default_value = crate::config::DEFAULT_LISTEN)]
    pub listen: String,

    /// How to log findings
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub format: LogFormat,

    /// Log lines a minute for each listener and cause, 0 for no limit
    #[arg(long, value_name = "N", default_value_t = crate::output::held_back::DEFAULT_LIMIT)]
    pub log_limit: u32,

    /// Findings to keep for /api/v1/findings, about 3 KB each
    #[arg(long, value_name = "N", default_value_t = crate::output::recent::DEFAULT_LIMIT)]
    pub recent_findings: usize,

    /// File that keeps open damaged connections for the next agent; best below /var/lib
    #[arg(long, value_name = "PATH")]
    pub state_file: Option<PathBuf>,

    /// File to create once everything is attached; it stays if the agent then cannot be confined
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,

    /// Keep the ability to make other system calls and to open other files; for debugging
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub no_sandbox: bool,

    /// Print what the options resolve to, as environment variables, and exit
    #[arg(long)]
    pub print_config: bool,
}

/// Values of `check --format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
}

/// Options of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    pub kernel: KernelArgs,

    /// How to print
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub format: CheckFormat,

    /// The same as --format json
    #[arg(short, long, conflicts_with = "format")]
    pub json: bool,
}

/// Options of `btf`.
#[derive(Args, Debug)]
pub struct BtfArgs {
    /// Which: a file, or a folder of them; this kernel's own unless told otherwise
    #[arg(long, value_name = "PATH")]
    pub btf: Option<PathBuf>,

    /// Of which kernel, where --btf is a folder; this one unless told otherwise
    #[arg(long, value_name = "RELEASE", requires = "btf")]
    pub release: Option<String>,

    /// Write what the agent needs of it to a file, for --btf
    #[arg(long, value_name = "FILE")]
    pub shrink: Option<PathBuf>,
}

/// Values of `scan --fail-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScanFailOn {
    /// The peer was told another scale than is used; needs --confirm
    Mismatch,
    /// The peer reads windows unscaled; needs --confirm
    ScaleLost,
    /// A connection may be damaged, and nothing settles whether it is
    Unverified,
    /// Any of these
    Any,
}

/// Options of `scan`.
#[derive(Args, Debug)]
pub struct ScanArgs {
    #[command(flatten)]
    pub filter: FilterArgs,

    #[command(flatten)]
    pub kernel: KernelArgs,

    /// Watch the suspects while data flows, and settle which of them are damaged
    #[arg(long)]
    pub confirm: bool,

    /// How long to watch at most, as in 60s or 5m
    #[arg(
        long = "for",
        value_name = "DURATION",
        default_value = "60s",
        requires = "confirm"
    )]
    pub duration: humantime::Duration,

    /// What makes the exit code 1; it is 3 where nothing does and not everything was seen
    #[arg(long, value_enum, value_name = "VERDICT", value_delimiter = ',')]
    pub fail_on: Vec<ScanFailOn>,

    /// How to print
    #[arg(long, value_enum, default_value_t = TraceFormat::Table)]
    pub format: TraceFormat,

    /// The same as --format json
    #[arg(short, long, conflicts_with = "format")]
    pub json: bool,

    /// Wide columns: IPv6 addresses are not cut
    #[arg(short, long)]
    pub wide: bool,

    /// File to create once the suspects are watched
    #[arg(long, value_name = "PATH", requires = "confirm")]
    pub ready_file: Option<PathBuf>,
}

/// The command line as clap sees it, with the environment variables of `run`.
#[must_use]
pub fn command() -> clap::Command {
    // Only `run` reads the environment: a variable that is set for the daemon must not narrow
    // down what somebody traces in the same container.
    Cli::command().mut_subcommand("run", |run| {
        run.mut_args(|arg| match arg.get_long().and_then(env_name) {
            // An empty variable is how manifests leave one out.
            Some(name) if std::env::var_os(&name).is_none_or(|value| !value.is_empty()) => {
                arg.env(name)
            }
            _ => arg,
        })
    })
}

/// The environment variable that stands for an option of `run`.
#[must_use]
pub fn env_name(long: &str) -> Option<String> {
    // These ask for something else than a configuration.
    if ["print-config", "help", "version"].contains(&long) {
        return None;
    }
    Some(format!(
        "{ENV_PREFIX}{}",
        long.replace('-', "_").to_uppercase()
    ))
}

/// Parses a command line.
///
/// # Errors
/// When it is not valid; also for `--help` and `--version`, which are no failures
/// (`exit_code()` is 0).
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(args)?;
    Cli::from_arg_matches(&matches)
}

/// What clap complains about, as one line.
#[must_use]
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    let line = words.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    format!("{line} (see --help)")
}

/// Whether a command line that could not be parsed asked for JSON.
#[must_use]
pub fn wants_json(args: &[OsString]) -> bool {
    let mut previous = "";
    args.iter().filter_map(|arg| arg.to_str()).any(|arg| {
        let hit = matches!(arg, "-j" | "--json" | "--format=json")
            || (previous == "--format" && arg == "json");
        previous = arg;
        hit
    })
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
