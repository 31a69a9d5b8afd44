//! Connects that go another way, to servers whose every packet is under control: not answered, refused,
//! simultaneous, to oneself, restored, with Fast Open. What is no handshake is counted and not judged,
//! and a setting that changes before the SYN+ACK comes is a mismatch.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::odd::simultaneous;
use super::stage::{Stage, unlocked};
use crate::agent::Report;
use crate::net::Pair;
use crate::packet::{Options, Segment, flag};
use crate::socket::{self, TcpInfo};
use crate::tun::Tun;
use crate::wait::{self, PATIENCE};

/// Port that the servers behind the device have.
const PORT: u16 = 9095;
/// First port from which this host connects; each case has the next.
const FROM: u16 = 45_000;
/// What the servers grant.
const GRANTED: u8 = 9;
const SCALING: &str = "net/ipv4/tcp_window_scaling";

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::new(&unlocked(), &[("net/ipv4/tcp_fastopen", "1")])?;
    let mut agent = bench.launch.trace_filtered(&["--role", "client"])?;
    let kept = [
        sound(&stage)?,
        bare(&stage)?,
        switched_off(&stage)?,
        restored(&stage)?,
        to_itself(&stage)?,
    ];
    refused(&stage)?;
    unanswered(&stage)?;
    simultaneous(&stage)?;
    let fast = [
        fast_open(&stage, b"", 0)?,
        fast_open(&stage, b"GIF-FOR4", 4)?,
        fast_open(&stage, b"GIF-FOR4", 0)?,
    ];
    agent.wait_handshakes(6)?;
    let report = agent.finish()?;
    drop(kept);
    ensure!(
        report.handshakes.len() == 6,
        "not six handshakes: {:?}",
        report.handshakes
    );
    judged(&report)?;
    let paths = ["normal", "fast_open", "normal"];
    for (from, path) in fast.into_iter().zip(paths) {
        report.opened_from(from)?.expect("ok", path, None)?;
    }
    counted(&report)?;
    Ok("4 ok, 1 scale_lost, 1 mismatch, nothing of the others".to_owned())
}

fn judged(report: &Report) -> Result<()> {
    let ok = report.opened_from(local(0))?;
    ok.expect("ok", "normal", None)?;
    let send = ok.send.as_ref().context("nothing about sending")?;
    ensure!(
        send.offered == Some(GRANTED) && send.used == Some(GRANTED),
        "not what the server granted: {ok:?}"
    );
    let lost = report.opened_from(local(1))?;
    lost.expect("scale_lost", "normal", Some("peer_did_not_grant"))?;
    let synack = lost.evidence.synack.context("no SYN+ACK")?;
    ensure!(synack.bare == Some(true), "not bare: {lost:?}");
    let off = report.opened_from(local(2))?;
    off.expect("mismatch", "normal", Some("scaling_switched_off"))?;
    let (receive, send) = (off.receive.as_ref(), off.send.as_ref());
    let damage = receive.map(|at| at.damage.as_str());
    let damage = (damage, send.map(|at| at.damage.as_str()));
    ensure!(
        damage == (Some("overrun"), Some("too_small")),
        "another damage: {off:?}"
    );
    Ok(())
}

/// What is no handshake was counted, each as what it was.
fn counted(report: &Report) -> Result<()> {
    let count = |name: &str| report.summary.counters.get(name).copied();
    for (name, expected) in [
        ("connected", 6),
        ("connects_failed", 2),
        ("simultaneous_opens", 2),
        ("restored", 1),
        ("established", 0),
        ("filtered", 0),
    ] {
        let counted = count(name).with_context(|| format!("no counter {name}"))?;
        ensure!(
            counted == expected,
            "{counted} instead of {expected} {name}"
        );
    }
    Ok(())
}

/// The address from which case number `case` connects.
fn local(case: u16) -> SocketAddr {
    Tun::server(false, FROM + case)
}

/// The server of case number `case`.
fn server(case: u16) -> SocketAddr {
    SocketAddr::new(Tun::client(false, 20 + case), PORT)
}

/// Begins to connect, and returns the socket and its SYN.
fn begin(stage: &Stage, case: u16) -> Result<(OwnedFd, Segment)> {
    let socket = stage
        .server
        .enter(|| socket::connect_from(FROM + case, server(case)))?;
    let syn = syn_to(stage, server(case))?;
    ensure!(
        syn.options.window_scale.is_some_and(|scale| scale > 0),
        "the SYN has no scale: {syn:?}"
    );
    Ok((socket, syn))
}

fn syn_to(stage: &Stage, to: SocketAddr) -> Result<Segment> {
    stage.tun.wait(PATIENCE, "a SYN", |segment| {
        segment.destination == to && segment.has(flag::SYN)
    })
}

