//! Prometheus and promtool, which read what tcpwnd writes: Debian's package, unpacked into the
//! cache (nothing is installed).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::apt::{Archive, newest};
use crate::command;
use crate::paths;

/// The release whose Prometheus is taken: it runs on later ones too.
const SUITES: &[&str] = &["bookworm", "bookworm-security"];
const PACKAGE: &str = "prometheus";

/// The programs.
pub struct Prometheus {
    /// `prometheus`.
    pub server: PathBuf,
    /// `promtool`.
    pub promtool: PathBuf,
}

/// Both programs, fetched if the cache does not have them.
///
/// # Errors
///
/// When the package cannot be had, or what is in it does not run here.
pub fn ensure() -> anyhow::Result<Prometheus> {
    let place = paths::cache()?.join("prometheus");
    let _lock = super::lock()?;
    // The folder is moved into its place when it is complete.
    if !place.is_dir() {
        eprintln!("setup: fetching Debian's prometheus");
        fetch(&place)?;
    }
    Ok(Prometheus {
        server: place.join("prometheus"),
        promtool: place.join("promtool"),
    })
}

fn fetch(place: &Path) -> anyhow::Result<()> {
    let archive = Archive::open("prometheus", SUITES)?;
    let candidate = newest(archive.candidates(&[PACKAGE.to_owned()])?)?
        .with_context(|| format!("{} has no {PACKAGE}", SUITES.join(", ")))?;
    let unpacked = archive.unpack(&[candidate])?;
    let bin = unpacked.path().join("usr/bin");
    for name in ["prometheus", "promtool"] {
        let program = bin.join(name);
        ensure!(program.is_file(), "the package {PACKAGE} has no {name}");
        command::output(Command::new(program).arg("--version"))?;
    }
    fs::rename(&bin, place).with_context(|| format!("move the programs to {}", place.display()))
}
