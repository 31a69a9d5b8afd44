//! `vm exec` and `vm shell`: one command in one VM.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::initramfs;
use super::job::{Added, Job};
pub use super::qemu::Outcome;
use super::qemu::{Machine, Vm};
use crate::build::{self, Binaries};
use crate::command::CANNOT_RUN;
use crate::kernels::Kernel;
use crate::parse_kernel;
use crate::paths;
use crate::setup;

/// Exit code of a command that took too long, as timeout(1) has it.
const TIMED_OUT: u8 = 124;

/// Which command, where.
#[derive(Args)]
pub struct Options {
    /// The kernel to boot
    #[arg(long, value_parser = parse_kernel)]
    kernel: &'static Kernel,
    /// A file or folder to put into the VM; without PATH under the name given (repeatable)
    #[arg(long = "add", value_name = "FILE[:PATH]")]
    added: Vec<String>,
    /// Parameters for the kernel, as in `lockdown=confidentiality`
    #[arg(long, default_value = "")]
    parameters: String,
    /// Seconds after which the VM is killed
    #[arg(long, value_name = "S", default_value_t = 300)]
    timeout: u64,
    /// The command, run as root in /root; tcpwnd and tcpwnd-lab are in PATH
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Which kernel the shell gets.
#[derive(Args)]
pub struct ShellOptions {
    /// The kernel to boot
    #[arg(long, value_parser = parse_kernel)]
    kernel: &'static Kernel,
    /// A file or folder to put into the VM; without PATH under the name given (repeatable)
    #[arg(long = "add", value_name = "FILE[:PATH]")]
    added: Vec<String>,
}

/// Runs the command. Its output is passed on; the kernel's log is shown if something went wrong.
///
/// # Errors
///
/// When set-up, a build or QEMU fails.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let added = parse_added(&options.added)?;
    let binaries = prepare(options.kernel)?;
    let job = Job::new(&options.command);
    let timeout = Duration::from_secs(options.timeout);
    let boot = Boot {
        kernel: options.kernel,
        binaries: &binaries,
        added: &added,
        timeout,
        parameters: &options.parameters,
    };
    let outcome = boot.run(&job, io::stdout(), io::stderr())?;
    Ok(judge(&outcome))
}

/// Opens a shell.
///
/// # Errors
///
/// As for [`run`].
pub fn shell(options: &ShellOptions) -> anyhow::Result<ExitCode> {
    let added = parse_added(&options.added)?;
    let binaries = prepare(options.kernel)?;
    let boot = Boot {
        kernel: options.kernel,
        binaries: &binaries,
        added: &added,
        timeout: Duration::MAX,
        parameters: "",
    };
    eprintln!("xtask: {}; Ctrl-D ends it", options.kernel.name);
    let outcome = boot.run_on_terminal(Job::new(&["bash", "--norc", "-i"]))?;
    Ok(judge(&outcome))
}

/// A VM about to be booted.
pub struct Boot<'a> {
    /// Its kernel, which the cache has.
    pub kernel: &'static Kernel,
    /// Our binaries.
    pub binaries: &'a Binaries,
    /// What else it gets.
    pub added: &'a [Added],
    /// When it is killed.
    pub timeout: Duration,
    /// Parameters for its kernel.
    pub parameters: &'a str,
}

impl Boot<'_> {
    /// Runs a job, passing its output on.
    ///
    /// # Errors
    ///
    /// When the initramfs cannot be made or QEMU cannot be started.
    pub fn run(
        &self,
        job: &Job,
        stdout: impl io::Write + Send + 'static,
        stderr: impl io::Write + Send + 'static,
    ) -> anyhow::Result<Outcome> {
        self.with_vm(job, Machine::Ordinary, |vm| vm.run(stdout, stderr))
    }

    /// As [`Boot::run`], where a nanosecond is an executed instruction.
    ///
    /// # Errors
    ///
    /// As for [`Boot::run`].
    pub fn run_counting(
        &self,
        job: &Job,
        stdout: impl io::Write + Send + 'static,
        stderr: impl io::Write + Send + 'static,
    ) -> anyhow::Result<Outcome> {
        self.with_vm(job, Machine::Counting, |vm| vm.run(stdout, stderr))
    }

    /// Runs a job with this process's terminal as its own.
    ///
    /// # Errors
    ///
    /// As for [`Boot::run`].
    pub fn run_on_terminal(&self, mut job: Job) -> anyhow::Result<Outcome> {
        job.terminal = true;
        for name in ["TERM", "COLUMNS", "LINES", "NO_COLOR"] {
            if let Ok(value) = std::env::var(name) {
                job.env.push((name.to_owned(), value));
            }
        }
        self.with_vm(&job, Machine::Ordinary, |vm| vm.run_on_terminal())
    }

    fn with_vm(
        &self,
        job: &Job,
        machine: Machine,
        run: impl FnOnce(&Vm<'_>) -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<Outcome> {
        ensure!(
            self.binaries.arch == self.kernel.arch,
            "the programs were not built for what {} runs on",
            self.kernel.name
        );
        let image = self
            .kernel
            .cached()?
            .with_context(|| format!("kernel {} is not in the cache", self.kernel.name))?;
        let folder = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(paths::vm_folder()?)?;
        let initramfs = folder.path().join("initramfs");
        initramfs::write(&initramfs, &image, self.binaries, self.added, job)?;
        run(&Vm {
            image: &image,
            machine,
            initramfs: &initramfs,
            folder: folder.path(),
            timeout: self.timeout,
            parameters: self.parameters,
        })
    }
}

/// Sets up what this kernel needs, and builds.
///
/// # Errors
///
/// When set-up or the build fails.
pub fn prepare(kernel: &'static Kernel) -> anyhow::Result<Binaries> {
    if let Some(missing) = setup::ensure(&[kernel], false)?.first() {
        bail!(
            "kernel {} cannot be had: {}",
            missing.kernel.name,
            missing.reason
        );
    }
    build::run_for(kernel.arch)
}

fn parse_added(texts: &[String]) -> anyhow::Result<Vec<Added>> {
    texts.iter().map(|text| Added::parse(text)).collect()
}

/// The exit code: the command's, unless the VM itself had trouble, which is told on stderr.
pub fn judge(outcome: &Outcome) -> ExitCode {
    match (&outcome.code, outcome.trouble()) {
        (Ok(code), None) => ExitCode::from(*code),
        (_, trouble) => {
            eprintln!(
                "--- kernel log ---\n{}\n--- end of kernel log ---",
                outcome.log.trim_end()
            );
            eprintln!("xtask: {}", trouble.unwrap_or_default());
            ExitCode::from(if outcome.timed_out {
                TIMED_OUT
            } else {
                CANNOT_RUN
            })
        }
    }
}
