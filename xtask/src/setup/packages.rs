//! Debian packages with the programs and libraries that building and testing call.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::apt::Archive;
use super::bpf_linker;
use crate::command::{self, which};

/// A package, and how to see that what it brings is there, whoever installed it.
struct Package {
    name: &'static str,
    brings: Brings,
}

enum Brings {
    Program(&'static str),
    File(&'static str),
    /// A module of Python.
    Module(&'static str),
}

use Brings::{File, Module, Program};

const fn package(name: &'static str, brings: Brings) -> Package {
    Package { name, brings }
}

const PACKAGES: &[Package] = &[
    // Building.
    package("gcc", Program("cc")),
    package("libc6-dev", File("/usr/include/stdio.h")),
    package("libzstd-dev", File("/usr/include/zstd.h")),
    package("zlib1g-dev", File("/usr/include/zlib.h")),
    // The VM.
    package("qemu-system-x86", Program("qemu-system-x86_64")),
    package("xz-utils", Program("xz")),
    // The packages, and what reads them.
    package("binutils", Program("strip")),
    package("lintian", Program("lintian")),
    package("mmdebstrap", Program("mmdebstrap")),
    package("rpm", Program("rpmbuild")),
    // What reads the Helm chart.
    package("python3-venv", Module("ensurepip")),
    // What the VM contains.
    package("busybox-static", Program("busybox")),
    package("bash", Program("bash")),
    package("bpftool", Program("bpftool")),
    package("curl", Program("curl")),
    package("iproute2", Program("tc")),
    package("jq", Program("jq")),
    package("kmod", Program("depmod")),
    package("nftables", Program("nft")),
    package("procps", Program("sysctl")),
    package("tcpdump", Program("tcpdump")),
];

/// Installs what is missing.
///
/// # Errors
///
/// When something is missing and this is not root on a Debian system, or apt-get fails.
pub fn ensure() -> anyhow::Result<()> {
    let mut missing: Vec<String> = PACKAGES
        .iter()
        .filter(|package| !is_there(package))
        .map(|package| package.name.to_owned())
        .collect();
    // LLVM is only needed to build the linker, which may be there already.
    if !bpf_linker::is_there()? && bpf_linker::installed_llvm()?.is_none() {
        missing.push(bpf_linker::llvm_package()?);
    }
    bring(&missing)
}

/// Installs these packages.
///
/// # Errors
///
/// When there are any and this is not root on a Debian system, or apt-get fails.
pub fn bring(missing: &[String]) -> anyhow::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!(
        "apt-get install --no-install-recommends {}",
        missing.join(" ")
    );
    if which("apt-get").is_none() {
        bail!(
            "missing: {} (Debian's names); install them by hand",
            missing.join(" ")
        );
    }
    if !is_root()? {
        bail!("missing: {}; as root: {by_hand}", missing.join(" "));
    }
    eprintln!("setup: installing {}", missing.join(" "));
    install(missing).with_context(|| format!("by hand: {by_hand}"))
}

fn install(missing: &[String]) -> anyhow::Result<()> {
    apt_get(&["update", "-qq"])?;
    let (known, unknown): (Vec<String>, Vec<String>) = missing
        .iter()
        .cloned()
        .partition(|name| command::output(Command::new("apt-cache").args(["show", name])).is_ok());
    if !known.is_empty() {
        let mut arguments = vec!["install", "-qq", "--yes", "--no-install-recommends"];
        arguments.extend(known.iter().map(String::as_str));
        apt_get(&arguments)?;
    }
    if !unknown.is_empty() {
        // The newest LLVM of a release comes with its security updates, which a bare system is
        // not configured for.
        let release = codename()?;
        let security = format!("{release}-security");
        Archive::open("system", &[&release, &security])?.install(&unknown)?;
    }
    Ok(())
}

/// The name of this Debian release.
fn codename() -> anyhow::Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .context("/etc/os-release names no VERSION_CODENAME")
}

fn is_there(package: &Package) -> bool {
    match package.brings {
        Program(name) => which(name).is_some(),
        File(path) => Path::new(path).exists(),
        Module(name) => {
            let import = format!("import {name}");
            command::output(Command::new("python3").args(["-c", &import])).is_ok()
        }
    }
}

/// Whether this process may install packages.
///
/// # Errors
///
/// When `id` cannot be run.
pub fn is_root() -> anyhow::Result<bool> {
    Ok(command::output(Command::new("id").arg("-u"))?.trim() == "0")
}

/// Its output is shown only if it fails.
fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    command::output(
        Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .map(drop)
}
