//! What the running kernel can do for the programs, found out by trying.
//!
//! Constraint: unsupported and forbidden are different answers; a kernel that refuses is not one
//! that cannot.

use std::error::Error;
use std::io;
use std::path::Path;

use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{is_map_supported, is_program_supported};

use super::btf;
use super::host::{Host, Lockdown};
use super::preflight::{self, Action};

/// Whether something can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It works.
    Supported,
    /// This kernel does not have it, and why.
    Unsupported(String),
    /// This kernel may have it, but refuses, and why.
    Forbidden(String),
}

/// The facilities that the agent uses.
#[derive(Clone, Debug)]
pub struct Features {
    /// BPF_MAP_TYPE_RINGBUF, the transport; from 5.8 on.
    pub ring_buffer: Support,
    /// Raw tracepoints, for state changes; from 4.17 on.
    pub raw_tracepoint: Support,
    /// fentry and fexit; from 5.5 on, on arm64 from 6.0 on.
    pub fentry: Support,
    /// kprobes and kretprobes through the perf PMU; from 4.17 on.
    pub kprobe: Support,
}

const NO_TRACING: &str = "this kernel was built without BPF programs that trace it \
                          (CONFIG_BPF_EVENTS, which comes with CONFIG_KPROBE_EVENTS)";

/// The perf PMU that kprobes are attached through.
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe/type";

impl Features {
    /// Tries each. Nothing stays loaded or attached.
    #[must_use]
    pub fn probe(host: &Host) -> Self {
        let bpf = bpf(host);
        if bpf != Support::Supported {
            return Self {
                ring_buffer: bpf.clone(),
                raw_tracepoint: bpf.clone(),
                fentry: bpf.clone(),
                kprobe: bpf,
            };
        }
        let tracing = tracing(host);
        if matches!(tracing, Support::Unsupported(_)) {
            return Self {
                ring_buffer: ring_buffer(host),
                raw_tracepoint: tracing.clone(),
                fentry: tracing.clone(),
                kprobe: tracing,
            };
        }
        Self {
            ring_buffer: ring_buffer(host),
            raw_tracepoint: raw_tracepoint(host),
            fentry: fentry(host),
            kprobe: kprobe(host),
        }
    }
}

/// BPF_MAP_TYPE_RINGBUF; from 5.8 on.
#[must_use]
pub fn ring_buffer(host: &Host) -> Support {
    answer(
        host,
        Action::CreateMap,
        is_map_supported(MapType::RingBuf),
        "this kernel has no BPF ring buffer (from 5.8 on)",
    )
}

/// Whether there is bpf(2) at all: without it there is nothing else to ask for.
pub fn bpf(host: &Host) -> Support {
    let (no_command, nothing) = (libc::c_int::MAX, std::ptr::null::<u8>());
    // SAFETY: no kernel has such a command, and no attributes are given: nothing is read or made.
    let done = unsafe { libc::syscall(libc::SYS_bpf, no_command, nothing, 0) };
    match (done, io::Error::last_os_error().raw_os_error()) {
        (-1, Some(libc::ENOSYS)) if host.filtered => {
            Support::Forbidden(host.without_bpf().to_owned())
        }
        (-1, Some(libc::ENOSYS)) => Support::Unsupported(host.without_bpf().to_owned()),
        _ => Support::Supported,
    }
}

/// Whether any BPF program can trace this kernel: all kinds that are used come with one option, and
/// this one is the oldest (bpf_types.h, include/linux).
pub fn tracing(host: &Host) -> Support {
    program(host, ProgramType::KProbe, NO_TRACING)
}

fn raw_tracepoint(host: &Host) -> Support {
    program(
        host,
        ProgramType::RawTracePoint,
        "this kernel has no raw tracepoints for BPF (from 4.17 on)",
    )
}

fn fentry(host: &Host) -> Support {
    if !Path::new(btf::VMLINUX).exists() {
        return Support::Unsupported(format!("{} is missing", btf::VMLINUX));
    }
    program(
        host,
        ProgramType::Tracing,
        "this kernel has no fentry programs (from 5.5 on, on arm64 from 6.0 on)",
    )
}

fn kprobe(host: &Host) -> Support {
    if !Path::new(KPROBE_PMU).exists() {
        return Support::Unsupported(
            "this kernel was built without kprobe events (CONFIG_KPROBE_EVENTS)".to_owned(),
        );
    }
    program(host, ProgramType::KProbe, NO_TRACING)
}

fn program(host: &Host, kind: ProgramType, unsupported: &str) -> Support {
    match answer(host, Action::Load, is_program_supported(kind), unsupported) {
        // They load, and may not call what reads the kernel's memory, as each of ours does
        // (bpf_base_func_proto, kernel/bpf/helpers.c).
        Support::Supported if host.lockdown == Some(Lockdown::Confidentiality) => {
            Support::Forbidden(preflight::LOCKED_DOWN.to_owned())
        }
        support => support,
    }
}

fn answer<E: Error + 'static>(
    host: &Host,
    action: Action,
    outcome: Result<bool, E>,
    unsupported: &str,
) -> Support {
    match outcome {
        Ok(true) => Support::Supported,
        Ok(false) => Support::Unsupported(unsupported.to_owned()),
        Err(error) => Support::Forbidden(match errno(&error) {
            Some(errno) => host.explain(action, errno).unwrap_or_else(|bare| bare),
            None => error.to_string(),
        }),
    }
}

/// The error number at the end of a chain of errors.
#[must_use]
pub fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.raw_os_error();
        }
        next = error.source();
    }
    None
}
