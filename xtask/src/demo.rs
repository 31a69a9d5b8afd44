//! `cargo xtask demo`: the laboratory's demo in a VM, on this terminal.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::kernels::Kernel;
use crate::parse_kernel;
use crate::vm::exec::{Boot, judge, prepare};
use crate::vm::job::Job;

/// How long a demo may take.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Where the demo runs.
#[derive(Args)]
pub struct Options {
    /// The kernel to boot, a stock one unless told otherwise
    #[arg(long, value_parser = parse_kernel, default_value = "6.12")]
    kernel: &'static Kernel,
}

/// Sets up, builds, boots and shows.
///
/// # Errors
///
/// When set-up, a build or QEMU fails.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let binaries = prepare(options.kernel)?;
    let boot = Boot {
        kernel: options.kernel,
        binaries: &binaries,
        added: &[],
        timeout: TIMEOUT,
    };
    eprintln!("demo: booting kernel {} in a VM", options.kernel.name);
    let outcome = boot.run(
        &Job::new(&["tcpwnd-lab", "demo"]),
        io::stdout(),
        io::stderr(),
    )?;
    Ok(judge(&outcome))
}
