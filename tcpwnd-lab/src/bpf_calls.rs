//! Who makes which bpf(2) calls, as the kernel sees them: a kernel probe at the system call's entry.
//!
//! Why not the tracepoint `syscalls:sys_enter_bpf`: the laboratory's own kernel is built without it
//! (CONFIG_FTRACE_SYSCALLS).

use std::io;

use anyhow::{Context, Result};

use crate::trace_probe::{TraceProbe, field};

/// The command is the first argument, which lies in the caller's `%rdi`: offset 112 of the
/// `struct pt_regs` that the function is given (arch/x86/include/asm/syscall_wrapper.h).
const CALLS: &str = "__x64_sys_bpf command=+112(%di):s32";

/// A call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The thread that made it.
    pub thread: u32,
    /// What it asked for (enum bpf_cmd, include/uapi/linux/bpf.h).
    pub command: u32,
}

impl Call {
    /// Whether it is one of those that act on a map. Most of them switch kernel probes off on their
    /// CPU while they run.
    #[must_use]
    pub fn is_of_map(&self) -> bool {
        // MAP_CREATE to MAP_GET_NEXT_KEY; MAP_LOOKUP_AND_DELETE_ELEM and MAP_FREEZE;
        // MAP_LOOKUP_BATCH to MAP_DELETE_BATCH.
        matches!(self.command, 0..=4 | 21..=22 | 24..=27)
    }
}

/// A recording, from its beginning. It ends with this value.
#[derive(Debug)]
pub struct BpfCalls(TraceProbe);

impl BpfCalls {
    /// Begins.
    ///
    /// # Errors
    /// Of the kind `NotFound` where the kernel has no such probes, or no such function.
    pub fn record() -> io::Result<Self> {
        TraceProbe::start("bpf_call", CALLS).map(Self)
    }

    /// All calls since the last time, in order.
    ///
    /// # Errors
    /// When the trace cannot be read, or is not as it should be.
    pub fn take(&self) -> Result<Vec<Call>> {
        let lines = self.0.take()?.into_iter();
        lines
            .map(|(thread, line)| {
                let command = field(&line, "command");
                let command = command.with_context(|| format!("not a line of a call: {line}"))?;
                Ok(Call { thread, command })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Call;

    #[test]
    fn calls_that_act_on_maps_are_told_from_others() {
        let of = |command| Call { thread: 1, command }.is_of_map();
        assert!(of(24) && of(0));
        assert!(!of(5));
    }
}
