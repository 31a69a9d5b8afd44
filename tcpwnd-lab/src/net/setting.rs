//! Kernel settings under `/proc/sys`.
//!
//! Constraint: a setting that is not each network namespace's own is put back when the value that
//! stands for it ends.

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

/// A setting of the whole machine that was changed. It is put back with this value's end.
#[derive(Debug)]
pub struct Changed {
    name: &'static str,
    before: String,
}

impl Changed {
    /// Changes a setting, named by its path below `/proc/sys`.
    ///
    /// # Errors
    /// When there is no such setting, or the kernel refuses the value.
    pub fn new(name: &'static str, value: &str) -> Result<Self> {
        let path = format!("/proc/sys/{name}");
        let before = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        set(name, value)?;
        Ok(Self {
            name,
            before: before.trim().to_owned(),
        })
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        if let Err(error) = set(self.name, &self.before) {
            eprintln!("tcpwnd-lab: {error:#}");
        }
    }
}
