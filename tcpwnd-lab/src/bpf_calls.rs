//! Who makes which bpf(2) calls, as the kernel sees them: a kernel probe at the system call's entry,
//! which writes into the kernel's trace.
//!
//! Why not the tracepoint `syscalls:sys_enter_bpf`: the laboratory's own kernel is built without it
//! (CONFIG_FTRACE_SYSCALLS).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};

use anyhow::{Context, Result};

const DEFINITIONS: &str = "/sys/kernel/tracing/kprobe_events";
const SWITCH: &str = "/sys/kernel/tracing/events/tcpwnd_lab/bpf_call/enable";
const TRACE: &str = "/sys/kernel/tracing/trace";

/// The command is the first argument, which lies in the caller's `%rdi`: offset 112 of the
/// `struct pt_regs` that the function is given (arch/x86/include/asm/syscall_wrapper.h).
const DEFINITION: &str = "p:tcpwnd_lab/bpf_call __x64_sys_bpf command=+112(%di):s32";
const REMOVAL: &str = "-:tcpwnd_lab/bpf_call";

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
pub struct BpfCalls(());

impl BpfCalls {
    /// Begins.
    ///
    /// # Errors
    /// Of the kind `NotFound` where the kernel has no such probes, or no such function.
    pub fn record() -> io::Result<Self> {
        // What an earlier one left, if it was killed; mostly there is nothing.
        drop(Self(()));
        OpenOptions::new()
            .append(true)
            .open(DEFINITIONS)?
            .write_all(DEFINITION.as_bytes())?;
        // From here on it is taken back.
        let recording = Self(());
        fs::write(SWITCH, "1")?;
        fs::write(TRACE, "")?;
        Ok(recording)
    }

    /// All calls since the last time, in order.
    ///
    /// # Errors
    /// When the trace cannot be read, or is not as it should be.
    pub fn take(&self) -> Result<Vec<Call>> {
        let text = fs::read_to_string(TRACE).context("failed to read the kernel's trace")?;
        fs::write(TRACE, "").context("failed to clear the kernel's trace")?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter(|line| line.contains(" bpf_call: "))
            .map(|line| parse(line).with_context(|| format!("not a line of a call: {line}")))
            .collect()
    }
}

impl Drop for BpfCalls {
    fn drop(&mut self) {
        // Each fails where the step before it was not reached.
        let _ = fs::write(SWITCH, "0");
        let definitions = OpenOptions::new().append(true).open(DEFINITIONS);
        let _ = definitions.and_then(|mut file| file.write_all(REMOVAL.as_bytes()));
        let _ = fs::write(TRACE, "");
    }
}

/// Reads `  tcpwnd-181  [001] d...1  12.345678: bpf_call: (__x64_sys_bpf+0x0/0x20) command=1`.
fn parse(line: &str) -> Option<Call> {
    // A program's name may have a dash or a blank.
    let (task, _) = line.split_once(" [")?;
    let (_, thread) = task.trim().rsplit_once('-')?;
    let (_, command) = line.rsplit_once("command=")?;
    Some(Call {
        thread: thread.parse().ok()?,
        command: command.trim().parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Call, parse};

    #[test]
    fn a_line_of_the_trace_is_read() {
        let line = "      tcpwnd-lab-181     [001] d..1.    12.345678: bpf_call: \
                    (__x64_sys_bpf+0x0/0x20) command=24";
        let call = Call {
            thread: 181,
            command: 24,
        };
        assert_eq!(parse(line), Some(call));
        assert!(call.is_of_map());
        assert!(!Call { command: 5, ..call }.is_of_map());
        assert_eq!(parse("# tracer: nop"), None);
    }
}