/// What a server grants that has everything, to this SYN.
fn everything(syn: &Segment) -> Options {
    Options {
        mss: Some(1460),
        window_scale: Some(GRANTED),
        sack_permitted: true,
        timestamps: syn.options.timestamps.map(|(value, _)| (77, value)),
        ..Options::default()
    }
}

/// Answers a SYN, acknowledging `data` bytes beyond it.
fn answer(stage: &Stage, syn: &Segment, flags: u8, options: Options, data: u32) -> Result<()> {
    stage.tun.send(&Segment {
        source: syn.destination,
        destination: syn.source,
        sequence: 7_000,
        acknowledgment: syn.sequence.wrapping_add(1 + data),
        flags,
        window: 64_240,
        options,
        payload: Vec::new(),
    })
}

/// Waits for the ACK of the SYN+ACK, and for the socket.
fn established(stage: &Stage, socket: OwnedFd, syn: &Segment) -> Result<OwnedFd> {
    stage.tun.wait(PATIENCE, "the ACK", |segment| {
        segment.source == syn.source
            && segment.destination == syn.destination
            && segment.has(flag::ACK)
            && !segment.has(flag::SYN)
    })?;
    let info = TcpInfo::of(&socket)?;
    ensure!(info.is_established(), "not established: {info:?}");
    Ok(socket)
}

/// An ACK that means nothing comes before the SYN+ACK.
fn sound(stage: &Stage) -> Result<OwnedFd> {
    let (socket, syn) = begin(stage, 0)?;
    answer(stage, &syn, flag::ACK, Options::default(), 0)?;
    answer(stage, &syn, flag::SYN | flag::ACK, everything(&syn), 0)?;
    established(stage, socket, &syn)
}

/// The SYN+ACK has an MSS and nothing else.
fn bare(stage: &Stage) -> Result<OwnedFd> {
    let (socket, syn) = begin(stage, 1)?;
    let mss = Options {
        mss: Some(1460),
        ..Options::default()
    };
    answer(stage, &syn, flag::SYN | flag::ACK, mss, 0)?;
    established(stage, socket, &syn)
}

/// Window scaling is switched off after the SYN: the SYN+ACK grants it, and the kernel does not see
/// that.
fn switched_off(stage: &Stage) -> Result<OwnedFd> {
    let (socket, syn) = begin(stage, 2)?;
    stage.server.set(SCALING, "0")?;
    answer(stage, &syn, flag::SYN | flag::ACK, everything(&syn), 0)?;
    let socket = established(stage, socket, &syn)?;
    stage.server.set(SCALING, "1")?;
    let info = TcpInfo::of(&socket)?;
    ensure!(!info.scaling, "the socket scales: {info:?}");
    Ok(socket)
}

/// Restored as after a checkpoint: established without a packet.
fn restored(stage: &Stage) -> Result<OwnedFd> {
    let connect = || socket::connect_restored(FROM + 3, server(3));
    let socket = stage.server.enter(connect)?;
    let info = TcpInfo::of(&socket)?;
    ensure!(info.is_established(), "not restored: {info:?}");
    Ok(socket)
}

/// A socket that connects to itself.
fn to_itself(stage: &Stage) -> Result<OwnedFd> {
    let itself = SocketAddr::new(Pair::SERVER_V4, FROM + 4);
    let connect = || socket::connect_from(FROM + 4, itself);
    let socket = stage.server.enter(connect)?;
    wait::until_true(PATIENCE, "a socket to connect to itself", || {
        Ok(TcpInfo::of(&socket)?.is_established())
    })?;
    Ok(socket)
}

fn refused(stage: &Stage) -> Result<()> {
    let (_socket, syn) = begin(stage, 5)?;
    answer(stage, &syn, flag::RST | flag::ACK, Options::default(), 0)
}

/// Given up before an answer came.
fn unanswered(stage: &Stage) -> Result<()> {
    begin(stage, 6).map(drop)
}

/// Connects with Fast Open: asks for a cookie, or sends data with the SYN, of which the server takes
/// `taken` bytes. Returns the address that it connected from.
fn fast_open(stage: &Stage, cookie: &[u8], taken: u32) -> Result<SocketAddr> {
    let to = server(7);
    let (asked, stage_of_client) = (cookie.is_empty(), &stage.server);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            stage_of_client.enter(|| {
                // Without a cookie it waits for the connection before it sends.
                let stream = socket::connect_fast_open(to, b"ping")?;
                stream.local_addr().context("no local address")
            })
        });
        let syn = syn_to(stage, to)?;
        ensure!(syn.payload.is_empty() == asked, "data or none in {syn:?}");
        let granted = Options {
            fast_open: asked.then(|| b"GIF-FOR4".to_vec()),
            ..everything(&syn)
        };
        answer(stage, &syn, flag::SYN | flag::ACK, granted, taken)?;
        let client = client.join();
        client.map_err(|_| anyhow::anyhow!("the client panicked"))?
    })
}
