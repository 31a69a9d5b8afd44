//! One run of one VM under QEMU's software emulation: no KVM, no privileges, no network.
//!
//! Serial ports: 0 the kernel's console, into a file; 1 and 2 the command's output, streamed;
//! 3 PID 1's one line about how the command ended, into a file. On aarch64 the console is the
//! machine's own port, and the others are those of a card, whose first one is not connected.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::klog;
use crate::arch::Arch;
use crate::kernels::Image;
use crate::setup::qemu;

/// Memory of a VM beside what its initramfs takes twice (as an archive and unpacked), in MB.
const MEMORY: u64 = 1024;

/// How often it is looked whether a VM has ended.
const POLL: Duration = Duration::from_millis(20);

/// How a VM's time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// Two processors, as fast as they can.
    Ordinary,
    /// One processor whose clock counts executed instructions, a nanosecond each, and jumps to the
    /// next timer when there is nothing to do: the same work takes the same time whatever this machine
    /// is busy with.
    Counting,
}

impl Machine {
    /// QEMU's options for it.
    const fn options(self) -> &'static [&'static str] {
        match self {
            Self::Ordinary => &["-accel", "tcg", "-smp", "2"],
            Self::Counting => &[
                "-accel",
                "tcg,thread=single",
                "-icount",
                "shift=0,sleep=off",
                "-smp",
                "1",
            ],
        }
    }
}

/// What differs between architectures.
struct Board {
    /// QEMU's options for it.
    options: &'static [&'static str],
    /// What the kernel calls its console.
    console: &'static str,
    /// QEMU's options for the ports, by the names of what they are connected to.
    ports: &'static [&'static str],
}

const fn board(arch: Arch) -> Board {
    match arch {
        Arch::X86_64 => Board {
            options: &["-cpu", "max"],
            console: "ttyS0",
            ports: &[
                "-serial",
                "chardev:console",
                "-serial",
                "chardev:stdout",
                "-serial",
                "chardev:stderr",
                "-serial",
                "chardev:status",
            ],
        },
        // "max" would spend half of its time on signing pointers.
        Arch::Aarch64 => Board {
            options: &["-machine", "virt", "-cpu", "neoverse-n1"],
            console: "ttyAMA0",
            ports: &[
                "-serial",
                "chardev:console",
                "-chardev",
                "null,id=unused",
                "-device",
                "pci-serial-4x,chardev1=unused,chardev2=stdout,chardev3=stderr,chardev4=status",
            ],
        },
    }
}

/// A VM to run.
pub struct Vm<'a> {
    /// What it boots.
    pub image: &'a Image,
    /// On what.
    pub machine: Machine,
    /// Its root file system.
    pub initramfs: &'a Path,
    /// A folder for its log.
    pub folder: &'a Path,
    /// When it is killed.
    pub timeout: Duration,
    /// Parameters that its kernel gets beside ours.
    pub parameters: &'a str,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The command's exit code, or why there is none.
    pub code: Result<u8, String>,
    /// Whether the VM was killed because it took too long.
    pub timed_out: bool,
    /// The kernel's log, as far as it reached the console: warnings and worse.
    pub log: String,
}

impl Outcome {
    /// Why the run counts as failed whatever the command said.
    pub fn trouble(&self) -> Option<String> {
        if let Some(line) = klog::first_bad_line(&self.log) {
            return Some(format!("the kernel's log has: {}", line.trim()));
        }
        self.code.as_ref().err().cloned()
    }
}

