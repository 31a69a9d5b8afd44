//! All knowledge of kernel versions: what this kernel has, where it keeps it, what it allows.
//!
//! Constraint: imports nothing else of the agent. The kernel is asked; its version number only
//! explains an absence.

pub mod btf;
pub mod btf_shrink;
pub mod btf_source;
pub mod features;
pub mod host;
pub mod offsets;
pub mod preflight;
pub mod symbols;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use btf::{BtfError, KernelBtf, Telling};

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
pub fn heeds_adv_win_scale(btf: Option<&Path>) -> Result<bool, BtfError> {
    let btf = type_information(btf, &[])?;
    Ok(btf.locate("tcp_sock.scaling_ratio").is_err())
}

/// What the running kernel's BTF, or that in `file` (which may be a folder of such files), says of the
/// structs that are asked about, and of `functions` beside those that tell kernels apart.
///
/// # Errors
/// When there is none, or it cannot be read or parsed.
pub fn type_information(
    file: Option<&Path>,
    functions: &[&'static str],
) -> Result<KernelBtf, BtfError> {
    let release = release();
    let source = btf_source::read(file, &release)?;
    // The parser takes every type apart, of a hundred thousand. What cannot be cut down goes there
    // whole, for its words on what is wrong.
    let small = btf_shrink::shrink(&source.bytes, &asked_about(functions));
    let bytes = small.as_deref().unwrap_or(&source.bytes);
    KernelBtf::parse(bytes, source.name(&release))
}

/// All that BTF is asked about, with `functions` beside those that tell kernels apart.
#[must_use]
pub fn asked_about(functions: &[&'static str]) -> BTreeSet<&'static str> {
    offsets::structs()
        .chain(functions.iter().copied())
        .chain(Telling::ALL.map(Telling::name))
        .collect()
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
