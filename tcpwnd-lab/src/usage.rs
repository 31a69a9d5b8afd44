//! What a program costs: its processor time, and what it reads, as the kernel counts them.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What a program that has ended cost.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Time on processors, its own and the kernel's for it.
    pub cpu: Duration,
    /// From start to end.
    pub elapsed: Duration,
    /// System calls that read, and the bytes that they brought; none where the kernel does not count
    /// them (CONFIG_TASK_IO_ACCOUNTING), or does not show them.
    pub reads: Option<(u64, u64)>,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Done {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub output: String,
    /// What it cost.
    pub usage: Usage,
}

/// Runs a program to its end. What it prints goes to a file, so that it waits for nobody.
///
/// # Errors
/// When it does not start, or prints no text.
pub fn run(command: &mut Command) -> Result<Done> {
    let output = tempfile::NamedTempFile::new().context("failed to make a file")?;
    let stdout = File::options().write(true).open(output.path());
    command.stdout(stdout.context("failed to open a file")?);
    let begun = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("failed to start {command:?}"))?;
    let pid = child.id();
    wait_ended(pid)?;
    let elapsed = begun.elapsed();
    // It is there until somebody has taken its status.
    let reads = fs::read_to_string(format!("/proc/{pid}/io")).ok();
    let reads = reads.and_then(|text| reads_of(&text));
    let (status, cpu) = reap(pid)?;
    let output = fs::read_to_string(output.path()).context("the program printed no text")?;
    Ok(Done {
        status,
        output,
        usage: Usage {
            cpu,
            elapsed,
            reads,
        },
    })
}

/// Waits until a child has ended, and leaves it its status.
fn wait_ended(pid: u32) -> Result<()> {
    let options = libc::WEXITED | libc::WNOWAIT;
    loop {
        // SAFETY: all-zero is a valid siginfo_t.
        let mut ended: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to what the call fills, and outlives it.
        if unsafe { libc::waitid(libc::P_PID, pid, &raw mut ended, options) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error).context("failed to wait for a program");
        }
    }
}

fn reap(pid: u32) -> Result<(ExitStatus, Duration)> {
    let mut status = 0;
    // SAFETY: all-zero is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to what the call fills, and outlive it.
    let done = unsafe { libc::wait4(pid as i32, &raw mut status, 0, &raw mut usage) };
    if done < 0 {
        return Err(io::Error::last_os_error()).context("failed to take a program's status");
    }
    let cpu = [usage.ru_utime, usage.ru_stime]
        .map(|time| Duration::from_micros((time.tv_sec * 1_000_000 + time.tv_usec) as u64));
    Ok((ExitStatus::from_raw(status), cpu[0] + cpu[1]))
}

/// Reads `/proc/PID/io`: lines like `syscr: 283`.
fn reads_of(text: &str) -> Option<(u64, u64)> {
    let value = |name: &str| {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name))?;
        value.trim().parse().ok()
    };
    Some((value("syscr:")?, value("rchar:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_run_and_measured() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo $i; exit 3",
        ]);
        let done = run(&mut command).unwrap();
        assert_eq!(
            (done.status.code(), done.output.as_str()),
            (Some(3), "20000\n")
        );
        assert!(done.usage.cpu > Duration::ZERO && done.usage.elapsed > Duration::ZERO);
    }

    #[test]
    fn the_kernels_count_of_reads_is_read() {
        let text = "rchar: 7654321\nwchar: 1\nsyscr: 283\nsyscw: 1\nread_bytes: 0\n";
        assert_eq!(reads_of(text), Some((283, 7_654_321)));
        assert_eq!(reads_of(""), None);
    }
}