impl Vm<'_> {
    /// Boots it and waits for its end, streaming the command's output meanwhile.
    ///
    /// # Errors
    ///
    /// When QEMU cannot be started.
    pub fn run(
        &self,
        stdout: impl Write + Send + 'static,
        stderr: impl Write + Send + 'static,
    ) -> anyhow::Result<Outcome> {
        let mut qemu = self.command(false)?;
        qemu.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = qemu.spawn().context("cannot run QEMU")?;
        let carriers = [
            child.stdout.take().map(|from| carry(from, stdout)),
            child.stderr.take().map(|from| carry(from, stderr)),
        ];
        let ended = wait(&mut child, Some(self.timeout))?;
        for carrier in carriers.into_iter().flatten() {
            match carrier.join() {
                Ok(result) => result.context("pass the command's output on")?,
                Err(_) => bail!("the thread that passes the output on panicked"),
            }
        }
        self.outcome(ended)
    }

    /// Boots it with this process's terminal as the command's.
    ///
    /// # Errors
    ///
    /// When QEMU cannot be started.
    pub fn run_on_terminal(&self) -> anyhow::Result<Outcome> {
        let mut child = self.command(true)?.spawn().context("cannot run QEMU")?;
        let ended = wait(&mut child, None)?;
        self.outcome(ended)
    }

    fn command(&self, terminal: bool) -> anyhow::Result<Command> {
        let qemu = qemu::ensure(self.image.arch)?;
        let board = board(self.image.arch);
        let size = fs::metadata(self.initramfs)?.len() >> 20;
        // A VM must not outlive this program, however that ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(qemu)
            .args(self.machine.options())
            .args(board.options)
            .args(["-m", &(MEMORY + 2 * size).to_string()])
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-no-reboot", "-nic", "none"])
            .arg("-kernel")
            .arg(&self.image.vmlinuz)
            .arg("-initrd")
            .arg(self.initramfs)
            // Level 5 shows warnings and worse. A panic or an oops ends the VM (-no-reboot).
            .arg("-append")
            .arg(format!(
                "console={} loglevel=5 panic=-1 oops=panic {}",
                board.console, self.parameters
            ));
        let interrupts = if terminal { "off" } else { "on" };
        let ports = [
            format!("file,id=console,path={}", self.console().display()),
            format!("stdio,id=stdout,signal={interrupts}"),
            "file,id=stderr,path=/dev/stderr".to_owned(),
            format!("file,id=status,path={}", self.status().display()),
        ];
        for port in ports {
            command.arg("-chardev").arg(port);
        }
        command.args(board.ports);
        Ok(command)
    }

    fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    fn status(&self) -> PathBuf {
        self.folder.join("status")
    }

    fn outcome(&self, ended: Ended) -> anyhow::Result<Outcome> {
        let read = |path: PathBuf| {
            let bytes = fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\r', "")
        };
        let log = read(self.console());
        let status = read(self.status());
        let code = match ended {
            Ended::TimedOut => Err(format!("took longer than {} s", self.timeout.as_secs())),
            Ended::Itself(end) => parse_status(&status).map_err(|reason| {
                if end.success() {
                    reason
                } else {
                    format!("{reason} (QEMU: {end})")
                }
            }),
        };
        let timed_out = matches!(ended, Ended::TimedOut);
        Ok(Outcome {
            code,
            timed_out,
            log,
        })
    }
}

/// PID 1's line.
fn parse_status(line: &str) -> Result<u8, String> {
    if line.trim().is_empty() {
        return Err("the VM stopped before the command ended".to_owned());
    }
    match line.trim().split_once(' ') {
        Some(("exit", code)) => code.parse().map_err(|_| format!("PID 1 said: {line}")),
        Some(("init", message)) => Err(format!("PID 1: {message}")),
        _ => Err(format!("PID 1 said: {line}")),
    }
}

enum Ended {
    Itself(ExitStatus),
    TimedOut,
}

fn wait(child: &mut Child, timeout: Option<Duration>) -> anyhow::Result<Ended> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::Itself(status));
        }
        if timeout.is_some_and(|timeout| begin.elapsed() > timeout) {
            child.kill()?;
            child.wait()?;
            return Ok(Ended::TimedOut);
        }
        thread::sleep(POLL);
    }
}

/// Passes bytes on as they come. A reader that went away does not end the run.
fn carry(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
) -> JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        let mut open = true;
        loop {
            let length = from.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            if open {
                let written = to.write_all(&buffer[..length]).and_then(|()| to.flush());
                open = written.is_ok();
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::parse_status;

    #[test]
    fn only_a_whole_line_of_pid_1_is_an_exit_code() {
        assert_eq!(parse_status("exit 3\n"), Ok(3));
        assert!(
            parse_status("")
                .unwrap_err()
                .contains("before the command ended")
        );
        assert!(
            parse_status("init mount proc\n")
                .unwrap_err()
                .contains("mount proc")
        );
        assert!(parse_status("exit 300\n").is_err());
    }
}
