//! `check` beside a broker with Kafka's defaults and a sound one: the first is at risk, the second
//! is not, and the scales that it tells are those that clients are told.

use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::bench::Bench;
use super::stage::{PORT, unlocked};
use crate::agent::Caps;
use crate::broker::Broker;
use crate::net::Namespace;
use crate::socket::{ListenOptions, TcpInfo};

/// The part of what `check` prints that docs/cli.md describes.
#[derive(Debug, Deserialize)]
struct Report {
    risk: Risk,
}

#[derive(Debug, Deserialize)]
struct Risk {
    level: String,
    listeners: Vec<Listener>,
    unseen: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Listener {
    port: u16,
    process: Option<Process>,
    queue_limit: u32,
    rcvbuf: u32,
    rcvbuf_set: bool,
    scale: Scale,
    level: String,
    findings: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
struct Process {
    pid: u32,
}

#[derive(Debug, Deserialize)]
struct Scale {
    announced: u8,
    ignoring_rcvbuf: u8,
    factor: u32,
}

#[derive(Debug, Deserialize)]
struct Finding {
    level: String,
    about: String,
}

pub fn play(bench: &Bench) -> Result<String> {
    let server = Namespace::new()?;
    // More than any kernel's rmem_max, so that the scale without SO_RCVBUF is 9.
    server.set("net/ipv4/tcp_rmem", "4096 131072 16777216")?;
    server.set("net/ipv4/tcp_syncookies", "1")?;
    let sound = ListenOptions {
        port: PORT + 1,
        backlog: 4_096,
        ..unlocked()
    };
    let _brokers = [
        Broker::start(&server, &ListenOptions::default())?,
        Broker::start(&server, &sound)?,
    ];
    let risk = server.enter(|| check(bench))?;
    ensure!(
        risk.level == "risk" && risk.listeners.len() == 2,
        "two listeners, one of them at risk, are {risk:?}"
    );
    let kafka = &risk.listeners[0];
    ensure!(
        kafka.port == PORT && kafka.level == "risk" && kafka.queue_limit == 50,
        "Kafka's defaults are {kafka:?}"
    );
    ensure!(
        kafka.rcvbuf == 2 * 102_400 && kafka.rcvbuf_set,
        "SO_RCVBUF of 102400 is {kafka:?}"
    );
    let said = |level, about| {
        let mut findings = kafka.findings.iter();
        findings.any(|one| one.level == level && one.about == about)
    };
    ensure!(
        said("notice", "listen queue") && said("risk", "receive buffer"),
        "Kafka's defaults are {kafka:?}"
    );
    let of_sound = &risk.listeners[1];
    ensure!(
        of_sound.port == PORT + 1 && of_sound.level == "ok" && !of_sound.rcvbuf_set,
        "a sound listener is {of_sound:?}"
    );
    for listener in &risk.listeners {
        scales(&server, listener)?;
        owner(bench, listener, &risk.unseen)?;
    }
    ensure!(
        kafka.scale.ignoring_rcvbuf == of_sound.scale.announced
            && kafka.scale.factor == 1 << (of_sound.scale.announced - kafka.scale.announced),
        "{:?} without SO_RCVBUF is not {:?}",
        kafka.scale,
        of_sound.scale
    );
    Ok(format!(
        "backlog 50 with SO_RCVBUF at risk (scale {}, or {}), the other one not",
        kafka.scale.announced, kafka.scale.ignoring_rcvbuf
    ))
}

fn check(bench: &Bench) -> Result<Risk> {
    let mechanism = bench.launch.mechanism.name();
    let arguments = ["check", "--format", "json", "--mechanism", mechanism];
    let done = bench.launch.command(&arguments).output();
    let done = done.context("failed to start tcpwnd")?;
    let said = String::from_utf8_lossy(&done.stdout);
    ensure!(
        done.status.code() == Some(0),
        "a host at risk where it can run should be 0, but: {}, {said}",
        done.status
    );
    let report: Report = serde_json::from_str(&said)
        .with_context(|| format!("check does not print its documented JSON: {said}"))?;
    Ok(report.risk)
}

/// The witness: what a client takes from the SYN+ACK.
fn scales(server: &Namespace, listener: &Listener) -> Result<()> {
    let info = server.enter(|| {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, listener.port))
            .context("failed to connect")?;
        TcpInfo::of(&stream)
    })?;
    ensure!(
        info.scaling && info.send_scale == listener.scale.announced,
        "a client was told {info:?}, but check says {listener:?}"
    );
    Ok(())
}

/// Root sees who listens; others are told that they do not.
fn owner(bench: &Bench, listener: &Listener, unseen: &[String]) -> Result<()> {
    let pid = listener.process.as_ref().map(|process| process.pid);
    if bench.launch.caps == Caps::All {
        ensure!(
            pid == Some(std::process::id()),
            "process {} listens, but check says {listener:?}",
            std::process::id()
        );
    } else {
        ensure!(
            pid.is_none() && unseen.iter().any(|one| one.contains("processes")),
            "what an unprivileged user cannot see is {listener:?}, {unseen:?}"
        );
    }
    Ok(())
}
