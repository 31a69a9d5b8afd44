//! `vm test`: scenarios on kernels, one boot for each kernel and mechanism.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::exec::Boot;
use super::job::{Added, Job};
use super::results::{Answer, NotTested, Outcome, Results, Row};
use crate::build::{self, Binaries};
use crate::docs;
use crate::kernels::{Kernel, TABLE};
use crate::parse_kernel;
use crate::setup::{self, Missing, jvm};

/// VMs at the same time: each keeps about one core busy.
const AT_ONCE: usize = 2;

/// What stands for the whole VM where no scenario can be blamed.
const WHOLE_VM: &str = "(the VM)";

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
    /// With these capabilities (repeatable)
    #[arg(long = "caps", value_enum, default_values_t = [Caps::All])]
    caps: Vec<Caps>,
    /// Also the scenarios that only run with the full matrix
    #[arg(long)]
    full: bool,
    /// Write all results to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the matrix into docs/kernels.md
    #[arg(long)]
    write: bool,
    /// Seconds after which a VM is killed
    #[arg(long, value_name = "S", default_value_t = DEFAULT_TIMEOUT)]
    timeout: u64,
}

/// Seconds that all scenarios on one kernel may take.
pub const DEFAULT_TIMEOUT: u64 = 1200;

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
    /// The capabilities.
    pub caps: Caps,
    /// The scenarios; empty: all.
    pub scenarios: Vec<String>,
    /// Whether "all" includes those that are only for the full matrix.
    pub full: bool,
}

impl Run {
    /// How the run is told from others on the same kernel.
    fn variant(&self) -> String {
        match self.caps {
            Caps::All => self.mechanism.name().to_owned(),
            Caps::Service => format!("{} service", self.mechanism.name()),
        }
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
    let missing = setup::ensure(kernels, false)?;
    let binaries = build::run()?;
    let mut runs = Vec::new();
    for kernel in kernels {
        for mechanism in &options.mechanisms {
            runs.extend(options.caps.iter().map(|caps| Run {
                kernel,
                mechanism: *mechanism,
                caps: *caps,
                scenarios: options.scenarios.clone(),
                full: options.full,
            }));
        }
    }
    let timeout = Duration::from_secs(options.timeout);
    let results = run_all(runs, &missing, &binaries, timeout);
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&results)?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    if options.write {
        docs::write_matrix(&results)?;
    }
    println!("{}\n{}", results.matrix(), results.tally());
    Ok(if results.tally().is_good() {
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
    let is_missing = |run: &Run| missing.iter().any(|missing| missing.kernel == run.kernel);
    let queue: VecDeque<Run> = runs.into_iter().filter(|run| !is_missing(run)).collect();
    let wants_jvm = |run: &Run| {
        run.scenarios.is_empty() || run.scenarios.iter().any(|name| name == jvm::SCENARIO)
    };
    let any = queue.iter().any(wants_jvm);
    let jvm = any.then(java_runtime).flatten();
    let queue = Mutex::new(queue);
    let rows = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let run = queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some(run) = run else { break };
                    let added = jvm.as_slice();
                    let added = if wants_jvm(&run) { added } else { &[] };
                    let answered = run_one(&run, binaries, added, timeout);
                    rows.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(answered);
                }
            });
        }
    });
    Results {
        rows: rows.into_inner().unwrap_or_else(PoisonError::into_inner),
        not_tested: missing
            .iter()
            .map(|missing| NotTested {
                kernel: missing.kernel.name,
                reason: missing.reason.clone(),
            })
            .collect(),
    }
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

