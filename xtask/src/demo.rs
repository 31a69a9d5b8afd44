//! `cargo xtask demo`: the laboratory's demo in a VM, on this terminal.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;

use crate::docs;
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

/// Passes everything on to stdout at once, and keeps it.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = io::stdout().write(bytes)?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
