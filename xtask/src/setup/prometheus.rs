//! Prometheus, promtool and node_exporter, which read what tcpwnd writes, or are read beside it:
//! Debian's packages, unpacked into the cache (nothing is installed).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::apt::{Archive, newest};
use crate::command;
use crate::paths;

/// The release whose packages are taken: they run on later ones too.
const SUITES: &[&str] = &["bookworm", "bookworm-security"];

/// A package with programs.
struct Package {
    name: &'static str,
    programs: &'static [&'static str],
}

const PROMETHEUS: Package = Package {
    name: "prometheus",
    programs: &["prometheus", "promtool"],
};

const NODE_EXPORTER: Package = Package {
    name: "prometheus-node-exporter",
    programs: &["prometheus-node-exporter"],
};

/// The programs.
pub struct Prometheus {
    /// `prometheus`.
    pub server: PathBuf,
    /// `promtool`.
    pub promtool: PathBuf,
}

/// Prometheus' programs, fetched if the cache does not have them.
///
/// # Errors
///
/// When the package cannot be had, or what is in it does not run here.
pub fn ensure() -> anyhow::Result<Prometheus> {
    let place = PROMETHEUS.ensure()?;
    Ok(Prometheus {
        server: place.join("prometheus"),
        promtool: place.join("promtool"),
    })
}

/// `prometheus-node-exporter`, fetched if the cache does not have it.
///
/// # Errors
///
/// As [`ensure`].
pub fn node_exporter() -> anyhow::Result<PathBuf> {
    Ok(NODE_EXPORTER.ensure()?.join(NODE_EXPORTER.name))
}

impl Package {
    /// The folder of its programs.
    fn ensure(&self) -> anyhow::Result<PathBuf> {
        let place = paths::cache()?.join(self.name);
        let _lock = super::lock()?;
        // The folder is moved into its place when it is complete.
        if !place.is_dir() {
            eprintln!("setup: fetching Debian's {}", self.name);
            self.fetch(&place)?;
        }
        Ok(place)
    }

    fn fetch(&self, place: &Path) -> anyhow::Result<()> {
        let archive = Archive::open(self.name, SUITES)?;
        let candidate = newest(archive.candidates(&[self.name.to_owned()])?)?
            .with_context(|| format!("{} has no {}", SUITES.join(", "), self.name))?;
        let unpacked = archive.unpack(&[candidate])?;
        let bin = unpacked.path().join("usr/bin");
        for name in self.programs {
            let program = bin.join(name);
            ensure!(program.is_file(), "the package {} has no {name}", self.name);
            command::output(Command::new(program).arg("--version"))?;
        }
        fs::rename(&bin, place).with_context(|| format!("move the programs to {}", place.display()))
    }
}
