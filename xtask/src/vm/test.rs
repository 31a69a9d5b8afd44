//! `vm test`: scenarios on kernels, one boot for each kernel and mechanism.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};

use super::answers::ask;
use super::exec::Boot;
use super::job::Added;
use super::results::{Answer, NotTested, Place, Results, Row};
use super::side_by_side::side_by_side;
use crate::arch::Arch;
use crate::build::{self, Binaries};
use crate::kernels::{self, Kernel, TABLE};
use crate::last::Last;
use crate::parse_kernel;
use crate::setup::{self, Missing, jvm};

/// Which scenarios, where.
#[derive(Args)]
pub struct Options {
    /// Only on this kernel (repeatable; all of the table if not given)
    #[arg(long = "kernel", value_parser = parse_kernel)]
    kernels: Vec<&'static Kernel>,
    /// Only this scenario (repeatable; all if not given)
    #[arg(long = "scenario", value_name = "S")]
    scenarios: Vec<String>,
    /// Attach by this (repeatable)
    #[arg(long = "mechanism", value_enum, default_values_t = [Mechanism::Fentry])]
    mechanisms: Vec<Mechanism>,
    /// Records come by this (repeatable)
    #[arg(long = "transport", value_enum, default_values_t = [Transport::Ring])]
    transports: Vec<Transport>,
    /// With these capabilities (repeatable)
    #[arg(long = "caps", value_enum, default_values_t = [Caps::All])]
    caps: Vec<Caps>,
    /// Write all results to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the answers into the matrix of docs/kernels.md, beside those that it has from earlier runs
    /// of this checkout: each is there with its date and commit
    #[arg(long)]
    write: bool,
    /// Seconds after which a VM is killed
    #[arg(long, value_name = "S", default_value_t = DEFAULT_TIMEOUT)]
    timeout: u64,
}

/// Seconds that all scenarios on one kernel may take.
pub const DEFAULT_TIMEOUT: u64 = 1800;

/// How the agent attaches its programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mechanism {
    /// fentry and fexit.
    Fentry,
    /// kprobe and kretprobe.
    Kprobe,
}

impl Mechanism {
    /// As the laboratory's command line has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        }
    }
}

/// How records come from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// The ring buffer.
    Ring,
    /// A perf buffer for each CPU.
    Perf,
}

impl Transport {
    /// As the laboratory's command line has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Perf => "perf",
        }
    }
}

/// With which capabilities the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Caps {
    /// All of them.
    All,
    /// Those that the shipped service has.
    Service,
}

impl Caps {
    /// As the laboratory's command line has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Service => "service",
        }
    }
}

/// One boot.
#[derive(Debug, Clone)]
pub struct Run {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// The mechanism.
    pub mechanism: Mechanism,
    /// The transport.
    pub transport: Transport,
    /// The capabilities.
    pub caps: Caps,
    /// The scenarios.
    pub choice: Choice,
    /// What it is booted into.
    pub state: State,
}

/// What a kernel is booted into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it comes.
    Usual,
    /// Locked down, as far as that goes.
    LockedDown,
    /// Nothing that could be told apart by mechanism or capabilities: nothing can be had.
    Without,
}

impl State {
    /// For the kernel.
    const fn parameters(self) -> &'static str {
        match self {
            Self::Usual | Self::Without => "",
            Self::LockedDown => "lockdown=confidentiality",
        }
    }
}

/// Which scenarios run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// All of them.
    All,
    /// Those that provoke causes.
    Causes,
    /// These.
    Named(Vec<String>),
}

impl Choice {
    /// Those that were named, if any were.
    fn named(&self) -> &[String] {
        match self {
            Self::All | Self::Causes => &[],
            Self::Named(names) => names,
        }
    }

    /// Whether this scenario can be among them.
    fn may_have(&self, scenario: &str) -> bool {
        match self {
            Self::All => true,
            // None of them wants what this is asked for.
            Self::Causes => false,
            Self::Named(names) => names.iter().any(|name| name == scenario),
        }
    }

