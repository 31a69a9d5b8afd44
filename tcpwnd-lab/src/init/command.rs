//! The one command of the VM: started, waited for as PID 1 has to, its output carried outside.
//!
//! Orphans that outlive the command are killed, so that a VM ends when its command does.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, bail};

use super::Job;
use super::serial::Port;

/// What a shell answers when a command is not found.
const NOT_FOUND: u8 = 127;

/// Runs the job with /dev/null as input and pipes as output, as under a CI runner: the command
/// must not take the serial ports for a terminal.
///
/// # Errors
///
/// When a port cannot be opened or the job is empty; a command that cannot be started is no
/// error but exit code 127 and a line on `ttyS2`.
pub fn run_on_pipes(job: &Job) -> anyhow::Result<u8> {
    let stdout = Port::open(Path::new("/dev/ttyS1"))?;
    let mut stderr = Port::open(Path::new("/dev/ttyS2"))?;
    let mut child = match command(job)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => return not_started(job, &error, &mut stderr),
    };
    let carriers = [
        carry(child.stdout.take(), stdout),
        carry(child.stderr.take(), stderr),
    ];
    let code = wait_for(child.id())?;
    for carrier in carriers {
        match carrier.join() {
            Ok(result) => result.context("carry the command's output outside")?,
            Err(_) => bail!("the thread that carries the command's output panicked"),
        }
    }
    Ok(code)
}

/// Runs the job with `ttyS1` as its controlling terminal, for people.
///
/// # Errors
///
/// As for [`run_on_pipes`].
pub fn run_on_terminal(job: &Job) -> anyhow::Result<u8> {
    let mut port = Port::open_cooked(Path::new("/dev/ttyS1"))?;
    let terminal = || port.file().try_clone().context("duplicate ttyS1");
    let mut command = command(job)?;
    command
        .stdin(terminal()?)
        .stdout(terminal()?)
        .stderr(terminal()?);
    // SAFETY: setsid and ioctl are async-signal-safe, and nothing is allocated between fork and exec.
    unsafe {
        command.pre_exec(|| {
            if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return not_started(job, &error, &mut port),
    };
    let code = wait_for(child.id())?;
    // The end of a session hangs its terminal up, for everybody who had it open.
    let port = Port::open_cooked(Path::new("/dev/ttyS1"))?;
    port.drain().context("drain ttyS1")?;
    Ok(code)
}

fn command(job: &Job) -> anyhow::Result<Command> {
    let (program, arguments) = job.argv.split_first().context("the job names no command")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs([("HOME", "/root"), ("USER", "root"), ("LANG", "C.UTF-8")])
        .envs(job.env.iter().map(|(name, value)| (name, value)))
        .current_dir("/root");
    Ok(command)
}

fn not_started(job: &Job, error: &io::Error, to: &mut impl io::Write) -> anyhow::Result<u8> {
    writeln!(to, "{}: {error}", job.argv[0]).context("report that the command did not start")?;
    Ok(NOT_FOUND)
}

/// Copies everything from a pipe to a port, then waits until it has left.
fn carry(
    from: Option<impl Read + AsRawFd + Send + 'static>,
    mut to: Port,
) -> JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        if let Some(mut from) = from {
            io::copy(&mut from, &mut to)?;
        }
        to.drain()
    })
}

/// Reaps whatever ends until `pid` has ended, then kills and reaps the rest.
fn wait_for(pid: u32) -> anyhow::Result<u8> {
    let pid = libc::pid_t::try_from(pid)?;
    let status = loop {
        match reap()? {
            Some((reaped, status)) if reaped == pid => break status,
            Some(_) => {}
            None => bail!("process {pid} vanished"),
        }
    };
    // SAFETY: takes no pointers. As PID 1, -1 means every process but this one; that none is left
    // (ESRCH) is as good.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    while reap()?.is_some() {}
    Ok(exit_code(status))
}

/// Waits for any child; `None` when there is none left.
fn reap() -> io::Result<Option<(libc::pid_t, libc::c_int)>> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the result.
        let pid = unsafe { libc::waitpid(-1, &mut status, 0) };
        if pid >= 0 {
            return Ok(Some((pid, status)));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ECHILD) => return Ok(None),
            Some(libc::EINTR) => {}
            _ => return Err(error),
        }
    }
}

/// The exit code as a shell gives it: 128 and the signal's number for a killed process.
fn exit_code(status: libc::c_int) -> u8 {
    let code = if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::exit_code;

    #[test]
    fn exit_codes_are_the_shells() {
        assert_eq!(exit_code(3 << 8), 3);
        assert_eq!(exit_code(libc::SIGKILL), 137);
    }
}
