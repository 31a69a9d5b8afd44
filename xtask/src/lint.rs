//! Format and lint, for everything including the kernel programs.

use std::process::Command;

use crate::build::cargo;
use crate::command;
use crate::paths;
use crate::setup::cargo_tool;

/// One check: what it is called, and its command.
pub struct Lint {
    /// For the report.
    pub name: &'static str,
    command: Command,
}

impl Lint {
    /// Runs it; what it finds is on stderr.
    pub fn passes(mut self) -> bool {
        command::run(&mut self.command).is_ok()
    }
}

/// Whether dependencies are what deny.toml allows. Known weaknesses are left out: their list is
/// fetched from where not everybody can reach it.
///
/// # Errors
///
/// When cargo-deny cannot be had.
pub fn dependencies() -> anyhow::Result<Lint> {
    let mut deny = Command::new(cargo_tool::DENY.ensure()?);
    deny.args(["--locked", "check", "--hide-inclusion-graph"])
        .args(["bans", "licenses", "sources"])
        .current_dir(paths::workspace());
    Ok(Lint {
        name: "dependencies",
        command: deny,
    })
}

/// All checks.
pub fn all() -> Vec<Lint> {
    let workspace = paths::workspace();
    let mut format = cargo(&workspace);
    format.args(["fmt", "--all", "--", "--check"]);
    let mut clippy = cargo(&workspace);
    clippy.args(["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]);
    let programs = |features: &str| {
        let mut programs = cargo(&workspace);
        programs
            .args(["clippy", "--quiet", "-p", "tcpwnd-ebpf"])
            .args(["--features", features])
            .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
            .arg("--target-dir")
            .arg(paths::target().join("bpf"))
            .args(["--", "-D", "warnings"])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "--cfg=bpf_target_arch=\"x86_64\"");
        programs
    };
    // No test builds the agent with it.
    let mut debug_log = cargo(&workspace);
    debug_log
        .args(["clippy", "--quiet", "-p", "tcpwnd-agent", "--all-targets"])
        .args(["--features", "debug-log", "--", "-D", "warnings"]);
    [
        ("format", format),
        ("clippy", clippy),
        ("clippy of the agent with debug-log", debug_log),
        ("clippy of the kernel programs", programs("log")),
        ("clippy of those for perf buffers", programs("perf")),
    ]
    .into_iter()
    .map(|(name, command)| Lint { name, command })
    .collect()
}
