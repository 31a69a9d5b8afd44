//! `vm agent-tests`: the agent's unit tests that want root and a kernel with probes.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::ensure;
use clap::Args;

use super::answers::ask;
use super::exec::Boot;
use super::job::Added;
use super::results::{NotTested, Place, Results, Row};
use super::side_by_side::side_by_side;
use crate::arch::Arch;
use crate::build::{self, Binaries};
use crate::command;
use crate::kernels::{self, Kernel, TABLE};
use crate::last::Last;
use crate::parse_kernel;
use crate::setup::{self, Missing};

/// Why such tests are ignored outside of a VM, word for word.
pub const REASON: &str = "runs in a VM: cargo xtask test";

/// Part of the name of every such test (tcpwnd-agent/src/probes/vm_tests.rs).
const FILTER: &str = "vm_tests::";

/// Where the VM has the test binary.
pub const PLACE: &str = "/usr/lib/tcpwnd-agent-tests";

/// What they may take on one kernel.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Where they run.
#[derive(Args)]
pub struct Options {
    /// Only on this kernel (repeatable; all of the table if not given)
    #[arg(long = "kernel", value_parser = parse_kernel)]
    kernels: Vec<&'static Kernel>,
    /// Put the answers into the matrix of docs/kernels.md, as vm test does
    #[arg(long)]
    write: bool,
}

/// Runs them, prints the matrix, and exits with 1 if something failed.
///
/// # Errors
///
/// When set-up or a build fails.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut kernels = options.kernels.clone();
    if kernels.is_empty() {
        kernels.extend(TABLE);
    }
    let arch = kernels::arch_of(&kernels)?;
    ensure!(!options.write || arch == Arch::X86_64, kernels::NOT_WRITTEN);
    let missing = setup::ensure(&kernels, false)?;
    let (binaries, tests) = (build::run_for(arch)?, build::agent_tests_for(arch)?);
    let results = run_on(kernels, &missing, &binaries, &tests, &[]);
    let tally = results.tally();
    println!("{}\n{tally}", results.matrix("unit test"));
    if options.write {
        Last::add_tests(results)?;
    }
    Ok(if tally.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The boots of the full matrix.
pub fn places() -> Vec<Place> {
    let place = |kernel: &Kernel| (kernel.name.to_owned(), String::new());
    TABLE.iter().map(place).collect()
}

/// The names of these tests in a binary that runs here.
///
/// # Errors
///
/// When it cannot be run, or has none.
pub fn names(tests: &Path) -> anyhow::Result<Vec<String>> {
    let arguments = [FILTER, "--ignored", "--list", "--format", "terse"];
    let said = command::output(Command::new(tests).args(arguments))?;
    let names = said.lines().filter_map(|line| line.strip_suffix(": test"));
    let names: Vec<String> = names.map(str::to_owned).collect();
    ensure!(
        !names.is_empty(),
        "{}: no tests like {FILTER}",
        tests.display()
    );
    Ok(names)
}

/// Runs the tests of a binary, one boot for each kernel that could be had; those that are
/// `expected` must be among them.
pub fn run_on(
    mut kernels: Vec<&'static Kernel>,
    missing: &[Missing],
    binaries: &Binaries,
    tests: &Path,
    expected: &[String],
) -> Results {
    let added = [Added {
        from: tests.to_owned(),
        path: PLACE.into(),
    }];
    let missing = missing
        .iter()
        .filter(|missing| kernels.contains(&missing.kernel));
    let not_tested: Vec<_> = missing.map(NotTested::from).collect();
    kernels.retain(|kernel| {
        !not_tested
            .iter()
            .any(|missing| missing.kernel == kernel.name)
    });
    let rows = side_by_side(kernels, |kernel| {
        let boot = Boot {
            kernel,
            binaries,
            added: &added,
            timeout: TIMEOUT,
            parameters: "",
        };
        let argv = ["tcpwnd-lab", "unit-tests", PLACE, FILTER];
        let answers = ask(&boot, &argv, expected, kernel.name);
        Row::of(kernel, "", &binaries.made, answers)
    });
    Results { rows, not_tested }
}
