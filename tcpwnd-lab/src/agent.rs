//! The program under test: `tcpwnd` as a child process, with the books checked at its end.
//!
//! Constraint: only what any user sees is used: flags, the ready file, standard output, signals
//! and the exit code.

mod capabilities;
mod report;
mod serving;

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::wait;

pub use report::Report;

/// How long the agent may take to attach: seconds on an emulated machine.
const START: Duration = Duration::from_secs(60);

/// With which capabilities the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Caps {
    /// All that the laboratory itself has.
    All,
    /// Those of the shipped service: CAP_BPF and CAP_PERFMON, as an unprivileged user.
    Service,
    /// None at all, as an unprivileged user.
    None,
}

/// By which mechanism the agent hooks kernel functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mechanism {
    /// Whatever the agent chooses.
    Auto,
    /// Tracing programs.
    Fentry,
    /// Kernel probes.
    Kprobe,
}

impl Mechanism {
    /// As the agent's flag spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        }
    }
}

/// By what records come from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// Whatever the agent chooses.
    Auto,
    /// The ring buffer.
    Ring,
    /// Perf buffers.
    Perf,
}

impl Transport {
    /// As the agent's flag spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ring => "ring",
            Self::Perf => "perf",
        }
    }

    /// The flag that says how large its buffers are.
    #[must_use]
    pub fn size_flag(self) -> &'static str {
        match self {
            Self::Auto | Self::Ring => "--ring-bytes",
            Self::Perf => "--perf-bytes",
        }
    }
}

/// How to start the agent.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Mechanism to force.
    pub mechanism: Mechanism,
    /// Transport to force, of every subcommand that has the flag.
    pub transport: Transport,
    /// Capabilities to leave it.
    pub caps: Caps,
}

impl Launch {
    /// The command line `tcpwnd ARGUMENTS`, with the capabilities set up.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tcpwnd");
        command.args(arguments).stdin(Stdio::null());
        if let Some(&("run" | "trace" | "check" | "scan")) = arguments.first()
            && self.transport != Transport::Auto
        {
            command.args(["--transport", self.transport.name()]);
        }
        match self.caps {
            Caps::All => {}
            Caps::Service => capabilities::reduce(&mut command, capabilities::SERVICE),
            Caps::None => capabilities::reduce(&mut command, &[]),
        }
        command
    }

    /// Starts `tcpwnd trace --json --all` for these local ports, and waits until every probe is
    /// attached.
    ///
    /// # Errors
    /// When it does not start; the message has what it printed.
    pub fn trace(&self, ports: &str, more: &[&str]) -> Result<Agent> {
        self.trace_filtered(&[&["--port", ports], more].concat())
    }

    /// The same with any filter.
    ///
    /// # Errors
    /// As [`Self::trace`].
    pub fn trace_filtered(&self, filter: &[&str]) -> Result<Agent> {
        let mut arguments = vec!["trace", "--json", "--all"];
        arguments.extend(["--mechanism", self.mechanism.name()]);
        arguments.extend(filter);
        self.start(&arguments)
    }

    /// Starts any long-running subcommand and waits until every probe is attached.
    ///
    /// # Errors
    /// As [`Self::trace`].
    pub fn start(&self, arguments: &[&str]) -> Result<Agent> {
        let directory = tempfile::tempdir().context("failed to make a directory")?;
        // The agent may be an unprivileged user.
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o777))
            .context("failed to open up a directory")?;
        let ready = directory.path().join("ready");
        let mut command = self.command(arguments);
        command.arg("--ready-file").arg(&ready);
        // A terminal's Ctrl-C is for the laboratory, which then ends the agent itself.
        command
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut agent = Agent::spawn(command)?;
        agent.wait_ready(&ready)?;
        Ok(agent)
    }
}

/// A running agent. Dropping it kills it.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    output: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    lines: Vec<String>,
}

impl Agent {
    fn spawn(mut command: Command) -> Result<Self> {
        let mut child = command.spawn().context("failed to start tcpwnd")?;
        let stdout = child
            .stdout
            .take()
            .context("tcpwnd has no standard output")?;
        let mut stderr = child
            .stderr
            .take()
            .context("tcpwnd has no standard error")?;
        let (sender, output) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is worth having.
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Ok(Self {
            child,
            output,
            errors: Some(errors),
            lines: Vec::new(),
        })
    }

    fn wait_ready(&mut self, ready: &Path) -> Result<()> {
        let attached = wait::until_true(START, "tcpwnd to attach its probes", || {
            let ended = self
                .child
                .try_wait()
                .context("failed to look after tcpwnd")?;
            match ended {
                None => Ok(ready.exists()),
                Some(status) => bail!("tcpwnd ended at once ({status})"),
            }
        });
        attached.or_else(|error| {
            // Its standard error ends with it, and is wanted in the message.
            self.kill()?;
            bail!("{error:#}: {}", self.said().trim_end())
        })
    }

