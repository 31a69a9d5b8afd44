//! tcpwnd's automation: `cargo xtask COMMAND`.

mod arch;
mod bench;
mod build;
mod charts;
mod checkout;
mod command;
mod demo;
mod deploy;
mod docs;
mod kernels;
mod last;
mod lint;
mod mutate;
mod paths;
mod printed;
mod release;
mod setup;
mod test;
mod unit_tests;
mod vm;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use arch::Arch;
use kernels::Kernel;

/// tcpwnd's automation.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building and testing want, as far as it is missing
    Setup(setup::Options),
    /// Build the kernel programs, the agent and the laboratory
    Build {
        /// For which architecture; aarch64 takes gcc-aarch64-linux-gnu and libc6-dev-arm64-cross
        #[arg(long, value_enum, default_value_t = Arch::X86_64)]
        arch: Arch,
    },
    /// The gate: set-up, format, lint, unit tests, scenarios in VMs
    Test(test::Options),
    /// Break one thing at a time and see that the scenarios notice
    Mutate(mutate::Options),
    /// Run things in a VM with one of the kernels
    #[command(subcommand)]
    Vm(vm::Task),
    /// The files under deploy/
    #[command(subcommand)]
    Deploy(deploy::Task),
    /// Build the packages for Debian and for distributions with rpm
    Package(release::Options),
    /// Build what a release is: archives, packages, checksums, and what it is made of
    Dist(release::dist::Options),
    /// Show a damaged connection, found and mended, in a VM
    Demo(demo::Options),
    /// Measure what the agent costs, and write it beside the targets into docs/overhead.md (20 minutes)
    Bench(bench::Options),
    /// The kernels that tests run on
    #[command(subcommand)]
    Kernel(KernelTask),
}

#[derive(Subcommand)]
enum KernelTask {
    /// List the kernels and what the cache has of them
    List,
    /// Build 5.10-affected from Debian's source (about 15 minutes on 2 cores)
    Affected,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(command::CANNOT_RUN)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Task::Setup(options) => setup::run(&options).map(|()| ExitCode::SUCCESS),
        Task::Bench(options) => bench::run(&options),
        Task::Build { arch } => build::run_for(arch).map(|_| ExitCode::SUCCESS),
        Task::Test(options) => test::run(&options),
        Task::Dist(options) => release::dist::run(&options),
        Task::Demo(options) => demo::run(&options),
        Task::Deploy(task) => deploy::run(&task),
        Task::Package(options) => release::run(&options),
        Task::Mutate(options) => mutate::run(&options),
        Task::Vm(task) => vm::run(task),
        Task::Kernel(KernelTask::List) => list_kernels().map(|()| ExitCode::SUCCESS),
        Task::Kernel(KernelTask::Affected) => setup::affected::build().map(|()| ExitCode::SUCCESS),
    }
}

fn list_kernels() -> anyhow::Result<()> {
    for kernel in kernels::every() {
        let state = kernel
            .cached()
            .context("look into the cache")?
            .map_or_else(|| "not fetched".to_owned(), |image| image.version);
        println!("{:<16} {state}", kernel.name);
    }
    Ok(())
}

/// Reads a kernel's name on the command line.
fn parse_kernel(name: &str) -> Result<&'static Kernel, String> {
    kernels::find(name).ok_or_else(|| {
        let names: Vec<_> = kernels::every().map(|kernel| kernel.name).collect();
        format!("no such kernel; there are {}", names.join(", "))
    })
}
