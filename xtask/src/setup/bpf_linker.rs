//! bpf-linker, built from its source against a packaged LLVM.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use super::rust_src::rustc_llvm_major;
use crate::build::cargo;
use crate::command;
use crate::paths;

/// The version that the object is known to link with.
const VERSION: &str = "0.13.0";

/// The newest LLVM that this version has a feature for.
const NEWEST_LLVM: u32 = 22;

/// Builds it into the cache if it is not there.
///
/// # Errors
///
/// When there is no LLVM to build it against, or cargo fails.
pub fn ensure() -> anyhow::Result<()> {
    if is_there()? {
        return Ok(());
    }
    let cache = paths::cache_folder("")?;
    let (major, bin) = installed_llvm()?.with_context(no_llvm)?;
    eprintln!("setup: building bpf-linker {VERSION} against LLVM {major} (about a minute)");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([bin].into_iter().chain(env::split_paths(&path)))?;
    command::run(
        // Outside the workspace, whose configuration is not meant for it.
        cargo(&cache)
            .args(["install", "--quiet", "--locked", "--no-default-features"])
            .args(["--features", &format!("llvm-{major}")])
            .arg("--root")
            .arg(&cache)
            .args(["bpf-linker", "--version", VERSION])
            .env("PATH", path),
    )
    .with_context(|| {
        format!(
            "bpf-linker {VERSION} is missing; by hand, with /usr/lib/llvm-{major}/bin in PATH: cargo \
             install --locked --root {} --no-default-features --features llvm-{major} bpf-linker \
             --version {VERSION}",
            cache.display()
        )
    })
}

/// What to do where there is no LLVM to build it against.
fn no_llvm() -> String {
    let package = llvm_package().unwrap_or_else(|_| format!("llvm-{NEWEST_LLVM}-dev"));
    format!("no LLVM is installed that bpf-linker can use; by hand: apt-get install {package}")
}

/// Whether the cache has the right version.
///
/// # Errors
///
/// When there is no place for a cache.
pub fn is_there() -> anyhow::Result<bool> {
    let program = paths::cache()?.join("bin/bpf-linker");
    if !program.is_file() {
        return Ok(false);
    }
    // A linker whose libLLVM went away does not start, and is built again.
    let printed = command::output(Command::new(program).arg("--version")).unwrap_or_default();
    Ok(printed.trim().ends_with(VERSION))
}

/// The LLVM to build against: its major version and its programs' folder.
///
/// # Errors
///
/// When rustc does not say which LLVM it has.
pub fn installed_llvm() -> anyhow::Result<Option<(u32, PathBuf)>> {
    Ok((rustc_llvm_major()?..=NEWEST_LLVM)
        .map(|major| (major, PathBuf::from(format!("/usr/lib/llvm-{major}/bin"))))
        .find(|(_, bin)| bin.join("llvm-config").is_file()))
}

/// The package that brings it.
///
/// # Errors
///
/// When rustc's LLVM is newer than what bpf-linker can use.
pub fn llvm_package() -> anyhow::Result<String> {
    let wanted = rustc_llvm_major()?;
    if wanted > NEWEST_LLVM {
        bail!(
            "rustc has LLVM {wanted}, bpf-linker {VERSION} knows none newer than {NEWEST_LLVM}; by \
             hand: take an older Rust, whose `rustc -vV` says LLVM {NEWEST_LLVM} or less"
        );
    }
    Ok(format!("llvm-{wanted}-dev"))
}
