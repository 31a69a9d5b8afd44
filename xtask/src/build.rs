//! Builds what goes into a VM: the agent (whose build script builds the kernel programs) and the
//! laboratory, both static.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::arch::Arch;
use crate::checkout;
use crate::command;
use crate::paths;
use crate::setup::foreign;

/// Named explicitly so that build scripts and procedural macros stay dynamic.
const TARGET: &str = Arch::X86_64.target();

/// The variable from which the agent takes its revision (tcpwnd-agent/src/output/itself.rs).
const REVISION: &str = "TCPWND_REVISION";

/// The static binaries.
pub struct Binaries {
    /// What they run on.
    pub arch: Arch,
    /// `tcpwnd`.
    pub agent: PathBuf,
    /// `tcpwnd-lab`.
    pub lab: PathBuf,
    /// When they were built, and from which commit.
    pub made: String,
}

/// Builds the two binaries; quick when nothing changed.
///
/// # Errors
///
/// When cargo fails; it has said why.
pub fn run() -> anyhow::Result<Binaries> {
    run_for(Arch::X86_64)
}

/// As [`run`], for an architecture.
///
/// # Errors
///
/// As for [`run`].
pub fn run_for(arch: Arch) -> anyhow::Result<Binaries> {
    // What is edited while cargo runs may still be in.
    let made = checkout::now();
    let mut cargo = static_cargo("build", arch)?;
    if let Some(revision) = revision() {
        cargo.env(REVISION, revision);
    }
    command::run(cargo.args(["-p", "tcpwnd-agent", "-p", "tcpwnd-lab"]))?;
    let folder = target(arch).join(arch.target()).join("release");
    Ok(Binaries {
        arch,
        agent: folder.join("tcpwnd"),
        lab: folder.join("tcpwnd-lab"),
        made,
    })
}

/// Builds the agent as it is shipped: optimised as a whole, and without a word on where it was built.
///
/// # Errors
///
/// When cargo fails (it has said why), or the program names a folder of this machine.
pub fn dist() -> anyhow::Result<PathBuf> {
    let mut cargo = cargo(&paths::workspace());
    let flags = ["-Ctarget-feature=+crt-static", "-Awarnings"].map(str::to_owned);
    let flags: Vec<_> = flags.into_iter().chain(remapped()?).collect();
    if let Some(revision) = revision() {
        cargo.env(REVISION, revision);
    }
    command::run(
        cargo
            .args(["build", "--quiet", "--locked", "--profile", "dist"])
            .args(["--target", TARGET, "-p", "tcpwnd-agent", "--target-dir"])
            .arg(paths::target())
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}")),
    )?;
    let agent = paths::target().join(TARGET).join("dist/tcpwnd");
    let bytes = fs::read(&agent).with_context(|| format!("read {}", agent.display()))?;
    for folder in [paths::workspace(), cargo_home()?] {
        let name = folder.as_os_str().as_encoded_bytes();
        let named = bytes.windows(name.len()).any(|window| window == name);
        ensure!(!named, "the agent names the folder {}", folder.display());
    }
    Ok(agent)
}

/// Flags that give other names to the folders that sources lie in.
fn remapped() -> anyhow::Result<Vec<String>> {
    let rustc = |what: &[&str]| command::output(Command::new("rustc").args(what));
    let sysroot = rustc(&["--print", "sysroot"])?;
    let version = rustc(&["-vV"])?;
    let commit = version
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "));
    let mut names = vec![
        (paths::workspace(), "/tcpwnd".to_owned()),
        // As it is called in what comes compiled.
        (
            Path::new(sysroot.trim()).join("lib/rustlib/src/rust"),
            format!("/rustc/{}", commit.unwrap_or("unknown")),
        ),
    ];
    let registries = cargo_home()?.join("registry/src");
    if let Ok(entries) = fs::read_dir(&registries) {
        for entry in entries {
            names.push((entry?.path(), "/crates".to_owned()));
        }
    }
    let flag =
        |(from, to): (PathBuf, String)| format!("--remap-path-prefix={}={to}", from.display());
    Ok(names.into_iter().map(flag).collect())
}

