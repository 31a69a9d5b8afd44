//! bpftrace with a script of benches/reference.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::watcher::FOLDER;
use crate::wait;

/// Where xtask puts bpftrace (xtask/src/setup/bpftrace.rs).
const PROGRAM: &str = "/usr/lib/tcpwnd-bpftrace";

/// What bpftrace prints when everything is attached, if the variable of the same name is set.
const ATTACHED: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";

/// How long it may take for that on an emulated machine.
const START: Duration = Duration::from_secs(120);

/// How long it may take to end.
const END: Duration = Duration::from_secs(60);

/// A script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// What it is called in figures.
    pub name: &'static str,
    /// The file.
    pub file: &'static str,
    /// How many lines it prints for each handshake, if that is all it prints.
    pub lines: Option<usize>,
}

/// A running bpftrace.
pub struct Tracing {
    script: Script,
    child: Child,
    folder: TempDir,
}

impl Script {
    /// Whether bpftrace is here.
    pub fn is_here(self) -> bool {
        Path::new(PROGRAM).exists()
    }

    /// Starts it, and returns when its probes are attached. What it prints goes into a file, so that
    /// nobody else has to run for it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(self) -> Result<Tracing> {
        let folder = tempfile::tempdir().context("failed to make a directory")?;
        let file = |name: &str| File::create(folder.path().join(name));
        let child = Command::new(format!("{PROGRAM}/lib/ld-linux-x86-64.so.2"))
            .args(["--library-path", &format!("{PROGRAM}/lib")])
            .arg(format!("{PROGRAM}/bpftrace"))
            .arg(format!("{FOLDER}/{}", self.file))
            .env(ATTACHED, "1")
            .stdin(Stdio::null())
            .stdout(file("out").context("failed to make a file")?)
            .stderr(file("errors").context("failed to make a file")?)
            .spawn()
            .context("failed to start bpftrace")?;
        let mut tracing = Tracing {
            script: self,
            child,
            folder,
        };
        tracing.wait_attached()?;
        Ok(tracing)
    }
}

impl Tracing {
    fn wait_attached(&mut self) -> Result<()> {
        wait::until_true(START, "bpftrace to attach its probes", || {
            let ended = self.child.try_wait();
            let ended = ended.context("failed to look after bpftrace")?;
            let (file, errors) = (self.script.file, self.read("errors")?);
            ensure!(ended.is_none(), "bpftrace {file} ended at once: {errors}");
            Ok(self.read("out")?.contains(ATTACHED))
        })
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it did not print its lines for each of `handshakes`.
    pub fn end(mut self, handshakes: usize) -> Result<()> {
        // SAFETY: takes no pointer; the child has not been waited for, so the id is its own.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) };
        wait::until_true(END, "bpftrace to end", || {
            let ended = self.child.try_wait();
            Ok(ended.context("failed to look after bpftrace")?.is_some())
        })?;
        let Some(lines) = self.script.lines else {
            return Ok(());
        };
        let out = self.read("out")?;
        // Beside those it says how many probes it attaches, and prints the maps in the end.
        let events = out.lines().skip_while(|line| !line.contains(ATTACHED));
        let events = events.skip(1).filter(|line| !line.is_empty());
        let printed = events.take_while(|line| !line.starts_with('@')).count();
        ensure!(
            printed == lines * handshakes,
            "{} printed {printed} lines for {handshakes} handshakes: {}",
            self.script.file,
            self.read("errors")?
        );
        Ok(())
    }
}
