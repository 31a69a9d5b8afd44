//! Handshakes that go another way: never finished, reset, simultaneous, with Fast Open. None is a
//! finding, and none is reported twice.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::provoked::{Expected, Provocation};
use super::stage::{Stage, unlocked};
use crate::findings::Handshake;
use crate::packet::{Options, Segment, flag};
use crate::peer::{Offer, Peer};
use crate::socket::{self, ListenOptions, TcpInfo};
use crate::wait;

/// Port from which the server connects: no listener's, but one that the agent looks at.
const CONNECT_FROM: u16 = 9093;

pub fn play(bench: &Bench) -> Result<String> {
    let listen = ListenOptions {
        fast_open: 16,
        ..unlocked()
    };
    let stage = Stage::new(&listen, &[("net/ipv4/tcp_fastopen", "3")])?;
    let cookie = fast_open_cookie(&stage)?;
    let mut agent = bench.launch.trace("9092-9093", &[])?;
    silent_and_reset(&stage)?;
    simultaneous(&stage)?;
    let confirmed = fast_open_confirmed(&stage, &cookie)?;
    let reset = fast_open_reset(&stage, &cookie)?;
    let closed = fast_open_closed(&stage, &cookie)?;
    // The last one shows that everything before it has been seen.
    let mut ordinary = stage.peer(9);
    ordinary.connect()?;
    agent.wait_handshakes(4)?;
    let report = agent.finish()?;
    ensure!(
        report.handshakes.len() == 4,
        "not four handshakes: {:?}",
        report.handshakes
    );
    report.of(ordinary.local())?.expect("ok", "normal", None)?;
    let near = Provocation::near_miss(
        "not_established",
        "a Fast Open client that repeats its SYN",
        Expected::Ok,
    );
    bench.provoked(&near.by("fast_open"), report.of(confirmed)?)?;
    let done = "a Fast Open client that resets";
    never_established(bench, done, report.of(reset)?, "died")?;
    let done = "a Fast Open connection that the server closes before the ACK";
    never_established(bench, done, report.of(closed)?, "closed_early")?;
    Ok("2 ok, 2 not established, nothing of the others".to_owned())
}

fn never_established(
    bench: &Bench,
    done: &'static str,
    handshake: &Handshake,
    outcome: &str,
) -> Result<()> {
    let what = Provocation::unverified("not_established", done);
    bench.provoked(&what.by("fast_open"), handshake)?;
    ensure!(handshake.outcome == outcome, "not {outcome}: {handshake:?}");
    Ok(())
}

/// One SYN that is never acknowledged, and one that is answered with a RST.
fn silent_and_reset(stage: &Stage) -> Result<()> {
    let mut silent = stage.peer(1);
    silent.syn()?;
    silent.synack()?;
    let mut reset = stage.peer(2);
    reset.syn()?;
    reset.synack()?;
    reset.reset()
}

/// The server connects, and its peer's SYN crosses its own.
pub fn simultaneous(stage: &Stage) -> Result<()> {
    let peer = stage.peer(3);
    let to = peer.local();
    let socket = stage
        .server
        .enter(|| socket::connect_from(CONNECT_FROM, to))?;
    let syn = stage
        .tun
        .wait(wait::PATIENCE, "the server's SYN", |segment| {
            segment.destination == to && segment.has(flag::SYN)
        })?;
    let crossing = |sequence, flags, acknowledgment| Segment {
        source: to,
        destination: syn.source,
        sequence,
        acknowledgment,
        flags,
        window: 64_240,
        options: Options {
            mss: Some(1460),
            window_scale: Some(7),
            ..Options::default()
        },
        payload: Vec::new(),
    };
    stage.tun.send(&crossing(7_000, flag::SYN, 0))?;
    stage
        .tun
        .wait(wait::PATIENCE, "the server's SYN+ACK", |segment| {
            segment.destination == to && segment.has(flag::SYN | flag::ACK)
        })?;
    let acknowledgment = syn.sequence.wrapping_add(1);
    stage
        .tun
        .send(&crossing(7_000, flag::SYN | flag::ACK, acknowledgment))?;
    // Up to 6.11 the kernel answers that with a challenge, and only this establishes.
    stage
        .tun
        .send(&crossing(7_001, flag::ACK, acknowledgment))?;
    wait::until_true(wait::PATIENCE, "the simultaneous open", || {
        Ok(TcpInfo::of(&socket)?.is_established())
    })
}

/// Asks for a Fast Open cookie, with a handshake that is not finished.
fn fast_open_cookie(stage: &Stage) -> Result<Vec<u8>> {
    let offer = Offer {
        fast_open: Some((Vec::new(), Vec::new())),
        ..Offer::default()
    };
    let mut peer = stage.peer_offering(FAST_OPEN, offer);
    peer.syn()?;
    let synack = peer.synack()?;
    peer.reset()?;
    let cookie = synack
        .options
        .fast_open
        .context("the SYN+ACK has no Fast Open cookie")?;
    ensure!(!cookie.is_empty(), "the Fast Open cookie is empty");
    Ok(cookie)
}

/// Number of the peer with the cookie, which is good for its address only.
const FAST_OPEN: u16 = 10;

fn fast_open<'s>(stage: &'s Stage, cookie: &[u8], port: u16) -> Result<(Peer<'s>, Segment)> {
    let offer = Offer {
        fast_open: Some((cookie.to_vec(), Vec::new())),
        ..Offer::default()
    };
    let mut peer = stage.peer_from(FAST_OPEN, port, offer);
    peer.syn()?;
    let synack = peer.synack()?;
    stage
        .broker
        .wait_accepted_from(peer.local())
        .context("the server did not accept at once")?;
    Ok((peer, synack))
}

/// Two more SYNs, then the ACK.
fn fast_open_confirmed(stage: &Stage, cookie: &[u8]) -> Result<SocketAddr> {
    let (mut peer, synack) = fast_open(stage, cookie, 41_001)?;
    peer.syn()?;
    peer.syn()?;
    peer.ack(&synack)?;
    Ok(peer.local())
}

/// A RST instead of the ACK.
fn fast_open_reset(stage: &Stage, cookie: &[u8]) -> Result<SocketAddr> {
    let (mut peer, _) = fast_open(stage, cookie, 41_002)?;
    peer.reset()?;
    Ok(peer.local())
}

/// The server closes before the ACK.
fn fast_open_closed(stage: &Stage, cookie: &[u8]) -> Result<SocketAddr> {
    let (mut peer, synack) = fast_open(stage, cookie, 41_003)?;
    stage.broker.close_connections()?;
    peer.ack(&synack)?;
    Ok(peer.local())
}
