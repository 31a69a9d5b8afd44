//! Kernel settings under `/proc/sys`.
//!
//! Constraint: only settings that each network namespace has for itself are ever written, so that
//! there is nothing to put back.

use std::fs;

use anyhow::{Context, Result};

/// Writes a setting of the calling thread's namespace, named by its path below `/proc/sys`.
///
/// # Errors
/// When there is no such setting, or the kernel refuses the value.
pub fn set(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    fs::write(&path, value).with_context(|| format!("failed to write {value} to {path}"))
}
