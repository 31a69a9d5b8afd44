//! The options that say how the programs are loaded and how records come.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How the programs are loaded.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Kernel")]
pub struct KernelArgs {
    /// How to attach
    #[arg(long, value_enum, default_value_t = MechanismArg::Auto)]
    pub mechanism: MechanismArg,

    /// By what records come from the kernel
    #[arg(long, value_enum, default_value_t = TransportArg::Auto)]
    pub transport: TransportArg,

    /// Size of the ring buffer in bytes, a power of two
    #[arg(long, value_name = "N", default_value_t = 2 << 20)]
    pub ring_bytes: u32,

    /// Size of the perf buffer of each CPU in bytes, a power of two
    #[arg(long, value_name = "N", default_value_t = 512 << 10)]
    pub perf_bytes: u32,

    /// BTF of this kernel, where /sys/kernel/btf/vmlinux is missing: a file, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub btf: Option<PathBuf>,
}

/// Values of --mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MechanismArg {
    /// fentry where the kernel allows it, kprobes otherwise
    Auto,
    /// fentry and fexit only
    Fentry,
    /// kprobes and kretprobes only
    Kprobe,
}

/// Values of --transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TransportArg {
    /// The ring buffer where the kernel has it, perf buffers otherwise
    Auto,
    /// The ring buffer only
    Ring,
    /// Perf buffers only, one for each CPU
    Perf,
}
