//! A small Java runtime for the scenario with a real JVM: Debian's OpenJDK, unpacked into the
//! cache (nothing is installed), reduced to `java.base`, with the listener compiled beside it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::apt::{Archive, newest};
use crate::command;
use crate::paths;

/// Where the runtime is expected in the VM (tcpwnd-lab/src/scenarios/jvm.rs).
pub const PLACE: &str = "/usr/lib/tcpwnd-jvm";

/// The scenario that wants it.
pub const SCENARIO: &str = "jvm";

/// The release whose JDK is taken, and its packages.
const SUITES: &[&str] = &["bookworm", "bookworm-security"];
const PACKAGES: [&str; 2] = ["openjdk-17-jre-headless", "openjdk-17-jdk-headless"];

/// The listener's source, in the checkout.
const LISTENER: &str = "tcpwnd-lab/java/Listener.java";

/// The runtime's folder, made if the cache does not have it for this listener.
///
/// # Errors
///
/// When the packages cannot be had or the JDK's programs fail.
pub fn ensure() -> anyhow::Result<PathBuf> {
    let source = paths::workspace().join(LISTENER);
    let text = fs::read(&source).with_context(|| format!("read {LISTENER}"))?;
    let place = paths::cache()?.join("jvm");
    let kept = place.join("Listener.java");
    let _lock = super::lock()?;
    // The source is copied last and says that the rest is complete.
    if fs::read(&kept).is_ok_and(|kept| kept == text) {
        return Ok(place);
    }
    eprintln!("setup: making a Java runtime from Debian's OpenJDK");
    let archive = Archive::open("jvm", SUITES)?;
    let mut packages = Vec::new();
    for package in PACKAGES {
        let candidates = archive.candidates(&[package.to_owned()])?;
        packages.push(newest(candidates)?.with_context(|| format!("there is no {package}"))?);
    }
    let unpacked = archive.unpack(&packages)?;
    let jvms = unpacked.path().join("usr/lib/jvm");
    lead_links_inside(&jvms, unpacked.path())?;
    let jdk = jvms.join("java-17-openjdk-amd64");
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("remove {}", place.display()))?;
    }
    command::output(
        Command::new(jdk.join("bin/jlink"))
            .args(["--add-modules", "java.base", "--output"])
            .arg(&place),
    )?;
    command::output(
        Command::new(jdk.join("bin/javac"))
            .arg("-d")
            .arg(&place)
            .arg(&source),
    )?;
    fs::write(&kept, text).context("keep the listener's source")?;
    Ok(place)
}

/// Debian's JDK has its configuration in /etc, by absolute links: lead them to what was unpacked.
fn lead_links_inside(folder: &Path, root: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            lead_links_inside(&path, root)?;
        } else if kind.is_symlink()
            && let Ok(inside) = fs::read_link(&path)?.strip_prefix("/")
            && root.join(inside).exists()
        {
            fs::remove_file(&path)?;
            symlink(root.join(inside), &path)?;
        }
    }
    Ok(())
}
