//! Connects that go another way, to servers whose every packet is under control: not answered, refused,
//! simultaneous, to oneself, restored, with Fast Open. What is no handshake is counted and not judged,
//! and a setting that changes before the SYN+ACK comes is a mismatch.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::odd::simultaneous;
use super::provoked::{Expected, Provocation, UNKNOWN};
use super::stage::{Stage, unlocked};
use crate::agent::Report;
use crate::findings::Handshake;
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
/// Connections that are judged.
const JUDGED: usize = 10;
const SCALING: &str = "net/ipv4/tcp_window_scaling";
const NOT_GRANTED: &str = "peer_did_not_grant";
const SWITCHED_OFF: &str = "scaling_switched_off";

/// A socket that connects, and its SYN.
type Begun = (OwnedFd, Segment);

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::new(&unlocked(), &[("net/ipv4/tcp_fastopen", "1")])?;
    let begun_before = begin_unscaled(&stage, 8)?;
    let mut agent = bench.launch.trace_filtered(&["--role", "client"])?;
    let kept = [
        sound(&stage)?,
        answered_bare(&stage, begun_before)?,
        answered_bare(&stage, begin_unscaled(&stage, 9)?)?,
        answered_bare(&stage, begin(&stage, 1)?)?,
        switched_off(&stage, 2, everything)?,
        switched_off(&stage, 10, bare)?,
        switched_off_and_on(&stage)?,
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
    agent.wait_handshakes(JUDGED)?;
    let report = agent.finish()?;
    drop(kept);
    ensure!(
        report.handshakes.len() == JUDGED,
        "not {JUDGED} handshakes: {:?}",
        report.handshakes
    );
    judged(bench, &report)?;
    without_shift(bench, &report)?;
    let paths = ["normal", "fast_open", "normal"];
    for (from, path) in fast.into_iter().zip(paths) {
        report.opened_from(from)?.expect("ok", path, None)?;
    }
    counted(&report)?;
    Ok("5 ok, 4 scale_lost, 1 mismatch, nothing of the others".to_owned())
}

fn judged(bench: &Bench, report: &Report) -> Result<()> {
    let ok = report.opened_from(local(0))?;
    ok.expect("ok", "normal", None)?;
    let send = ok.send.as_ref().context("nothing about sending")?;
    ensure!(
        send.offered == Some(GRANTED) && send.used == Some(GRANTED),
        "not what the server granted: {ok:?}"
    );
    let lost = report.opened_from(local(1))?;
    let done = "a connect, answered with an MSS and nothing else";
    provoked(bench, &Provocation::scale_lost(NOT_GRANTED, done), lost)?;
    let synack = lost.evidence.synack.context("no SYN+ACK")?;
    ensure!(synack.bare == Some(true), "not bare: {lost:?}");
    let off = report.opened_from(local(2))?;
    let done = "`tcp_window_scaling` set to 0 between SYN and SYN+ACK of a connect";
    provoked(bench, &Provocation::mismatch(SWITCHED_OFF, done), off)?;
    let (receive, send) = (off.receive.as_ref(), off.send.as_ref());
    let damage = receive.map(|at| at.damage.as_str());
    let damage = (damage, send.map(|at| at.damage.as_str()));
    ensure!(
        damage == (Some("overrun"), Some("too_small")),
        "another damage: {off:?}"
    );
    let near = "`tcp_window_scaling` set to 0 before a SYN+ACK that grants no scale anyway";
    let lost = Expected::ScaleLost("disabled_here");
    let near = Provocation::near_miss(SWITCHED_OFF, near, lost);
    provoked(bench, &near, report.opened_from(local(10))?)?;
    let near = "`tcp_window_scaling` set to 0 between SYN and SYN+ACK of a connect, and back to 1";
    let near = Provocation::near_miss(SWITCHED_OFF, near, Expected::Ok);
    provoked(bench, &near, report.opened_from(local(11))?)
}

/// A shift count of 0 in the socket is what one that offers nothing has, too.
fn without_shift(bench: &Bench, report: &Report) -> Result<()> {
    let done = "a connect that offers a shift count of 0, which is not granted";
    let what = Provocation::scale_lost(NOT_GRANTED, done);
    provoked(bench, &what, report.opened_from(local(9))?)?;
    let done = "the same, tracing begins after the SYN";
    let what = Provocation::scale_lost(NOT_GRANTED, done).here(
        Expected::ScaleLost(UNKNOWN),
        "nobody saw whether `tcp_window_scaling` was on when the SYN was built",
    );
    provoked(bench, &what, report.opened_from(local(8))?)
}

fn provoked(bench: &Bench, what: &Provocation, reported: &Handshake) -> Result<()> {
    bench.provoked(&what.by("normal"), reported)
}

/// What is no handshake was counted, each as what it was.
fn counted(report: &Report) -> Result<()> {
    let count = |name: &str| report.summary.counters.get(name).copied();
    for (name, expected) in [
        ("connected", JUDGED as u64),
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
fn begin(stage: &Stage, case: u16) -> Result<Begun> {
    begin_offering(stage, case, |scale| scale > 0)
}

/// The same over a route with so small a window that the SYN offers a shift count of 0.
fn begin_unscaled(stage: &Stage, case: u16) -> Result<Begun> {
    stage.route("window 30000")?;
    let begun = begin_offering(stage, case, |scale| scale == 0)?;
    stage.route("")?;
    Ok(begun)
}

fn begin_offering(stage: &Stage, case: u16, expected: fn(u8) -> bool) -> Result<Begun> {
    let socket = stage
        .server
        .enter(|| socket::connect_from(FROM + case, server(case)))?;
    let syn = syn_to(stage, server(case))?;
    ensure!(
        syn.options.window_scale.is_some_and(expected),
        "another scale is in the SYN: {syn:?}"
    );
    Ok((socket, syn))
}

fn syn_to(stage: &Stage, to: SocketAddr) -> Result<Segment> {
    stage.tun.wait(PATIENCE, "a SYN", |segment| {
        segment.destination == to && segment.has(flag::SYN)
    })
}

/// An MSS and nothing else.
fn bare(_syn: &Segment) -> Options {
    Options {
        mss: Some(1460),
        ..Options::default()
    }
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

fn answered_bare(stage: &Stage, (socket, syn): Begun) -> Result<OwnedFd> {
    answer(stage, &syn, flag::SYN | flag::ACK, bare(&syn), 0)?;
    established(stage, socket, &syn)
}

/// Window scaling is switched off after the SYN: if the SYN+ACK grants it, the kernel does not see
/// that.
fn switched_off(stage: &Stage, case: u16, options: fn(&Segment) -> Options) -> Result<OwnedFd> {
    let (socket, syn) = begin(stage, case)?;
    stage.server.set(SCALING, "0")?;
    answer(stage, &syn, flag::SYN | flag::ACK, options(&syn), 0)?;
    let socket = established(stage, socket, &syn)?;
    stage.server.set(SCALING, "1")?;
    let info = TcpInfo::of(&socket)?;
    ensure!(!info.scaling, "the socket scales: {info:?}");
    Ok(socket)
}

/// It is on again by the time the SYN+ACK comes.
fn switched_off_and_on(stage: &Stage) -> Result<OwnedFd> {
    let (socket, syn) = begin(stage, 11)?;
    stage.server.set(SCALING, "0")?;
    stage.server.set(SCALING, "1")?;
    answer(stage, &syn, flag::SYN | flag::ACK, everything(&syn), 0)?;
    established(stage, socket, &syn)
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
