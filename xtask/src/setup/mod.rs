//! Set-up: everything that building and testing want, as far as it is missing.
//!
//! Each step checks before it acts, says what it installs, and fails with one line that says what
//! is missing and how to get it by hand. Nothing is installed that is already there.

pub mod affected;
mod apt;
mod bpf_linker;
pub mod bpftrace;
pub mod cargo_tool;
pub mod chart;
pub mod clang;
pub mod clean_root;
pub mod foreign;
pub mod jvm;
mod kernels;
mod mirrors;
pub mod packages;
pub mod prometheus;
mod python;
pub mod qemu;
mod rust_src;
pub mod scripts;
pub mod source;

use std::fs::{File, TryLockError};

use anyhow::{Context, ensure};
use clap::Args;

use crate::arch::Arch;
use crate::kernels::{Kernel, TABLE};
use crate::parse_kernel;
use crate::paths;
use prometheus::Prometheus;

/// What set-up may be told.
#[derive(Args, Default)]
pub struct Options {
    /// Fetch only this kernel (repeatable; all of the table if not given)
    #[arg(long = "kernel", value_parser = parse_kernel)]
    kernels: Vec<&'static Kernel>,
    /// Fetch kernels anew where the archive has a newer build than the cache
    #[arg(long)]
    refresh: bool,
}

/// A kernel that could not be had, and why.
#[derive(Debug, Clone)]
pub struct Missing {
    /// Which one.
    pub kernel: &'static Kernel,
    /// One line.
    pub reason: String,
}

/// Sets everything up and says which kernels could not be had.
///
/// # Errors
///
/// When a step fails that everything else needs, or a kernel that was named cannot be had.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let all: Vec<_> = TABLE.iter().collect();
    let wanted = if options.kernels.is_empty() {
        &all
    } else {
        &options.kernels
    };
    let missing = ensure(wanted, options.refresh)?;
    let prometheus = prometheus::ensure().context("Prometheus cannot be had")?;
    chart::ensure().context("what reads Helm charts cannot be had")?;
    scripts::ensure().context("what reads scripts cannot be had")?;
    for kernel in wanted {
        if let Some(image) = kernel.cached()? {
            eprintln!("setup: kernel {}: {}", kernel.name, image.version);
        }
    }
    let Prometheus { server, promtool } = prometheus;
    for program in [server, promtool] {
        eprintln!("setup: {}", program.display());
    }
    if missing.is_empty() {
        eprintln!("setup: complete");
    }
    // Tests say themselves which kernels they went without; who named one wants that one.
    ensure!(
        missing.is_empty() || options.kernels.is_empty(),
        "set-up is not complete: see above for what is missing"
    );
    Ok(())
}

/// Sets up what building wants, and these kernels; returns the kernels that could not be had.
///
/// # Errors
///
/// When a step fails that everything else needs.
pub fn ensure(wanted: &[&'static Kernel], refresh: bool) -> anyhow::Result<Vec<Missing>> {
    let lock = lock()?;
    packages::ensure()?;
    rust_src::ensure()?;
    bpf_linker::ensure()?;
    qemu::ensure(Arch::X86_64).context(qemu::BY_HAND)?;
    if wanted.iter().any(|kernel| kernel.arch == Arch::Aarch64) {
        foreign::ensure().context("what aarch64 takes cannot be had")?;
    }
    let mut missing = Vec::new();
    for kernel in wanted {
        if let Err(error) = kernels::ensure(kernel, refresh) {
            let reason = format!("{error:#}");
            let way = kernels::by_hand(kernel)?;
            eprintln!(
                "setup: kernel {} cannot be had: {reason}; {way}",
                kernel.name
            );
            missing.push(Missing { kernel, reason });
        }
    }
    drop(lock);
    Ok(missing)
}

/// One set-up at a time: checkouts share the cache.
fn lock() -> anyhow::Result<File> {
    let path = paths::cache_folder("")?.join("lock");
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        eprintln!("setup: waiting for another set-up to end");
    }
    file.lock()
        .with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}
