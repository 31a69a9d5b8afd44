//! `vm verifier`: what the verifier takes to check each kernel program, on each kernel, and whether
//! that is within the budget. The figures are those of a unit test of the agent
//! (tcpwnd-agent/src/probes/verifier_vm_tests.rs), which holds them against the budget itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::agent_tests::PLACE;
use super::exec::Boot;
use super::job::{Added, Job};
use super::results::NotTested;
use super::side_by_side::side_by_side;
use crate::build::{self, Binaries};
use crate::docs;
use crate::kernels::{Kernel, TABLE};
use crate::parse_kernel;
use crate::paths;
use crate::printed::Kept;
use crate::setup::{self, Missing};

/// The test.
const TEST: &str =
    "probes::verifier_vm_tests::no_program_takes_more_of_the_verifier_than_its_budget";

/// What each program may take.
const BUDGET: &str = "tcpwnd-agent/src/probes/verifier_budget.txt";

/// A new budget has this many hundredths of what was seen, and at least this much more.
const ROOM: u64 = 125;
const LEAST_ROOM: u64 = 16;

/// More stack than this the kernel refuses (MAX_BPF_STACK, include/linux/filter.h), in bytes.
const MAX_STACK: u64 = 512;

/// What it may take on one kernel.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Where, and what becomes of it.
#[derive(Args)]
pub struct Options {
    /// Only on this kernel (repeatable; all of the table if not given)
    #[arg(long = "kernel", value_parser = parse_kernel, conflicts_with_all = ["write", "new_budget"])]
    kernels: Vec<&'static Kernel>,
    /// Write the table into docs/kernels.md
    #[arg(long)]
    write: bool,
    /// Write the budget anew: a quarter more than was seen on the kernel where it was most
    #[arg(long)]
    new_budget: bool,
}

/// Instructions, states and bytes of stack, as the test has them.
type Cost = [u64; 3];

/// One kernel's figures by program, and how the test ended.
struct Seen {
    kernel: &'static Kernel,
    figures: BTreeMap<String, Cost>,
    ended: anyhow::Result<()>,
}

/// The figures of all kernels.
pub struct Figures {
    seen: Vec<Seen>,
    not_tested: Vec<NotTested>,
}

