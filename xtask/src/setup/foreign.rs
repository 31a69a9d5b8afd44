//! What it takes to build for aarch64 and to run that in VMs: a linker, an emulator, and in place of
//! this machine's programs those of Debian for that architecture.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::apt::Archive;
use super::{packages, qemu};
use crate::arch::Arch;
use crate::command::which;
use crate::paths;

/// The linker.
pub const LINKER: &str = "aarch64-linux-gnu-gcc";

/// What is installed here: the package, and a file that it brings, or its program.
const PACKAGES: &[(&str, &str)] = &[
    ("gcc-aarch64-linux-gnu", LINKER),
    ("libc6-dev-arm64-cross", "/usr/aarch64-linux-gnu/lib/libc.a"),
    ("qemu-system-arm", "qemu-system-aarch64"),
];

/// Where the VM's programs come from, and the packages that have them.
const SUITES: &[&str] = &["trixie", "trixie-security"];
const CONTENT: &[&str] = &[
    "bash",
    "bpftool",
    "busybox-static",
    "coreutils",
    "curl",
    "dash",
    "findutils",
    "iproute2",
    "jq",
    "kmod",
    "nftables",
    "procps",
    "tcpdump",
    "util-linux",
];

/// Gets all of it, as far as it is missing.
///
/// # Errors
///
/// When something is missing that cannot be installed or fetched.
pub fn ensure() -> anyhow::Result<()> {
    let is_there = |brought: &str| match brought.starts_with('/') {
        true => Path::new(brought).exists(),
        false => which(brought).is_some(),
    };
    let missing = PACKAGES.iter().filter(|(_, brings)| !is_there(brings));
    packages::bring(
        &missing
            .map(|(name, _)| (*name).to_owned())
            .collect::<Vec<_>>(),
    )?;
    qemu::ensure(Arch::Aarch64)?;
    let place = root()?;
    if place.is_dir() {
        return Ok(());
    }
    eprintln!("setup: fetching the programs that VMs for aarch64 contain");
    let archive = Archive::open_for(Arch::Aarch64, "arm64-root", SUITES)?;
    let unpacked = archive.unpack_whole(CONTENT)?;
    // The folder is moved into its place when it is complete.
    fs::rename(unpacked.path(), &place)
        .with_context(|| format!("move what was unpacked to {}", place.display()))
}

/// Those programs, with their libraries, as they would be installed.
///
/// # Errors
///
/// When there is no place for a cache.
pub fn root() -> anyhow::Result<PathBuf> {
    Ok(paths::cache()?.join("arm64-root"))
}
