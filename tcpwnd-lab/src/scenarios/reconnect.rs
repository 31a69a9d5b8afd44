//! The commands of the summary close the damaged connections that are open, and no other.

use std::fs;
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, Unsupported};
use super::stage::{Rmem, Stage};
use crate::agent::Caps;
use crate::broker;
use crate::packet::flag;
use crate::peer::{Offer, Peer};
use crate::wait::PATIENCE;

/// Connections of one host, of which the first is sound.
const PORTS: [u16; 3] = [40_001, 40_002, 40_003];

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::with_cookies()?;
    // The namespace has no name: some process has to be in it for anybody to enter it. An agent
    // that may not look at other processes finds only namespaces that have one.
    let mut resident = Resident::start(&stage)?;
    if bench.launch.caps == Caps::Service {
        resident.name_namespace()?;
    }
    let mut agent = bench.trace()?;
    let peer = |port| stage.peer_from(1, port, Offer::default());
    let [mut sound, mut first, mut second] = PORTS.map(peer);
    let told = sound.connect()?;
    stage.broker.wait_accepted(1)?;
    for damaged in [&mut first, &mut second] {
        damaged.syn()?;
        let synack = damaged.synack()?;
        stage.change(Rmem::Lowered)?;
        damaged.ack(&synack)?;
        stage.broker.wait_accepted_from(damaged.local())?;
        stage.change(Rmem::Raised)?;
    }
    agent.wait_handshakes(PORTS.len())?;
    let summary = agent.finish()?.summary;
    ensure!(
        summary.reconnect.len() == 1 && summary.reconnect[0].connections == 2,
        "two of one host are damaged: {:?}",
        summary.reconnect
    );
    let commands = &summary.reconnect[0].commands;
    ensure!(!commands.is_empty(), "no way into the namespace was found");
    for command in commands {
        sh(command)?;
    }
    if !can_destroy()? {
        let lacks = "a kernel without CONFIG_INET_DIAG_DESTROY: ss -K closes nothing";
        return Err(Unsupported(lacks.to_owned()).into());
    }
    for damaged in [&first, &second] {
        reset(&stage, damaged)?;
    }
    let timestamps = sound.timestamps(&told);
    sound.data(&broker::encode(0, 4), timestamps)?;
    let answer = sound.receive()?;
    ensure!(!answer.has(flag::RST), "the sound one was closed too");
    Ok(format!("2 of 3 closed by {} command(s)", commands.len()))
}

/// Whether the kernel closes TCP sockets that it is told to: the function is there then
/// (net/ipv4/tcp_diag.c, 5.10), once `ss` has loaded its module.
fn can_destroy() -> Result<bool> {
    let symbols = fs::read_to_string("/proc/kallsyms").context("failed to read /proc/kallsyms")?;
    Ok(symbols
        .lines()
        .any(|line| line.split_whitespace().nth(2) == Some("tcp_diag_destroy")))
}

/// Runs a command as it was printed.
fn sh(command: &str) -> Result<()> {
    let output = Command::new("sh").arg("-c").arg(command).output();
    let output = output.context("failed to run sh")?;
    ensure!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Waits for the RST that says that the server's end was closed.
fn reset(stage: &Stage, peer: &Peer<'_>) -> Result<()> {
    let local = peer.local();
    let what = format!("a RST for {local}");
    stage.tun.wait(PATIENCE, &what, |segment| {
        segment.destination == local && segment.has(flag::RST)
    })?;
    Ok(())
}

/// A process in the server's namespace.
struct Resident {
    process: Child,
    named: bool,
}

/// The name that the server's namespace is given.
const NAME: &str = "tcpwnd-reconnect";

impl Resident {
    fn start(stage: &Stage) -> Result<Self> {
        stage.server.enter(|| {
            let child = Command::new("sleep").arg("1000").spawn();
            Ok(Self {
                process: child.context("failed to run sleep")?,
                named: false,
            })
        })
    }

    fn name_namespace(&mut self) -> Result<()> {
        let pid = self.process.id();
        sh(&format!("ip netns attach {NAME} {pid}"))?;
        self.named = true;
        Ok(())
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        if self.named
            && let Err(error) = sh(&format!("ip netns delete {NAME}"))
        {
            eprintln!("tcpwnd-lab: {error:#}");
        }
        // It fails only for a process that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
