//! `cargo xtask demo`: the laboratory's demo in a VM, on this terminal.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::docs;
use crate::kernels::Kernel;
use crate::parse_kernel;
use crate::printed::Printed;
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
    /// Write what it prints into the README as well
    #[arg(long)]
    write: bool,
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
        parameters: "",
    };
    eprintln!("demo: booting kernel {} in a VM", options.kernel.name);
    let printed = Printed::default();
    let outcome = boot.run(
        &Job::new(&["tcpwnd-lab", "demo"]),
        printed.clone(),
        io::stderr(),
    )?;
    let code = judge(&outcome);
    if options.write && code == ExitCode::SUCCESS {
        docs::write_demo(&printed.text())?;
    }
    Ok(code)
}