    /// Everything it wrote to standard error, once it has ended.
    fn said(&mut self) -> String {
        self.errors
            .take()
            .and_then(|errors| errors.join().ok())
            .unwrap_or_default()
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lines printed so far.
    pub fn lines(&mut self) -> &[String] {
        loop {
            match self.output.try_recv() {
                Ok(line) => self.lines.push(line),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return &self.lines,
            }
        }
    }

    /// Waits until `count` lines of the kind `handshake` have been printed.
    ///
    /// # Errors
    /// When they do not come.
    pub fn wait_handshakes(&mut self, count: usize) -> Result<()> {
        self.wait_kind("handshake", count)
    }

    /// Waits until `count` lines of a kind have been printed.
    ///
    /// # Errors
    /// When they do not come.
    pub fn wait_kind(&mut self, kind: &str, count: usize) -> Result<()> {
        let mut seen = 0;
        wait::until_true(
            wait::PATIENCE,
            &format!("{count} lines of kind {kind}"),
            || {
                seen = self.count(kind);
                Ok(seen >= count)
            },
        )
        .with_context(|| format!("only {seen} of {count} {kind} lines"))
    }

    /// Lines of a kind that have been printed so far.
    pub fn count(&mut self, kind: &str) -> usize {
        let mark = format!("\"kind\":\"{kind}\"");
        let lines = self.lines().iter();
        lines.filter(|line| line.contains(&mark)).count()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the agent has ended already.
    pub fn signal(&self, signal: i32) -> Result<()> {
        // SAFETY: takes no pointer; the child has not been waited for, so the id is its own.
        if unsafe { libc::kill(self.child.id() as i32, signal) } != 0 {
            return Err(std::io::Error::last_os_error()).context("failed to signal tcpwnd");
        }
        Ok(())
    }

    /// Kills it without giving it a chance to clean up.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill().context("failed to kill tcpwnd")?;
        self.child.wait().context("failed to wait for tcpwnd")
    }

    /// Waits for its end and returns all lines and its exit code.
    ///
    /// # Errors
    /// When it does not end, or was killed by a signal.
    pub fn wait_end(&mut self) -> Result<(Vec<String>, i32)> {
        let (lines, code, said) = self.end()?;
        if !said.is_empty() {
            eprintln!("tcpwnd: {}", said.trim_end());
        }
        Ok((lines, code))
    }

    /// The same, and what it wrote to standard error.
    ///
    /// # Errors
    /// As [`Self::wait_end`].
    pub fn end(&mut self) -> Result<(Vec<String>, i32, String)> {
        let status = wait::until(wait::PATIENCE, "tcpwnd to end", || {
            self.child.try_wait().context("failed to look after tcpwnd")
        })?;
        let mut lines = self.lines().to_vec();
        // The reading thread ends with the pipe.
        lines.extend(self.output.iter());
        let said = self.said();
        let code = status
            .code()
            .with_context(|| format!("tcpwnd ended by {status}: {said}"))?;
        Ok((lines, code, said))
    }

    /// Ends it with SIGTERM and checks its books: that what it printed adds up to its summary,
    /// that every handshake ended in exactly one class, that none was lost, and the exit code 0.
    ///
    /// # Errors
    /// When anything of that does not hold.
    pub fn finish(self) -> Result<Report> {
        let report = self.finish_with(0)?;
        let summary = &report.summary;
        ensure!(
            summary.lost() == 0 && summary.missed_runs() == 0,
            "events were lost: {:?}",
            summary.lost
        );
        Ok(report)
    }

    /// As [`Self::finish`], but for a certain exit code, and with losses allowed.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_with(self, expected: i32) -> Result<Report> {
        self.signal(libc::SIGTERM)?;
        self.ended_with(expected)
    }

    /// As [`Self::finish_with`], but it ends by itself.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn ended_with(mut self, expected: i32) -> Result<Report> {
        let (lines, code) = self.wait_end()?;
        let report = Report::read(&lines)?;
        report.tell_missed();
        report.check_books()?;
        let told = report.summary.exit_code;
        ensure!(
            told == code,
            "tcpwnd ended with {code}, its summary says {told}"
        );
        ensure!(
            code == expected,
            "tcpwnd ended with {code} instead of {expected}: lost {:?}",
            report.summary.lost
        );
        Ok(report)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Harmless when it has ended: the child is waited for only here and above.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
