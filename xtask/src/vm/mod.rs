//! VMs: one kernel of the table, an initramfs of this machine's tools and our binaries, one
//! command.

pub mod agent_tests;
pub mod alert;
mod answers;
mod causes;
pub mod causes_table;
mod cpio;
pub mod exec;
mod initramfs;
pub mod job;
mod klog;
pub mod lines;
mod modules;
pub mod packages;
mod provoked;
mod qemu;
pub mod results;
mod runs;
mod side_by_side;
pub mod soak;
mod story;
pub mod test;
mod tools;
pub mod verifier;

use std::process::ExitCode;

use clap::Subcommand;

/// What can be done with VMs.
#[derive(Subcommand)]
pub enum Task {
    /// Run a command as root in a VM; exits with its code
    Exec(exec::Options),
    /// Run scenarios on kernels and print the matrix
    Test(test::Options),
    /// Provoke every cause on kernels and print what was reported
    Causes(causes::Options),
    /// Show the project's alerts in a real Prometheus during a reconnect storm, and what the dashboard makes of it (6 minutes)
    Alert(alert::Options),
    /// Let producers come back all at once for an hour, and show what the agent takes meanwhile
    Soak(soak::Options),
    /// Run the agent's unit tests that want a kernel with probes
    AgentTests(agent_tests::Options),
    /// Show what the verifier takes to check each kernel program, and hold it against the budget
    Verifier(verifier::Options),
    /// Install, upgrade and remove the packages in a clean Debian under systemd
    Packages(packages::Options),
    /// An interactive shell in a VM
    Shell(exec::ShellOptions),
}

/// Does it.
///
/// # Errors
///
/// When set-up, a build or QEMU fails.
pub fn run(task: Task) -> anyhow::Result<ExitCode> {
    match task {
        Task::Exec(options) => exec::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Causes(options) => causes::run(&options),
        Task::Alert(options) => alert::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::AgentTests(options) => agent_tests::run(&options),
        Task::Verifier(options) => verifier::run(&options),
        Task::Packages(options) => packages::run(&options),
        Task::Shell(options) => exec::shell(&options),
    }
}
