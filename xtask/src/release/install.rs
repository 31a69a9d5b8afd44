//! The packages installed, upgraded and removed in a clean Debian, as xtask/install/install.sh does
//! it: here in a root of its own on this kernel, where no service runs; in a VM under systemd
//! ([`crate::vm::packages`]).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use super::Release;
use crate::command::{self, which};
use crate::paths;
use crate::setup::{clean_root, packages};

/// Where the script and the packages are in the clean Debian.
pub const FOLDER: &str = "root/packages";

/// The script's name.
pub const SCRIPT: &str = "install.sh";

/// Forbids services to be started, should somebody try.
const POLICY: &str = "usr/sbin/policy-rc.d";

/// What every run of the script says in the end.
pub const LAST_LINE: &str = "ok: rpm: removed, nothing left";

/// Runs the script in a clean Debian, and returns what it said.
///
/// # Errors
///
/// When this is not root, the clean Debian cannot be had, or something does not hold.
pub fn in_root(release: Release) -> anyhow::Result<String> {
    ensure!(packages::is_root()?, "only root can change the root");
    let root = clean_root::unpack()?;
    put(release, root.path())?;
    let policy = root.path().join(POLICY);
    super::layout::write(&policy, "#!/bin/sh\nexit 101\n")?;
    super::layout::copy(&policy, &policy, 0o755)?;
    let unshare = which("unshare").context("there is no unshare")?;
    let said = command::output(
        Command::new(unshare)
            // No process and no mount outlives it.
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-c"])
            .arg("mount -t proc proc \"$1/proc\" && mount --rbind /dev \"$1/dev\" && exec chroot \"$@\"")
            .arg("sh")
            .arg(root.path())
            .arg("sh")
            .arg(Path::new("/").join(FOLDER).join(SCRIPT))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8"),
    )?;
    ensure!(
        said.lines().last() == Some(LAST_LINE),
        "it stopped early: {said}"
    );
    Ok(said)
}

/// Puts the script, and two packages of either format, into a clean Debian.
///
/// # Errors
///
/// When a package cannot be made, or something cannot be written.
pub fn put(release: Release, root: &Path) -> anyhow::Result<()> {
    let folder = root.join(FOLDER);
    let script = paths::workspace().join("xtask/install").join(SCRIPT);
    super::layout::copy(&script, &folder.join(SCRIPT), 0o755)?;
    let mut release = release;
    for (revision, name) in [(1, "one"), (2, "two")] {
        release.package_revision = revision;
        for package in super::packages(&release, &folder)? {
            let extension = package.extension().unwrap_or_default();
            fs::rename(&package, folder.join(name).with_extension(extension))?;
        }
    }
    Ok(())
}
