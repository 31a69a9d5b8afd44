//! `vm causes`: what provokes causes, on kernels, and the table of what was reported.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::causes_table::CausesTable;
use super::test::{Caps, Choice, DEFAULT_TIMEOUT, Mechanism, Run, State, Transport, run_all};
use crate::build;
use crate::docs;
use crate::kernels::{Kernel, TABLE};
use crate::parse_kernel;
use crate::setup;

/// Where.
#[derive(Args)]
pub struct Options {
    /// Only on this kernel (repeatable; all of the table if not given)
    #[arg(long = "kernel", value_parser = parse_kernel)]
    kernels: Vec<&'static Kernel>,
    /// Attach by this (repeatable)
    #[arg(long = "mechanism", value_enum, default_values_t = [Mechanism::Fentry])]
    mechanisms: Vec<Mechanism>,
    /// Write the table into docs/detection.md
    #[arg(long)]
    write: bool,
}

/// Provokes every cause, prints the table, and exits with 1 if something in it is wrong, or if a
/// documented cause lacks what brings it about or looks like it on all kernels.
///
/// # Errors
///
/// When set-up or a build fails, or the table cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut kernels = options.kernels.clone();
    if kernels.is_empty() {
        kernels.extend(TABLE);
    }
    let missing = setup::ensure(&kernels, false)?;
    let binaries = build::run()?;
    let mut runs = Vec::new();
    for kernel in &kernels {
        runs.extend(options.mechanisms.iter().map(|mechanism| Run {
            kernel,
            mechanism: *mechanism,
            transport: Transport::Ring,
            caps: Caps::All,
            choice: Choice::Causes,
            state: State::Usual,
        }));
    }
    let timeout = Duration::from_secs(DEFAULT_TIMEOUT);
    let results = run_all(runs, &missing, &binaries, timeout);
    let table = CausesTable::of(&results, &docs::causes()?);
    if options.write {
        docs::write_causes(&table)?;
    }
    println!(
        "{}\n{}; cells: {}",
        table.text,
        results.tally(),
        table.cells
    );
    // A part of the kernels need not bring about everything.
    let complete = !options.kernels.is_empty() || table.gaps.is_empty();
    let good = results.tally().is_good() && table.cells.is_good() && complete;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
