//! The standard library's source, of which `core` is built for the kernel programs.
//!
//! It must be of exactly rustc's version. In order: what is there, Debian's package, rustup,
//! a copy beside the checkout.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::apt::Archive;
use crate::command::{self, which};
use crate::paths;

/// The suite whose rust-src follows upstream closely.
const SUITE: &str = "trixie-backports";

/// Puts the source where rustc's sysroot wants it, if it is not there.
///
/// # Errors
///
/// When no way worked; the message has each way's reason.
pub fn ensure() -> anyhow::Result<()> {
    let version = rustc_version()?;
    let place = place()?;
    match installed_version(&place)? {
        Some(found) if found == version => return Ok(()),
        Some(found) => bail!(
            "{} is of {found}, rustc of {version}: move it away and run set-up again",
            place.display()
        ),
        None => {}
    }
    eprintln!("setup: installing the standard library's source {version}");
    let ways: [(&str, Way); 3] = [
        ("Debian's package", from_debian),
        ("rustup", from_rustup),
        ("a copy beside the checkout", from_copy),
    ];
    let mut reasons = Vec::new();
    for (name, way) in ways {
        match way(&version, &place).and_then(|()| installed_version(&place)) {
            Ok(Some(found)) if found == version => return Ok(()),
            Ok(found) => reasons.push(format!(
                "{name}: gave {}",
                found.as_deref().unwrap_or("nothing")
            )),
            Err(error) => reasons.push(format!("{name}: {error:#}")),
        }
    }
    bail!(
        "rust-src {version} is missing ({}); by hand: rustup component add rust-src, or put \
         library/ of Rust {version}'s source at {}",
        reasons.join("; "),
        place.display()
    )
}

/// One way to get it; a way that does not apply fails with the reason.
type Way = fn(version: &str, place: &Path) -> anyhow::Result<()>;

fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

fn rustc_version() -> anyhow::Result<String> {
    let text = command::output(rustc().arg("-vV"))?;
    field(&text, "release").context("rustc -vV names no release")
}

/// The major version of the LLVM inside rustc.
///
/// # Errors
///
/// When rustc cannot be run or does not say.
pub fn rustc_llvm_major() -> anyhow::Result<u32> {
    let text = command::output(rustc().arg("-vV"))?;
    let version = field(&text, "LLVM version").context("rustc -vV names no LLVM version")?;
    let major = version.split('.').next().unwrap_or_default();
    major
        .parse()
        .with_context(|| format!("LLVM version {version}"))
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .map(str::to_owned)
}

fn place() -> anyhow::Result<PathBuf> {
    let sysroot = command::output(rustc().args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library"))
}

/// The Rust version of an installed source; `None` when there is none.
fn installed_version(place: &Path) -> anyhow::Result<Option<String>> {
    if !place.join("core/Cargo.toml").is_file() {
        return Ok(None);
    }
    // rustup and the copy do not carry the version inside library/; it was checked, and is
    // written beside it, when it came by way of this file.
    let stamp = place.with_file_name("tcpwnd-library-version");
    match fs::read_to_string(&stamp) {
        Ok(version) => Ok(Some(version.trim().to_owned())),
        // Put there by rustup, which keeps the component at the toolchain's version.
        Err(_) => rustc_version().map(Some),
    }
}

fn from_debian(version: &str, place: &Path) -> anyhow::Result<()> {
    let archive = Archive::open("rust-src", &[SUITE])?;
    let prefix = format!("{version}+");
    let candidate = archive
        .candidates(&["rust-src".to_owned()])?
        .into_iter()
        .find(|candidate| candidate.version.starts_with(&prefix))
        .with_context(|| format!("{SUITE} has no rust-src {version}"))?;
    let unpacked = archive.unpack(&[candidate])?;
    let library = unpacked
        .path()
        .join(format!("usr/src/rustc-{version}/library"));
    ensure!(
        library.is_dir(),
        "the package has no library folder at the usual place"
    );
    install(&library, version, place)
}

fn from_rustup(version: &str, place: &Path) -> anyhow::Result<()> {
    ensure!(which("rustup").is_some(), "not there");
    let switched_off = std::env::var_os("RUSTUP_AUTO_INSTALL").is_some_and(|value| value == "0");
    ensure!(!switched_off, "switched off (RUSTUP_AUTO_INSTALL=0)");
    command::run(Command::new("rustup").args(["component", "add", "rust-src"]))?;
    stamp(version, place)
}

fn from_copy(version: &str, place: &Path) -> anyhow::Result<()> {
    let name = format!("toolchain/rust-{version}-library.tar.xz");
    let archive = paths::shared(&name).with_context(|| format!("no ../shared/{name}"))?;
    let unpacked = tempfile::tempdir_in(paths::cache_folder("")?)?;
    command::output(
        Command::new("tar")
            .arg("-xJf")
            .arg(archive)
            .arg("-C")
            .arg(unpacked.path()),
    )?;
    install(&unpacked.path().join("library"), version, place)
}

fn install(library: &Path, version: &str, place: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(place)?;
    let contents = library.join(".");
    command::output(Command::new("cp").arg("-rT").arg(contents).arg(place))?;
    stamp(version, place)
}

fn stamp(version: &str, place: &Path) -> anyhow::Result<()> {
    let stamp = place.with_file_name("tcpwnd-library-version");
    fs::write(&stamp, version).with_context(|| format!("write {}", stamp.display()))
}