    /// As the laboratory's command line has it.
    fn arguments(&self) -> Vec<&str> {
        match self {
            Self::All => Vec::new(),
            Self::Causes => vec!["--causes"],
            Self::Named(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

impl Run {
    /// The run that is told from others on the same kernel by this.
    pub fn of_variant(kernel: &'static Kernel, variant: &str, choice: Choice) -> Option<Self> {
        let mut all = Vec::new();
        for &mechanism in Mechanism::value_variants() {
            for &transport in Transport::value_variants() {
                all.extend(Caps::value_variants().iter().map(|&caps| Self {
                    kernel,
                    mechanism,
                    transport,
                    caps,
                    choice: choice.clone(),
                    state: State::Usual,
                }));
            }
        }
        all.into_iter().find(|run| run.variant() == variant)
    }

    /// How the run is told from all others.
    pub fn place(&self) -> Place {
        (self.kernel.name.to_owned(), self.variant())
    }

    /// How the run is told from others on the same kernel.
    pub fn variant(&self) -> String {
        match self.state {
            State::LockedDown => return "locked down".to_owned(),
            State::Without => return String::new(),
            State::Usual => {}
        }
        let mut words = vec![self.mechanism.name()];
        if self.transport == Transport::Perf {
            words.push(self.transport.name());
        }
        if self.caps == Caps::Service {
            words.push(self.caps.name());
        }
        words.join(" ")
    }
}

/// Runs what was asked for, prints the matrix, and exits with 1 if something failed.
///
/// # Errors
///
/// When set-up or a build fails, or the results cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let all: Vec<_> = TABLE.iter().collect();
    let kernels = if options.kernels.is_empty() {
        &all
    } else {
        &options.kernels
    };
    let arch = kernels::arch_of(kernels)?;
    ensure!(!options.write || arch == Arch::X86_64, kernels::NOT_WRITTEN);
    let missing = setup::ensure(kernels, false)?;
    let binaries = build::run_for(arch)?;
    let choice = if options.scenarios.is_empty() {
        Choice::All
    } else {
        Choice::Named(options.scenarios.clone())
    };
    let mut runs = Vec::new();
    for kernel in kernels {
        for &mechanism in &options.mechanisms {
            for &transport in &options.transports {
                runs.extend(options.caps.iter().map(|&caps| Run {
                    kernel,
                    mechanism,
                    transport,
                    caps,
                    choice: choice.clone(),
                    state: State::Usual,
                }));
            }
        }
    }
    let timeout = Duration::from_secs(options.timeout);
    let results = run_all(runs, &missing, &binaries, timeout);
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&results)?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    let tally = results.tally();
    println!("{}\n{tally}", results.matrix("scenario"));
    if options.write {
        Last::add(results, &options.scenarios)?;
    }
    Ok(if tally.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Does all runs, except on kernels that could not be had. A failure ends nothing: the other
/// kernels' answers are wanted too.
pub fn run_all(
    runs: Vec<Run>,
    missing: &[Missing],
    binaries: &Binaries,
    timeout: Duration,
) -> Results {
    let wanted = |missing: &&Missing| runs.iter().any(|run| run.kernel == missing.kernel);
    let not_tested = missing.iter().filter(wanted).map(NotTested::from).collect();
    let is_missing = |run: &Run| missing.iter().any(|missing| missing.kernel == run.kernel);
    let runs: Vec<Run> = runs.into_iter().filter(|run| !is_missing(run)).collect();
    // It is one for this machine.
    let wants_jvm =
        |run: &Run| run.kernel.arch == Arch::X86_64 && run.choice.may_have(jvm::SCENARIO);
    let any = runs.iter().any(wants_jvm);
    let jvm = any.then(java_runtime).flatten();
    let rows = side_by_side(runs, |run| {
        let added = if wants_jvm(&run) { jvm.as_slice() } else { &[] };
        let answers = run_one(&run, binaries, added, timeout);
        Row::of(run.kernel, &run.variant(), &binaries.made, answers)
    });
    Results { rows, not_tested }
}

/// The Java runtime; without it the scenario that wants it is unsupported, which it says.
fn java_runtime() -> Option<Added> {
    match jvm::ensure() {
        Ok(from) => Some(Added {
            from,
            path: jvm::PLACE.into(),
        }),
        Err(error) => {
            eprintln!("xtask: no Java runtime: {error:#}");
            None
        }
    }
}

/// One boot.
fn run_one(run: &Run, binaries: &Binaries, added: &[Added], timeout: Duration) -> Vec<Answer> {
    let mut argv = vec!["tcpwnd-lab", "scenario", "run", "--json", "--mechanism"];
    argv.extend([run.mechanism.name(), "--caps", run.caps.name()]);
    argv.extend(["--transport", run.transport.name()]);
    argv.extend(run.choice.arguments());
    let boot = Boot {
        kernel: run.kernel,
        binaries,
        added,
        timeout,
        parameters: run.state.parameters(),
    };
    let label = format!("{} {}", run.kernel.name, run.variant());
    ask(&boot, &argv, run.choice.named(), &label)
}