/// Where cargo keeps the sources of crates.
fn cargo_home() -> anyhow::Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

/// What this checkout is called in tcpwnd_build_info: what the user says, else what git does.
/// Only the agent's own crate reads it, and is compiled again when it changes.
fn revision() -> Option<OsString> {
    let workspace = paths::workspace();
    let told = env::var_os(REVISION);
    if told.is_some() || !workspace.join(".git").exists() {
        return told;
    }
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"])
        // A build writes nothing into the repository.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .current_dir(workspace);
    match command::output(&mut git) {
        Ok(revision) => Some(revision.trim().into()),
        Err(error) => {
            eprintln!("xtask: the agent's revision will be \"unknown\": {error:#}");
            None
        }
    }
}

/// Builds the agent's unit tests as what goes into a VM, and returns the program.
///
/// # Errors
///
/// When cargo fails (it has said why), or names no program.
pub fn agent_tests() -> anyhow::Result<PathBuf> {
    agent_tests_for(Arch::X86_64)
}

/// As [`agent_tests`], for an architecture.
///
/// # Errors
///
/// As for [`agent_tests`].
pub fn agent_tests_for(arch: Arch) -> anyhow::Result<PathBuf> {
    let messages = command::output(
        static_cargo("test", arch)?
            .args(["--no-run", "-p", "tcpwnd-agent", "--bin", "tcpwnd"])
            .arg("--message-format=json-render-diagnostics")
            .stderr(Stdio::inherit()),
    )?;
    messages
        .lines()
        .find_map(test_program)
        .context("cargo test --no-run named no test program of tcpwnd-agent: it has no unit tests")
}

/// A test program, where this message of cargo's is about one.
fn test_program(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_test = message["profile"]["test"].as_bool()?;
    is_test.then_some(message["executable"].as_str()?.into())
}

/// cargo for static programs without debug information, all with the same flags, so that what
/// they have in common is built once.
fn static_cargo(subcommand: &str, arch: Arch) -> anyhow::Result<Command> {
    let mut cargo = cargo(&paths::workspace());
    cargo
        .args([subcommand, "--quiet", "--release"])
        .args(["--target", arch.target()])
        .arg("--target-dir")
        .arg(target(arch))
        // Warnings are clippy's matter; cargo would repeat them before each VM.
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static -Awarnings");
    if arch == Arch::Aarch64 {
        cargo.env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
            foreign::LINKER,
        );
        if !has_std(arch)? {
            // From the source that set-up has for the kernel programs. It is unstable; this is what
            // lets a stable compiler do it.
            cargo.args(["-Z", "build-std=std,panic_unwind"]);
            cargo.env("RUSTC_BOOTSTRAP", "1");
        }
    }
    Ok(cargo)
}

/// Where is built for an architecture: what the variables above change would be built anew each time
/// in one folder.
fn target(arch: Arch) -> PathBuf {
    match arch {
        Arch::X86_64 => paths::target(),
        Arch::Aarch64 => paths::target().join("aarch64"),
    }
}

/// Whether rustc has a compiled standard library for it.
fn has_std(arch: Arch) -> anyhow::Result<bool> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", arch.target()]);
    Ok(Path::new(command::output(&mut rustc)?.trim()).is_dir())
}

/// The cargo that runs this program, in `folder`, without what it or its user set for this program.
pub fn cargo(folder: &Path) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    cargo.current_dir(folder);
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "RUSTFLAGS",
        REVISION,
    ] {
        cargo.env_remove(name);
    }
    cargo
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::test_program;

    #[test]
    fn cargos_messages() {
        let message = |test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","profile":{{"test":{test}}},"executable":"/x"}}"#
            )
        };
        assert_eq!(test_program(&message(true)).unwrap(), Path::new("/x"));
        assert_eq!(test_program(&message(false)), None);
        assert_eq!(test_program(r#"{"reason":"build-finished"}"#), None);
        assert_eq!(test_program("not json"), None);
    }
}
