//! Builds what goes into a VM: the agent (whose build script builds the kernel programs) and the
//! laboratory, both static.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;
use crate::paths;

/// Named explicitly so that build scripts and procedural macros stay dynamic.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The static binaries.
pub struct Binaries {
    /// `tcpwnd`.
    pub agent: PathBuf,
    /// `tcpwnd-lab`.
    pub lab: PathBuf,
}

/// Builds the two binaries; quick when nothing changed.
///
/// # Errors
///
/// When cargo fails; it has said why.
pub fn run() -> anyhow::Result<Binaries> {
    command::run(
        cargo(&paths::workspace())
            .args(["build", "--quiet", "--release", "--target", TARGET])
            .args(["-p", "tcpwnd-agent", "-p", "tcpwnd-lab"])
            .arg("--target-dir")
            .arg(paths::target())
            // Warnings are clippy's matter; cargo would repeat them before each VM.
            .env("RUSTFLAGS", "-Ctarget-feature=+crt-static -Awarnings"),
    )?;
    let folder = paths::target().join(TARGET).join("release");
    Ok(Binaries {
        agent: folder.join("tcpwnd"),
        lab: folder.join("tcpwnd-lab"),
    })
}

/// The cargo that runs this program, in `folder`, without what it set for this program.
pub fn cargo(folder: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    cargo.current_dir(folder);
    for name in ["CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    cargo
}