/// Runs it, prints the table, and exits with 1 where a program is over its budget.
///
/// # Errors
///
/// When set-up or a build fails, or something cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut kernels = options.kernels.clone();
    if kernels.is_empty() {
        kernels.extend(TABLE);
    }
    let missing = setup::ensure(&kernels, false)?;
    let figures = Figures::take(kernels, &missing, &build::run()?, &build::agent_tests()?);
    println!("{}", figures.table());
    if options.write {
        docs::write_verifier(&figures.table())?;
    }
    if options.new_budget {
        let place = paths::workspace().join(BUDGET);
        fs::write(&place, figures.budget()?).with_context(|| format!("write {BUDGET}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    match figures.check() {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Takes the figures of all kernels, writes them into docs/kernels.md, and holds them against the
/// budget.
///
/// # Errors
///
/// When a program is over it, or it cannot be tried.
pub fn hold(missing: &[Missing], binaries: &Binaries) -> anyhow::Result<()> {
    let kernels = TABLE.iter().collect();
    let figures = Figures::take(kernels, missing, binaries, &build::agent_tests()?);
    docs::write_verifier(&figures.table())?;
    figures.check()
}

impl Figures {
    fn take(
        mut kernels: Vec<&'static Kernel>,
        missing: &[Missing],
        binaries: &Binaries,
        tests: &Path,
    ) -> Self {
        let is_missing = |kernel| missing.iter().any(|missing| missing.kernel == kernel);
        kernels.retain(|kernel| !is_missing(*kernel));
        let added = [Added {
            from: tests.to_owned(),
            path: PLACE.into(),
        }];
        let mut seen = side_by_side(kernels, |kernel| {
            let boot = Boot {
                kernel,
                binaries,
                added: &added,
                timeout: TIMEOUT,
                parameters: "",
            };
            let kept = Kept::default();
            let ended = ask(&boot, kept.clone());
            vec![Seen {
                kernel,
                figures: read(&kept.text()),
                ended,
            }]
        });
        seen.sort_by_key(|seen| TABLE.iter().position(|kernel| kernel == seen.kernel));
        Self {
            seen,
            not_tested: missing.iter().map(NotTested::from).collect(),
        }
    }

    fn programs(&self) -> BTreeSet<&str> {
        let figures = self.seen.iter().flat_map(|seen| seen.figures.keys());
        figures.map(String::as_str).collect()
    }

    /// Programs down, kernels across, as Markdown.
    fn table(&self) -> String {
        let mut text = "| program |".to_owned();
        for seen in &self.seen {
            // Writing to a String cannot fail.
            let _ = write!(text, " {} |", seen.kernel.name);
        }
        let _ = writeln!(text, "\n|---|{}", "---|".repeat(self.seen.len()));
        for program in self.programs() {
            let _ = write!(text, "| `{program}` |");
            for seen in &self.seen {
                let _ = match seen.figures.get(program) {
                    Some([instructions, states, stack]) => {
                        write!(text, " {instructions} / {states} / {stack} |")
                    }
                    None => write!(text, " |"),
                };
            }
            text.push('\n');
        }
        text.push('\n');
        for Seen { kernel, .. } in &self.seen {
            let version = kernel.cached().ok().flatten().map(|image| image.version);
            let version = version.unwrap_or_default();
            let _ = writeln!(text, "- {}: {version}", kernel.name);
        }
        for NotTested { kernel, reason } in &self.not_tested {
            let _ = writeln!(text, "- {kernel}: not tested: {reason}");
        }
        text
    }

    /// What was seen where it was most, and some room.
    fn budget(&self) -> anyhow::Result<String> {
        ensure!(self.not_tested.is_empty(), "not every kernel was tested");
        let mut text =
            "# What each program may take of the verifier, on any kernel: instructions, \
                        peak states,\n# bytes of stack. `cargo xtask vm verifier --new-budget` \
                        writes it anew.\n"
                .to_owned();
        for program in self.programs() {
            let mut most = Cost::default();
            for Seen {
                kernel, figures, ..
            } in &self.seen
            {
                let cost = figures.get(program);
                let cost = cost.with_context(|| format!("{}: no {program}", kernel.name))?;
                most = std::array::from_fn(|figure| most[figure].max(cost[figure]));
            }
            let [instructions, states, stack] = most.map(budget_for);
            let stack = stack.min(MAX_STACK);
            let _ = writeln!(
                text,
                "{program:<34} {instructions:>8} {states:>6} {stack:>5}"
            );
        }
        Ok(text)
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.seen.is_empty(), "no kernel was tested");
        let failed: Vec<_> = self
            .seen
            .iter()
            .filter_map(|seen| {
                let error = seen.ended.as_ref().err()?;
                Some(format!("{}: {error:#}", seen.kernel.name))
            })
            .collect();
        ensure!(failed.is_empty(), "{}", failed.join("; "));
        Ok(())
    }
}

fn budget_for(seen: u64) -> u64 {
    (seen * ROOM).div_ceil(100).max(seen + LEAST_ROOM)
}

/// Runs the test in a VM. What it found to be wrong is on stderr by then.
fn ask(boot: &Boot<'_>, stdout: Kept) -> anyhow::Result<()> {
    let job = Job::new(&[PLACE, "--ignored", "--exact", "--nocapture", TEST]);
    let outcome = boot.run(&job, stdout.clone(), io::stderr())?;
    if let Some(trouble) = outcome.trouble() {
        bail!("{trouble}");
    }
    ensure!(
        outcome.code == Ok(0) && stdout.text().contains("1 passed; 0 failed"),
        "a program is over its budget, or was not measured"
    );
    Ok(())
}

/// The lines of the test's output that are a program and its figures.
fn read(printed: &str) -> BTreeMap<String, Cost> {
    let line = |line: &str| {
        let (name, figures) = line.split_once(' ')?;
        let figures: Result<Vec<u64>, _> = figures.split_whitespace().map(str::parse).collect();
        Some((name.to_owned(), figures.ok()?.try_into().ok()?))
    };
    printed.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{Figures, Seen, read};
    use crate::kernels::TABLE;

    const PRINTED: &str = "running 1 test\ntest a::b ... program instructions states stack\n\
                           set_state_kprobe    812    31   248\nok\n\n\
                           test result: ok. 1 passed; 0 failed\n";

    fn figures(printed: &[&str]) -> Figures {
        let seen = |(number, printed): (usize, &&str)| Seen {
            kernel: &TABLE[number],
            figures: read(printed),
            ended: Ok(()),
        };
        Figures {
            seen: printed.iter().enumerate().map(seen).collect(),
            not_tested: Vec::new(),
        }
    }

    #[test]
    fn the_tests_lines_are_found_among_all_others() {
        let read = read(PRINTED);
        assert_eq!(read.len(), 1);
        assert_eq!(read["set_state_kprobe"], [812, 31, 248]);
    }

    #[test]
    fn table_and_budget_have_every_program() {
        let figures = figures(&[PRINTED, "set_state_kprobe 900 10 248\n"]);
        let table = figures.table();
        let line = "| `set_state_kprobe` | 812 / 31 / 248 | 900 / 10 / 248 |\n";
        assert!(table.contains(line), "{table}");
        let budget = figures.budget().unwrap();
        let line = budget.lines().last().unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, ["set_state_kprobe", "1125", "47", "310"]);
    }

    #[test]
    fn a_program_that_was_not_measured_everywhere_has_no_budget() {
        assert!(figures(&[PRINTED, ""]).budget().is_err());
    }
}
