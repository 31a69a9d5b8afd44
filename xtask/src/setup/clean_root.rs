//! A clean Debian to install packages in: made by mmdebstrap from the mirror that this system is
//! configured for, and kept in the cache as an archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::{apt, packages};
use crate::arch::Arch;
use crate::command::{self, which};
use crate::paths;

const SUITE: &str = "bookworm";

/// Beside what every Debian has: the service manager, what asks the service, and what installs the
/// other format.
const PACKAGES: &str = "systemd,systemd-sysv,curl,rpm";

/// What of this system's configuration decides whether its mirror can be used.
const CONFIGURATION: [&str; 4] = [
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::Check-Date",
    "Acquire::Check-Valid-Until",
];

/// The archive, made if the cache does not have it.
///
/// # Errors
///
/// When mmdebstrap is missing or fails, or this is not root.
pub fn ensure() -> anyhow::Result<PathBuf> {
    let place = paths::cache_folder("root")?.join(format!("{SUITE}.tar"));
    let _lock = super::lock()?;
    if place.is_file() {
        return Ok(place);
    }
    ensure!(
        which("mmdebstrap").is_some(),
        "there is no mmdebstrap; by hand: apt-get install mmdebstrap"
    );
    ensure!(
        packages::is_root()?,
        "only root can make a root file system"
    );
    eprintln!("setup: making a clean Debian ({SUITE})");
    make(&place)?;
    Ok(place)
}

fn make(place: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let sources = folder.path().join("sources.list");
    fs::write(&sources, apt::sources(Arch::X86_64, &[SUITE])?)?;
    let configuration = folder.path().join("apt.conf");
    fs::write(&configuration, of_this_system()?)?;
    // Moved into its place when it is complete.
    let made = folder.path().join("root.tar");
    command::output(
        Command::new("mmdebstrap")
            .args(["--quiet", "--mode=root", "--variant=minbase"])
            .arg(format!("--include={PACKAGES}"))
            .arg(format!("--aptopt={}", configuration.display()))
            // Not what anybody would look at here.
            .arg("--dpkgopt=path-exclude=/usr/share/locale/*")
            .args([SUITE.as_ref(), made.as_os_str(), sources.as_os_str()]),
    )
    .context("make a clean Debian")?;
    let beside = place.with_extension("new");
    fs::copy(&made, &beside).with_context(|| format!("write {}", beside.display()))?;
    fs::rename(&beside, place).with_context(|| format!("move it to {}", place.display()))
}

/// The lines of apt's configuration that go for the other system too.
fn of_this_system() -> anyhow::Result<String> {
    let all = command::output(Command::new("apt-config").arg("dump"))?;
    Ok(relevant(&all))
}

fn relevant(all: &str) -> String {
    let wanted = |line: &&str| CONFIGURATION.iter().any(|name| line.starts_with(name));
    all.lines()
        .filter(wanted)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The archive unpacked into a new folder, owned by whoever runs this.
///
/// # Errors
///
/// When it cannot be had or unpacked.
pub fn unpack() -> anyhow::Result<tempfile::TempDir> {
    let archive = ensure()?;
    let folder = tempfile::Builder::new()
        .prefix("root-")
        .tempdir_in(paths::target())?;
    command::output(
        Command::new("tar")
            .args(["--extract", "--preserve-permissions", "--exclude=./dev/*"])
            .arg("--directory")
            .arg(folder.path())
            .arg("--file")
            .arg(archive),
    )?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::relevant;

    #[test]
    fn a_proxy_goes_for_the_clean_system_too() {
        let all = "APT \"\";\nAcquire::http::Proxy \"http://x:3128\";\nAcquire::Languages \"none\";\n\
                   Acquire::Check-Valid-Until \"false\";\n";
        assert_eq!(
            relevant(all),
            "Acquire::http::Proxy \"http://x:3128\";\nAcquire::Check-Valid-Until \"false\";\n"
        );
    }
}
