//! The kinds of program that are used, behind one face: load, attach, unload.
//!
//! Constraint: the only place that knows aya's program types.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use aya::Btf;
use aya::programs::fentry::FEntryLink;
use aya::programs::fexit::FExitLink;
use aya::programs::kprobe::KProbeLink;
use aya::programs::raw_trace_point::RawTracePointLink;
use aya::programs::{Program, ProgramError};

/// An attached program; dropping it detaches.
#[expect(dead_code, reason = "held for what dropping them does")]
pub enum Link {
    /// At a function's entry.
    FEntry(FEntryLink),
    /// At a function's return.
    FExit(FExitLink),
    /// Either, through perf.
    KProbe(KProbeLink),
    /// At a tracepoint.
    RawTracePoint(RawTracePointLink),
}

/// Gives `program` to the kernel, for `symbol` where its type binds it to one.
///
/// # Errors
///
/// The kernel's; fentry without the kernel's BTF is `UnexpectedProgramType`.
pub fn load(program: &mut Program, symbol: &str, btf: Option<&Btf>) -> Result<(), ProgramError> {
    match (program, btf) {
        (Program::FEntry(program), Some(btf)) => program.load(symbol, btf),
        (Program::FExit(program), Some(btf)) => program.load(symbol, btf),
        (Program::KProbe(program), _) => program.load(),
        (Program::RawTracePoint(program), _) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Attaches a loaded program to `symbol`.
///
/// # Errors
///
/// The kernel's.
pub fn attach(program: &mut Program, symbol: &str) -> Result<Link, ProgramError> {
    Ok(match program {
        Program::FEntry(program) => {
            let id = program.attach()?;
            Link::FEntry(program.take_link(id)?)
        }
        Program::FExit(program) => {
            let id = program.attach()?;
            Link::FExit(program.take_link(id)?)
        }
        Program::KProbe(program) => {
            let id = program.attach(symbol, 0)?;
            Link::KProbe(program.take_link(id)?)
        }
        Program::RawTracePoint(program) => {
            let id = program.attach(symbol)?;
            Link::RawTracePoint(program.take_link(id)?)
        }
        _ => return Err(ProgramError::UnexpectedProgramType),
    })
}

/// Takes `program` from the kernel; one that was not loaded stays so.
pub fn unload(program: &mut Program) {
    // The only failure is that it was not loaded.
    let _ = match program {
        Program::FEntry(program) => program.unload(),
        Program::FExit(program) => program.unload(),
        Program::KProbe(program) => program.unload(),
        Program::RawTracePoint(program) => program.unload(),
        _ => Ok(()),
    };
}

/// Runs that the kernel skipped, as the program's descriptor says; `None` where this kernel
/// cannot tell. `kprobes_counted`: it counts those of kprobes.
pub fn missed(program: &Program, kprobes_counted: bool) -> Option<u64> {
    let info = fdinfo(program)?;
    match program {
        Program::KProbe(_) if !kprobes_counted => None,
        Program::KProbe(_) => number(&info, MISSES),
        // Before 5.12 there is no such line, and no guard that would skip a run either: it needs
        // prog->active, which came with the count (__bpf_prog_enter, kernel/bpf/trampoline.c;
        // raw tracepoints got theirs later, __bpf_trace_run, kernel/trace/bpf_trace.c).
        _ if info.contains("prog_type:") => Some(number(&info, MISSES).unwrap_or(0)),
        _ => None,
    }
}

/// Whether the kernel measures programs now; otherwise what it measured stands still.
pub fn are_measured() -> bool {
    fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").is_ok_and(|on| on.trim() != "0")
}

/// What the kernel measured, nanoseconds (bpf_prog_show_fdinfo, kernel/bpf/syscall.c, 5.1).
pub fn run_time_ns(program: &Program) -> Option<u64> {
    number(&fdinfo(program)?, "run_time_ns:")
}

const MISSES: &str = "recursion_misses:";

/// What the kernel says of a program: no system call of BPF, so that it needs no capability.
fn fdinfo(program: &Program) -> Option<String> {
    let descriptor = program.fd().ok()?.as_fd().as_raw_fd();
    fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()
}

fn number(fdinfo: &str, name: &str) -> Option<u64> {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::{MISSES, number};

    #[test]
    fn a_kernel_without_the_line_has_no_number() {
        let old = "pos:\t0\nprog_type:\t26\nrun_cnt:\t0\n";
        assert_eq!(number(old, MISSES), None);
        let new = format!("{old}recursion_misses:\t7\n");
        assert_eq!(number(&new, MISSES), Some(7));
    }
}
