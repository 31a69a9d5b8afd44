//! A QEMU whose emulation stands a guest that rewrites its own code: the installed one, or on
//! Debian 12 the one of its backports, unpacked into the cache (nothing is installed).
//!
//! Before 8.1 a page could change between being read and being watched for changes, as it was
//! translated. A kernel that patches a probe in or out while another CPU runs into it then kept
//! one CPU at the breakpoint for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::apt::{Archive, newest};
use crate::arch::Arch;
use crate::command::{self, which};
use crate::paths;

/// The first version without that race: "Always lock pages before translation" (accel/tcg).
const SOUND: (u32, u32) = (8, 1);

/// What stands before the reason when it cannot be had.
pub const BY_HAND: &str = "a QEMU that the VMs can rely on cannot be had; by hand: put \
    qemu-system-x86_64 of 8.1 or later into PATH (apt-get install qemu-system-x86; on Debian 12 from \
    bookworm-backports)";

/// Where it comes from otherwise. The libraries are those that the release's own QEMU wants.
const SUITE: &str = "bookworm-backports";

/// The QEMU for an architecture.
struct Emulator {
    program: &'static str,
    /// Debian's packages with it and what it reads, the first one the program's own.
    packages: &'static [&'static str],
    /// Its folder in the cache.
    folder: &'static str,
}

const fn emulator(arch: Arch) -> Emulator {
    match arch {
        Arch::X86_64 => Emulator {
            program: "qemu-system-x86_64",
            packages: &[
                "qemu-system-x86",
                "qemu-system-common",
                "qemu-system-data",
                "seabios",
            ],
            folder: "qemu",
        },
        Arch::Aarch64 => Emulator {
            program: "qemu-system-aarch64",
            packages: &["qemu-system-arm", "qemu-system-common", "qemu-system-data"],
            folder: "qemu-arm64",
        },
    }
}

/// The program, fetched if neither the system nor the cache has one that is new enough.
///
/// # Errors
///
/// When it cannot be had, or does not run here.
pub fn ensure(arch: Arch) -> anyhow::Result<PathBuf> {
    let emulator = emulator(arch);
    let (name, package) = (emulator.program, emulator.packages[0]);
    let installed =
        which(name).with_context(|| format!("{name} is missing: apt-get install {package}"))?;
    if version(&installed)? >= SOUND {
        return Ok(installed);
    }
    let place = paths::cache()?.join(emulator.folder);
    let program = place.join("usr/bin").join(name);
    // The folder is moved into its place when it is complete.
    if !place.is_dir() {
        eprintln!("setup: fetching a newer QEMU ({SUITE})");
        fetch(&emulator, &place)?;
    }
    Ok(program)
}

fn fetch(emulator: &Emulator, place: &Path) -> anyhow::Result<()> {
    let archive = Archive::open(emulator.folder, &[SUITE])?;
    let mut packages = Vec::new();
    for name in emulator.packages {
        let candidates = archive.candidates(&[(*name).to_owned()])?;
        packages.push(newest(candidates)?.with_context(|| format!("{SUITE} has no {name}"))?);
    }
    let unpacked = archive.unpack(&packages)?;
    let found = version(&unpacked.path().join("usr/bin").join(emulator.program))?;
    ensure!(
        found >= SOUND,
        "the QEMU of {SUITE} is {}.{}, older than {}.{}",
        found.0,
        found.1,
        SOUND.0,
        SOUND.1
    );
    fs::rename(unpacked.path(), place).with_context(|| format!("move QEMU to {}", place.display()))
}

fn version(program: &Path) -> anyhow::Result<(u32, u32)> {
    let said = command::output(Command::new(program).arg("--version"))?;
    parse_version(&said).with_context(|| format!("{} does not say its version", program.display()))
}

/// Reads `QEMU emulator version 7.2.22 (Debian …)`.
fn parse_version(said: &str) -> Option<(u32, u32)> {
    let (_, version) = said.lines().next()?.split_once("version ")?;
    let mut parts = version.split(['.', ' ']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn version_is_read() {
        let said = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright (c) 2003\n";
        assert_eq!(parse_version(said), Some((10, 0)));
        assert_eq!(parse_version("QEMU emulator version 8.1\n"), Some((8, 1)));
        assert_eq!(parse_version("something else\n"), None);
    }
}
