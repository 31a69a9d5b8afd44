//! A kernel probe of the laboratory's own, which writes a line into the kernel's trace each time.
//!
//! Constraint: one at a time, for they share the trace. It ends with its value.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};

use anyhow::{Context, Result};

const DEFINITIONS: &str = "/sys/kernel/tracing/kprobe_events";
const TRACE: &str = "/sys/kernel/tracing/trace";

/// A probe that is switched on.
#[derive(Debug)]
pub struct TraceProbe {
    name: &'static str,
}

impl TraceProbe {
    /// Probes `what`: a function, and what to note of its arguments (Documentation/trace/kprobetrace).
    ///
    /// # Errors
    /// Of the kind `NotFound` where the kernel has no such probes, or no such function.
    pub fn start(name: &'static str, what: &str) -> io::Result<Self> {
        let probe = Self { name };
        // What an earlier one left, if it was killed; mostly there is nothing.
        probe.remove();
        define(&format!("p:tcpwnd_lab/{name} {what}"))?;
        fs::write(probe.switch(), "1")?;
        fs::write(TRACE, "")?;
        Ok(probe)
    }

    /// What was noted since the last time: the thread, and the rest of the line.
    ///
    /// # Errors
    /// When the trace cannot be read, or is not as it should be.
    pub fn take(&self) -> Result<Vec<(u32, String)>> {
        let text = fs::read_to_string(TRACE).context("failed to read the kernel's trace")?;
        fs::write(TRACE, "").context("failed to clear the kernel's trace")?;
        let mark = format!(" {}: ", self.name);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| Some((line, line.split_once(&mark)?)))
            .map(|(line, (before, rest))| {
                let thread = thread(before).with_context(|| format!("not a line of it: {line}"))?;
                Ok((thread, rest.to_owned()))
            })
            .collect()
    }

    fn switch(&self) -> String {
        format!("/sys/kernel/tracing/events/tcpwnd_lab/{}/enable", self.name)
    }

    fn remove(&self) {
        // Each fails where the step before it was not reached.
        let _ = fs::write(self.switch(), "0");
        let _ = define(&format!("-:tcpwnd_lab/{}", self.name));
    }
}

impl Drop for TraceProbe {
    fn drop(&mut self) {
        self.remove();
        let _ = fs::write(TRACE, "");
    }
}

fn define(line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(DEFINITIONS)?;
    file.write_all(line.as_bytes())
}

/// The thread of `  tcpwnd-181  [001] d...1  12.345678:`.
fn thread(before: &str) -> Option<u32> {
    // A program's name may have a dash or a blank.
    let (task, _) = before.split_once(" [")?;
    task.trim().rsplit_once('-')?.1.parse().ok()
}

/// The number behind ` NAME=` in a line.
pub fn field(line: &str, name: &str) -> Option<u32> {
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{field, thread};

    #[test]
    fn a_line_of_the_trace_is_read() {
        let before = "      tcpwnd-lab-181     [001] d..1.    12.345678:";
        assert_eq!(thread(before), Some(181));
        assert_eq!(thread("tracer: nop"), None);
        let rest = "(__x64_sys_bpf+0x0/0x20) command=24 more=7";
        assert_eq!(field(rest, "command"), Some(24));
        assert_eq!(field(rest, "more"), Some(7));
        assert_eq!(field(rest, "less"), None);
    }
}
