//! `bench`: what the agent costs, beside what it may cost, measured and written into docs/overhead.md.
//!
//! Constraint: nothing fails because it is slow. What fails is what could not be measured.

mod figures;
mod machine;
mod native;
mod reference;
mod table;

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::build::{self, Binaries};
use crate::docs;
use crate::kernels::Kernel;
use crate::parse_kernel;
use crate::vm::exec::{Boot, prepare};
use crate::vm::job::{Added, Job};
use figures::{Figure, Figures, Lines};

/// What a VM may take.
const TIMEOUT: Duration = Duration::from_secs(900);

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Instructions of passive handshakes, by mechanism and program, beside those of the same in C
    Handshakes,
    /// Instructions of hooks whose programs do nothing
    Mechanisms,
    /// Resident memory, and the memory of the maps
    Memory,
    /// Size of the shipped program
    Size,
}

/// Where, and what becomes of it.
#[derive(Args)]
pub struct Options {
    /// The kernel to measure on
    #[arg(long, value_parser = parse_kernel, default_value = "6.12")]
    kernel: &'static Kernel,
    /// Measure and print only this (repeatable), and leave docs/overhead.md as it is
    #[arg(long = "part", value_enum)]
    parts: Vec<Part>,
}

/// Measures everything, prints it, and writes it into the document.
///
/// # Errors
///
/// When set-up, a build or QEMU fails, when a part could not be measured, or the document cannot be
/// written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let begin = Instant::now();
    let parts = match options.parts.as_slice() {
        [] => Part::value_variants(),
        some => some,
    };
    // As it is shipped; the laboratory is as always.
    let binaries = Binaries {
        lab: prepare(options.kernel)?.lab,
        agent: build::dist()?,
    };
    let mut figures = Figures::new(counted(options.kernel, &binaries, parts)?);
    if parts.contains(&Part::Size) {
        figures.extend(vec![native::size(&binaries.agent)?]);
    }
    let machine = machine::describe(options.kernel)?;
    let text = format!("{machine}\n\n{}", table::write(&figures));
    println!("{text}");
    if options.parts.is_empty() {
        docs::write_overhead(&text)?;
    }
    eprintln!("took {} s", begin.elapsed().as_secs());
    Ok(ExitCode::SUCCESS)
}

impl Part {
    /// What the laboratory calls it, where it is measured by counting instructions.
    const fn counted(self) -> Option<&'static str> {
        match self {
            Self::Handshakes => Some("handshakes"),
            Self::Mechanisms => Some("mechanisms"),
            Self::Memory => Some("memory"),
            Self::Size => None,
        }
    }
}

/// What is measured where a nanosecond is an instruction.
fn counted(
    kernel: &'static Kernel,
    binaries: &Binaries,
    parts: &[Part],
) -> anyhow::Result<Vec<Figure>> {
    let names: Vec<_> = parts.iter().filter_map(|part| part.counted()).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let added = [Added {
        from: reference::build()?,
        path: reference::PLACE.into(),
    }];
    eprintln!(
        "bench: counting instructions in a VM with kernel {}",
        kernel.name
    );
    let boot = Boot {
        kernel,
        binaries,
        added: &added,
        timeout: TIMEOUT,
    };
    let job = Job::new(&[&["tcpwnd-lab", "cost"], names.as_slice()].concat());
    let lines = Lines::default();
    let outcome = boot.run_counting(&job, lines.clone(), io::stderr())?;
    match (&outcome.code, outcome.trouble()) {
        (Ok(0), None) => lines.figures().context("read what the laboratory measured"),
        (code, trouble) => bail!(
            "the laboratory did not measure it: {}\n{}",
            trouble.unwrap_or_else(|| format!("it ended with {code:?}")),
            outcome.log.trim_end()
        ),
    }
}
