//! All knowledge of kernel versions: what this kernel has, where it keeps it, what it allows.
//!
//! Constraint: imports nothing else of the agent. The kernel is asked; its version number only
//! explains an absence.

pub mod btf;
pub mod btf_shrink;
pub mod btf_source;
pub mod features;
pub mod offsets;
pub mod preflight;
pub mod symbols;

use std::fs;
use std::path::Path;

/// Something that this kernel does not have and that can be done without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Degradation {
    /// Name of what is missing.
    pub what: &'static str,
    /// What follows from it.
    pub consequence: &'static str,
}

/// Whether `net.ipv4.tcp_adv_win_scale` says how much of a receive buffer becomes window: up to 6.5
/// (dfa2f0483360 "tcp: get rid of sysctl_tcp_adv_win_scale").
///
/// # Errors
/// When there is no BTF.
pub fn heeds_adv_win_scale(btf: Option<&Path>) -> Result<bool, btf::BtfError> {
    let btf = btf::KernelBtf::load(btf)?;
    Ok(btf.locate("tcp_sock.scaling_ratio").is_err())
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
mod tests;
