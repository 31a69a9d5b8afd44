//! bpftrace, which the agent is measured beside: Debian's of a release whose version reads the kernel's
//! structures, with the libraries of that release, unpacked into the cache (nothing is installed).
//!
//! Constraint: of what is unpacked only the program and the libraries that it loads are kept; most of
//! those is LLVM.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::apt::{Archive, newest};
use crate::command;
use crate::paths;

/// Where the laboratory expects it (tcpwnd-lab/src/cost/bpftrace.rs).
pub const PLACE: &str = "/usr/lib/tcpwnd-bpftrace";

/// The release, and what of it bpftrace wants, down to the C library.
const SUITE: &str = "trixie";
const PACKAGES: &[&str] = &[
    "bpftrace",
    "libbpf1",
    "libbpfcc",
    "libbsd0",
    "libc6",
    "libclang1-19",
    "libedit2",
    "libelf1t64",
    "libffi8",
    "libgcc-s1",
    "libllvm19",
    "liblzma5",
    "libmd0",
    "libsframe1",
    "libstdc++6",
    "libtinfo6",
    "libxml2",
    "libz3-4",
    "libzstd1",
    "zlib1g",
];

/// Libraries of the unpacked packages, and the program that loads them.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Its folder: `bpftrace`, and `lib` with its loader.
///
/// # Errors
///
/// When the packages cannot be had, or it does not start here.
pub fn ensure() -> anyhow::Result<PathBuf> {
    let place = paths::cache()?.join("bpftrace");
    let _lock = super::lock()?;
    // The folder is moved into its place when it is complete.
    if place.is_dir() {
        return Ok(place);
    }
    eprintln!("setup: fetching bpftrace ({SUITE})");
    let archive = Archive::open("bpftrace", &[SUITE])?;
    let mut packages = Vec::new();
    for name in PACKAGES {
        let candidates = archive.candidates(&[(*name).to_owned()])?;
        packages.push(newest(candidates)?.with_context(|| format!("{SUITE} has no {name}"))?);
    }
    let unpacked = archive.unpack(&packages)?;
    let made = tempfile::tempdir_in(paths::cache()?)?;
    keep(unpacked.path(), made.path())?;
    fs::rename(made.keep(), &place)
        .with_context(|| format!("move bpftrace to {}", place.display()))?;
    Ok(place)
}

/// Copies the program, and the libraries that its own loader finds among those that were unpacked.
fn keep(unpacked: &Path, place: &Path) -> anyhow::Result<()> {
    let program = unpacked.join("usr/bin/bpftrace");
    let libraries = unpacked.join(LIBRARIES);
    let list = command::output(
        Command::new(libraries.join(LOADER))
            .arg("--library-path")
            .arg(&libraries)
            .arg("--list")
            .arg(&program),
    )?;
    fs::copy(&program, place.join("bpftrace")).context("copy bpftrace")?;
    fs::create_dir(place.join("lib"))?;
    let names = list.lines().filter_map(|line| library(line, &libraries));
    for name in names.chain([LOADER.to_owned()]) {
        // Links are followed: the name that is asked for is the file's then.
        fs::copy(libraries.join(&name), place.join("lib").join(&name))
            .with_context(|| format!("copy {name}"))?;
    }
    let said = command::output(
        Command::new(place.join("lib").join(LOADER))
            .arg("--library-path")
            .arg(place.join("lib"))
            .arg(place.join("bpftrace"))
            .arg("--version"),
    )?;
    ensure!(said.starts_with("bpftrace v"), "bpftrace says {said}");
    Ok(())
}

/// The library in `NAME => PATH (address)`, if it was found in this folder.
fn library(line: &str, folder: &Path) -> Option<String> {
    let (name, path) = line.split_once(" => ")?;
    let (path, _) = path.split_once(" (")?;
    let name = name.trim();
    (Path::new(path) == folder.join(name)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::library;

    #[test]
    fn only_libraries_of_its_own_release_are_kept() {
        let folder = Path::new("/x/lib");
        let found = |line| library(line, folder);
        assert_eq!(
            found("\tlibz.so.1 => /x/lib/libz.so.1 (0x00007f)").as_deref(),
            Some("libz.so.1")
        );
        assert_eq!(found("\tlibz.so.1 => /lib/libz.so.1 (0x00007f)"), None);
        assert_eq!(found("\tlinux-vdso.so.1 (0x00007ffd)"), None);
    }
}
