//! The kernel programs as the commands see them: attach, read, watch, let go.
//!
//! Constraint: after [`attach`] has returned nothing but [`Suspects`] makes a map system call, and reading
//! counters where the kernel cannot map them (before 5.5). Those switch
//! every kprobe program of their CPU off meanwhile, and 5.10 refuses them once capabilities are
//! gone. Counters are read through mappings, records through the ring or perf
//! buffers.

mod attach;
mod error;
mod facts;
mod failure;
mod hook;
#[cfg(feature = "debug-log")]
mod log;
mod mapped;
mod object;
mod program;
mod startup;
mod status;
mod suspects;
mod table;
mod unseen;

use std::path::PathBuf;

use tcpwnd_common::Config;

pub use attach::{Attached, attach};
pub use error::AttachError;
pub use mapped::CountersSnapshot;
pub use object::transport;
pub use status::{ProbeStatus, missed_handshakes};
pub use suspects::{LIMIT as SUSPECT_LIMIT, Suspects};
pub use table::functions;

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MechanismChoice {
    /// fentry and fexit, and per hook kprobe and kretprobe where those cannot be had.
    #[default]
    Auto,
    /// fentry and fexit or nothing.
    Fentry,
    /// kprobe and kretprobe or nothing. Changes of state still come from the raw tracepoint where
    /// there is one: it is the program that counts connections, and kprobes can be skipped.
    Kprobe,
}

/// By what records come, as the user asked for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportChoice {
    /// The ring buffer, and perf buffers where there is none.
    #[default]
    Auto,
    /// The ring buffer or nothing.
    Ring,
    /// Perf buffers or nothing.
    Perf,
}

/// What carries a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// fentry and fexit.
    Fentry,
    /// kprobe and kretprobe.
    Kprobe,
    /// Raw tracepoint.
    RawTracepoint,
}

impl Mechanism {
    /// Name in options, metrics and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::RawTracepoint => "raw_tracepoint",
        }
    }
}

/// Entries of the table of handshakes under way when nothing else is asked for: an LRU map's
/// entry of about 450 bytes each, hence 9 MB. More than come back at once in the storm that the
/// project began with, 18,000.
pub const DEFAULT_HANDSHAKES: u32 = 20_480;

/// What [`attach`] needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Given to the programs as it is. With `confirm` 0 the window probe is never even loaded.
    pub config: Config,
    /// Which mechanism to use.
    pub mechanism: MechanismChoice,
    /// By what records come.
    pub transport: TransportChoice,
    /// Size of the ring buffer, bytes; a power of two and a multiple of the page size, else the
    /// next one that is.
    pub ring_bytes: u32,
    /// Size of the perf buffer of each CPU, bytes; a power of two of at least a page.
    pub perf_bytes: u32,
    /// Handshakes under way that are remembered, beside 128 a possible CPU, which may keep as many
    /// free entries to itself; raised to 1,024 a CPU where that is less.
    pub handshakes: u32,
    /// BTF to take offsets from instead of `/sys/kernel/btf/vmlinux`.
    pub btf: Option<PathBuf>,
}

#[cfg(test)]
mod evicted_vm_tests;
#[cfg(test)]
mod perf_vm_tests;
#[cfg(test)]
mod verifier_vm_tests;
#[cfg(test)]
mod vm_tests;
#[cfg(test)]
mod without_tracepoint_vm_tests;