/// One boot. Whatever goes wrong becomes a failed row.
fn run_one(run: &Run, binaries: &Binaries, added: &[Added], timeout: Duration) -> Vec<Row> {
    let label = format!("{} {}", run.kernel.name, run.variant());
    let lines = Lines::new(label.clone());
    let answers = lines.answers.clone();
    let complaint = boot(run, binaries, added, timeout, lines)
        .unwrap_or_else(|error| Some((format!("{error:#}"), String::new())));
    let mut answers = std::mem::take(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner));
    for name in &run.scenarios {
        if complaint.is_none() && !answers.iter().any(|answer| answer.scenario == *name) {
            answers.push(failure(name, "gave no answer"));
        }
    }
    if let Some((complaint, log)) = complaint {
        eprintln!("{label}: {complaint}\n{}", log.trim_end());
        answers.push(failure(WHOLE_VM, &complaint));
    } else if answers.is_empty() {
        answers.push(failure(WHOLE_VM, "ran no scenario"));
    }
    let image = run.kernel.cached().ok().flatten();
    let version = image.map_or_else(String::new, |image| image.version);
    answers
        .into_iter()
        .map(|answer| Row {
            kernel: run.kernel.name,
            version: version.clone(),
            variant: run.variant(),
            answer,
        })
        .collect()
}

/// Boots; returns what is wrong with the run as a whole, with the kernel's log if it matters.
fn boot(
    run: &Run,
    binaries: &Binaries,
    added: &[Added],
    timeout: Duration,
    lines: Lines,
) -> anyhow::Result<Option<(String, String)>> {
    let mut argv = vec!["tcpwnd-lab", "scenario", "run", "--json", "--mechanism"];
    argv.extend([run.mechanism.name(), "--caps", run.caps.name()]);
    argv.extend(run.full.then_some("--full"));
    argv.extend(run.scenarios.iter().map(String::as_str));
    let boot = Boot {
        kernel: run.kernel,
        binaries,
        added,
        timeout,
    };
    let answers = lines.answers.clone();
    let outcome = boot.run(&Job::new(&argv), lines, io::stderr())?;
    if let Some(trouble) = outcome.trouble() {
        return Ok(Some((trouble, outcome.log)));
    }
    let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = answers
        .iter()
        .any(|answer| answer.outcome == Outcome::Failed);
    Ok(match outcome.code {
        // 1 is what the laboratory says when a scenario failed.
        Ok(code) if code != u8::from(failed) => {
            Some((format!("tcpwnd-lab ended with {code}"), String::new()))
        }
        _ => None,
    })
}

fn failure(scenario: &str, detail: &str) -> Answer {
    Answer {
        scenario: scenario.to_owned(),
        outcome: Outcome::Failed,
        seconds: 0.0,
        detail: detail.to_owned(),
    }
}

/// Takes the laboratory's lines as they come and says each on stderr.
struct Lines {
    label: String,
    pending: Vec<u8>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Lines {
    fn new(label: String) -> Self {
        Self {
            label,
            pending: Vec::new(),
            answers: Arc::default(),
        }
    }

    fn take(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let label = &self.label;
        let answer = match serde_json::from_str::<Answer>(&line) {
            Ok(answer) => answer,
            Err(error) => failure(WHOLE_VM, &format!("no answer ({error}): {line}")),
        };
        let Answer {
            scenario,
            outcome,
            seconds,
            detail,
        } = &answer;
        let word = format!("{outcome:?}").to_lowercase();
        eprintln!("{label:<28} {scenario:<32} {word:<11} {seconds:6.1} s  {detail}");
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(answer);
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            self.take(line.trim_ascii());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Lines, Outcome};

    #[test]
    fn lines_may_come_in_pieces_and_what_is_no_answer_fails() {
        let mut lines = Lines::new("x".to_owned());
        lines
            .write_all(b"{\"scenario\":\"a\",\"outcome\":\"pas")
            .unwrap();
        lines
            .write_all(b"sed\",\"seconds\":1}\nnonsense\n")
            .unwrap();
        let answers = lines.answers.lock().unwrap();
        let outcomes: Vec<_> = answers.iter().map(|answer| answer.outcome).collect();
        assert_eq!(outcomes, [Outcome::Passed, Outcome::Failed]);
    }
}
