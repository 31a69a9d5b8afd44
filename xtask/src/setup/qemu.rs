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
use crate::command::{self, which};
use crate::paths;

/// The first version without that race: "Always lock pages before translation" (accel/tcg).
const SOUND: (u32, u32) = (8, 1);

/// What stands before the reason when it cannot be had.
pub const BY_HAND: &str = "a QEMU that the VMs can rely on cannot be had; by hand: put \
    qemu-system-x86_64 of 8.1 or later into PATH (apt-get install qemu-system-x86; on Debian 12 from \
    bookworm-backports)";

const PROGRAM: &str = "qemu-system-x86_64";

/// Where it comes from otherwise. The libraries are those that the release's own QEMU wants.
const SUITE: &str = "bookworm-backports";
const PACKAGES: &[&str] = &[
    "qemu-system-x86",
    "qemu-system-common",
    "qemu-system-data",
    "seabios",
];

/// The program, fetched if neither the system nor the cache has one that is new enough.
///
/// # Errors
///
/// When it cannot be had, or does not run here.
pub fn ensure() -> anyhow::Result<PathBuf> {
    let installed = which(PROGRAM).with_context(|| format!("{PROGRAM} is missing"))?;
    if version(&installed)? >= SOUND {
        return Ok(installed);
    }
    let place = paths::cache()?.join("qemu");
    let program = place.join("usr/bin").join(PROGRAM);
    // The folder is moved into its place when it is complete.
    if !place.is_dir() {
        eprintln!("setup: fetching a newer QEMU ({SUITE})");
        fetch(&place)?;
    }
    Ok(program)
}

fn fetch(place: &Path) -> anyhow::Result<()> {
    let archive = Archive::open("qemu", &[SUITE])?;
    let mut packages = Vec::new();
    for name in PACKAGES {
        let candidates = archive.candidates(&[(*name).to_owned()])?;
        packages.push(newest(candidates)?.with_context(|| format!("{SUITE} has no {name}"))?);
    }
    let unpacked = archive.unpack(&packages)?;
    let found = version(&unpacked.path().join("usr/bin").join(PROGRAM))?;
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
