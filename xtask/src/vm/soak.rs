//! `vm soak`: reconnect storms for an hour, and what the agent takes meanwhile.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;

use super::alert;
use super::exec::{Boot, judge, prepare};
use super::job::Job;
use super::qemu::Outcome;
use super::story::{Panel, Story};
use crate::build::Binaries;
use crate::charts::Unit;
use crate::docs;
use crate::kernels::Kernel;
use crate::parse_kernel;
use crate::printed::Printed;
use crate::setup::Missing;

/// Minutes that show whether it still works.
const FEW: u64 = 3;

/// What is drawn of it.
const DRAWN: [Panel; 4] = [
    ("Resident memory", Unit::Bytes),
    ("Open file descriptors", Unit::Count),
    ("Connections accepted", Unit::Count),
    ("Damaged connections of each storm", Unit::Count),
];

/// For how long, where, and what becomes of it.
#[derive(Args)]
pub struct Options {
    /// For how long, in minutes
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=24 * 60))]
    minutes: u64,
    /// The kernel to boot; 5.10-affected unless told otherwise, or newest where that is not had
    #[arg(long, value_parser = parse_kernel)]
    kernel: Option<&'static Kernel>,
    /// Write what it prints into docs/overhead.md as well, and draw it
    #[arg(long)]
    write: bool,
}

/// Sets up, builds, boots and shows.
///
/// # Errors
///
/// When set-up, a build or QEMU fails, or the document cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let kernel = match options.kernel {
        Some(kernel) => kernel,
        None => alert::choose()?,
    };
    let binaries = prepare(kernel)?;
    eprintln!("soak: booting kernel {} in a VM", kernel.name);
    let (printed, story) = (Printed::default(), Story::default());
    let outcome = play(
        kernel,
        &binaries,
        options.minutes,
        story.to(printed.clone()),
    )?;
    let code = judge(&outcome);
    if code == ExitCode::SUCCESS {
        let picture = story.draw(&DRAWN)?;
        if options.write {
            docs::write_soak(&printed.text(), &picture)?;
        }
    }
    Ok(code)
}

/// Some minutes of it hold; what was seen is told on stderr.
///
/// # Errors
///
/// When they do not, or it cannot be tried.
pub fn hold(missing: &[Missing], binaries: &Binaries) -> anyhow::Result<()> {
    let story = Story::default();
    let kernel = alert::had(missing)?;
    let outcome = play(kernel, binaries, FEW, story.to(io::stderr()))?;
    ensure!(judge(&outcome) == ExitCode::SUCCESS, "they do not hold");
    story.draw(&DRAWN).map(drop)
}

fn play(
    kernel: &'static Kernel,
    binaries: &Binaries,
    minutes: u64,
    stdout: impl Write + Send + 'static,
) -> anyhow::Result<Outcome> {
    let boot = Boot {
        kernel,
        binaries,
        added: &[],
        // Beside the storms: the boot, and the last storm, which may begin in the last second.
        timeout: Duration::from_secs(60 * (minutes + 15)),
        parameters: "",
    };
    let minutes = minutes.to_string();
    let job = Job::new(&["tcpwnd-lab", "soak", "--minutes", &minutes]);
    boot.run(&job, stdout, io::stderr())
}
