//! All knowledge of kernel versions: what this kernel has, where it keeps it, what it allows.
//!
//! Constraint: imports nothing else of the agent. The kernel is asked; its version number only
//! explains an absence.

pub mod btf;
pub mod features;
pub mod offsets;
pub mod preflight;
pub mod symbols;

use std::fs;

/// Something that this kernel does not have and that can be done without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Degradation {
    /// Name of what is missing.
    pub what: &'static str,
    /// What follows from it.
    pub consequence: &'static str,
}

/// The running kernel's release, as `uname -r` prints it.
#[must_use]
pub fn release() -> String {
    match fs::read_to_string("/proc/sys/kernel/osrelease") {
        Ok(release) => release.trim_end().to_owned(),
        Err(_) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod btf_trim;
#[cfg(test)]
mod tests;
