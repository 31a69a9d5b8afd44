//! `tcpwnd run` as systemd starts it: ready when everything is attached, pings while its event loop
//! turns and none while that is stuck, and a word before it ends.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::bench::Bench;
use super::open_now::free_address;
use super::stage::{Rmem, Stage};
use crate::http::get;
use crate::wait;

/// What the manager says it takes for stuck; the agent pings twice as often.
const PATIENCE: Duration = Duration::from_secs(2);

/// No ping for so long means that there will be none.
const SILENCE: Duration = Duration::from_secs(6);

/// Findings that fill a pipe of 64 KiB, and what the agent has put by for it.
const FINDINGS: u16 = 60;

/// As many at a time: fewer than the server's backlog, beyond which ACKs are dropped.
const AT_ONCE: u16 = 20;

pub fn play(bench: &Bench) -> Result<String> {
    let folder = tempfile::tempdir().context("failed to make a directory")?;
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).context("failed to make a socket")?;
    for place in [folder.path(), &path] {
        // The agent may be an unprivileged user.
        fs::set_permissions(place, Permissions::from_mode(0o777)).context("failed to chmod")?;
    }
    let stage = Stage::with_cookies()?;
    let listen = free_address()?.to_string();
    let mechanism = bench.launch.mechanism.name();
    let mut command = bench.launch.command(&[
        "run",
        "--listen",
        &listen,
        "--port",
        "9092",
        "--format",
        "json",
        "--log-limit",
        "0",
        "--mechanism",
        mechanism,
    ]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", PATIENCE.as_micros().to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut agent = Killed(command.spawn().context("failed to start tcpwnd")?);
    let first = receive(&socket, Duration::from_secs(60))?.context("it said nothing")?;
    ensure!(
        first.starts_with("READY=1\n") && first.contains("\nSTATUS=watching; metrics on http://"),
        "its first word was {first:?}"
    );
    get(listen.parse()?, "/readyz").context("it said that it is ready")?;
    for _ in 0..3 {
        wait_for(&socket, "WATCHDOG=1")?;
    }
    // Nobody reads its log: when that is full, the loop waits for whoever reads it.
    for number in (1..=FINDINGS).step_by(AT_ONCE.into()) {
        damage(&stage, number..number + AT_ONCE)?;
    }
    let mut pings = 0;
    while receive(&socket, SILENCE)?.is_some() {
        pings += 1;
        ensure!(pings < 20, "it pings although its loop is stuck");
    }
    let mut log = agent.0.stdout.take().context("it has no standard output")?;
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).map(|_| text)
    });
    wait_for(&socket, "WATCHDOG=1").context("its log is read again")?;
    // SAFETY: takes no pointer; the child has not been waited for, so the id is its own.
    let signalled = unsafe { libc::kill(agent.0.id() as i32, libc::SIGTERM) };
    ensure!(signalled == 0, "failed to signal tcpwnd");
    wait_for(&socket, "STOPPING=1")?;
    let status = wait::until(wait::PATIENCE, "tcpwnd to end", || {
        agent.0.try_wait().context("failed to look after tcpwnd")
    })?;
    ensure!(status.success(), "tcpwnd ended by {status}");
    let text = reader.join().ok().context("the reader panicked")??;
    let found = text.matches("\"verdict\":\"mismatch\"").count();
    ensure!(
        found == usize::from(FINDINGS),
        "{FINDINGS} were damaged, {found} are in the log"
    );
    Ok(format!(
        "ready, silent after {pings} words while stuck, stopping"
    ))
}

fn damage(stage: &Stage, numbers: Range<u16>) -> Result<()> {
    stage.change(Rmem::Lowered)?;
    let count = usize::from(numbers.end) - 1;
    stage.damaged(numbers)?;
    stage.broker.wait_accepted(count).map(drop)
}

/// What comes within some time.
fn receive(socket: &UnixDatagram, within: Duration) -> Result<Option<String>> {
    socket
        .set_read_timeout(Some(within))
        .context("failed to set a time-out")?;
    let mut buffer = [0; 4096];
    match socket.recv(&mut buffer) {
        Ok(count) => Ok(Some(String::from_utf8_lossy(&buffer[..count]).into_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(None)
        }
        Err(error) => Err(error).context("failed to receive"),
    }
}

fn wait_for(socket: &UnixDatagram, word: &str) -> Result<()> {
    // Words about its status come in between.
    for _ in 0..50 {
        match receive(socket, wait::PATIENCE)? {
            Some(text) if text.lines().any(|line| line == word) => return Ok(()),
            Some(_) => {}
            None => break,
        }
    }
    bail!("it did not say {word}")
}

/// A child that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Harmless when it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
