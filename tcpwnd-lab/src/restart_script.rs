//! A run of the shipped script that restarts brokers one after the other, with the laboratory as
//! what restarts them.
//!
//! Constraint: the script is the one under deploy/, word for word, and run by `sh`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::wait;

const SCRIPT: &str = include_str!("../../deploy/rolling-restart/rolling-restart.sh");

/// Each of the script's steps starts several programs, which takes a second on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running script. Dropping it kills it.
#[derive(Debug)]
pub struct RestartScript {
    child: Child,
    folder: TempDir,
}

impl RestartScript {
    /// Starts it for these brokers, which are called by their agents' ports here, to give up each
    /// after so many seconds.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(agents: &[u16], seconds: u32) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a directory")?;
        let script = folder.path().join("rolling-restart.sh");
        fs::write(&script, SCRIPT).context("failed to write the script")?;
        let log = File::create(folder.path().join("log")).context("failed to make a log")?;
        let errors = log.try_clone().context("failed to make a log")?;
        let place = folder.path().display();
        let restart = format!(
            "touch {place}/$BROKER.asked; until [ -e {place}/$BROKER.done ]; do sleep 0.1; done"
        );
        let child = Command::new("sh")
            .arg(&script)
            .args(["-r", &restart])
            .args([
                "-a",
                "curl -fsS \"http://127.0.0.1:$BROKER/api/v1/findings?$QUERY\"",
            ])
            .args(["-s", "1", "-i", "1", "-t", &seconds.to_string()])
            .args(agents.iter().map(u16::to_string))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .context("failed to run sh")?;
        Ok(Self { child, folder })
    }

    /// Everything it has said so far.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn said(&self) -> Result<String> {
        fs::read_to_string(self.file("log")).context("failed to read the script's log")
    }

    /// Whether it has asked for this broker to be restarted.
    #[must_use]
    pub fn asked(&self, agent: u16) -> bool {
        self.file(&format!("{agent}.asked")).exists()
    }

    /// Waits until it asks for this broker to be restarted.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_asked(&self, agent: u16) -> Result<()> {
        let what = format!("the script to restart {agent}");
        let waited = wait::until_true(PATIENCE, &what, || Ok(self.asked(agent)));
        waited.with_context(|| self.said().unwrap_or_default())
    }

    /// Tells it that the broker is up again.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn restarted(&self, agent: u16) -> Result<()> {
        File::create(self.file(&format!("{agent}.done")))
            .map(drop)
            .context("failed to write a file")
    }

    /// Waits until it has said this `count` times.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_said(&self, words: &str, count: usize) -> Result<()> {
        let what = format!("the script to say {count} times: {words}");
        let waited = wait::until_true(PATIENCE, &what, || {
            Ok(self.said()?.matches(words).count() >= count)
        });
        waited.with_context(|| self.said().unwrap_or_default())
    }

    /// Waits for its end, checks its exit code, and returns everything that it said.
    ///
    /// # Errors
    /// When it does not end, or in another way.
    pub fn wait_end(&mut self, expected: i32) -> Result<String> {
        let status = wait::until(PATIENCE, "the script to end", || {
            self.child.try_wait().context("failed to look after sh")
        })?;
        let said = self.said()?;
        ensure!(
            status.code() == Some(expected),
            "the script ended with {status} instead of {expected}: {said}"
        );
        Ok(said)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for RestartScript {
    fn drop(&mut self) {
        // Harmless when it has ended. What it started ends with the files in its folder.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
