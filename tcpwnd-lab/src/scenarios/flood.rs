//! 2,000 clients at once against a backlog of 50, `tcp_syncookies=1`: what happens when a broker
//! restarts. Most come by cookie, and the accept queue overflows: for ACKs, and for SYNs that come
//! later. Each tenth client uses IPv6.

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, compare};
use super::stage::{PORT, Stage};
use crate::agent::{Agent, Report};
use crate::findings::ReceiveBuffer;
use crate::packet::flag;
use crate::peer::Peer;
use crate::socket::ListenOptions;
use crate::wait;
use crate::witness;

const CLIENTS: u16 = 2_000;

/// The clients that have to come by cookie, at the least: all that the SYN queue does not hold.
const BY_COOKIE: u64 = 1_800;

/// SYNs that come while the accept queue is full.
const TOO_LATE: u16 = 40;

/// What is turned away while nobody accepts: all but the queue's 50 and one more (`sk_acceptq_is_full`
/// asks for more than the limit, include/net/sock.h).
const TURNED_AWAY: u64 = (CLIENTS - 51 + TOO_LATE) as u64;

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::new(
        &ListenOptions::default(),
        &[("net/ipv4/tcp_syncookies", "1")],
    )?;
    let agent = bench.trace()?;
    let until_accepting = bench.trace()?;
    // All SYNs, then all ACKs, while nobody accepts.
    stage.broker.pause(true);
    let peer = |number| stage.peer_of(number % 10 == 0, number);
    let mut peers: Vec<Peer<'_>> = (1..=CLIENTS).map(peer).collect();
    let mut synacks = Vec::new();
    for peer in &mut peers {
        peer.syn()?;
        synacks.push(peer.synack()?);
    }
    // The last ones first: cookies, so that the queue is full when the first ones come, which have
    // a request.
    for (peer, synack) in peers.iter_mut().zip(&synacks).rev() {
        peer.ack(synack)?;
    }
    for number in 1..=TOO_LATE {
        peer(CLIENTS + number).syn()?;
    }
    check_while_full(&stage, until_accepting)?;
    stage.broker.pause(false);
    // Those that were dropped try again, as a client's first data would.
    wait::until_true(4 * wait::PATIENCE, "all clients to be accepted", || {
        let accepted = stage.broker.accepted();
        if accepted.len() == usize::from(CLIENTS) {
            return Ok(true);
        }
        let known: std::collections::HashSet<_> = accepted.iter().map(|at| at.peer).collect();
        let missing = peers
            .iter_mut()
            .zip(&synacks)
            .filter(|(at, _)| !known.contains(&at.local()));
        for (peer, synack) in missing.take(40) {
            peer.ack(synack)?;
        }
        // Repeated SYN+ACKs and the ACKs to ours are of no interest.
        while stage.tun.take(|segment| segment.has(flag::ACK))?.is_some() {}
        Ok(false)
    })?;
    let report = agent.finish()?;
    check(bench, &stage, &report)?;
    let summary = &report.summary;
    Ok(format!(
        "{} handshakes: {} ok, {} mismatch, {} unverified",
        summary.handshakes, summary.ok, summary.mismatch, summary.unverified
    ))
}

/// While nobody accepts, each overflow is one that the kernel counted too.
fn check_while_full(stage: &Stage, agent: Agent) -> Result<()> {
    wait::until_true(wait::PATIENCE, "all to be turned away", || {
        Ok(kernel_overflows(stage)? >= TURNED_AWAY)
    })?;
    let report = agent.finish()?;
    let overflows = overflows(&report);
    let by_kernel = kernel_overflows(stage)?;
    ensure!(
        overflows == by_kernel && by_kernel == TURNED_AWAY,
        "while nobody accepts {TURNED_AWAY} are turned away; the kernel counted {by_kernel}, \
         tcpwnd {overflows}"
    );
    let listener = report.summary.listeners.first().context("no listener")?;
    let dropped = witness::counter(&stage.server, "TcpExt", "ListenDrops")?;
    // An ACK for a request is counted twice at the listener, when the accept queue is found full and
    // when the packet is discarded (tcp_check_req, tcp_v4_rcv). The last one of all is counted after
    // it was seen.
    let requests = u64::from(CLIENTS) - listener.cookies_sent;
    let expected = dropped + requests;
    ensure!(
        (expected - 1..=expected).contains(&listener.drops) && dropped >= TURNED_AWAY,
        "the kernel dropped {dropped}, {requests} of them twice: {listener:?}"
    );
    let buffer = ListenOptions::default()
        .receive_buffer
        .map(|bytes| ReceiveBuffer {
            bytes: 2 * bytes,
            locked: true,
        });
    ensure!(
        buffer == Some(listener.receive_buffer),
        "{listener:?} instead of {buffer:?}"
    );
    Ok(())
}

fn kernel_overflows(stage: &Stage) -> Result<u64> {
    witness::counter(&stage.server, "TcpExt", "ListenOverflows")
}

fn overflows(report: &Report) -> u64 {
    report.summary.listeners.iter().map(|at| at.overflows).sum()
}

fn check(bench: &Bench, stage: &Stage, report: &Report) -> Result<()> {
    let summary = &report.summary;
    let accepted = stage.broker.accepted();
    ensure!(
        summary.handshakes == accepted.len() as u64 && summary.scale_lost == 0,
        "{} connections were accepted, but the books say {summary:?}",
        accepted.len()
    );
    compare(report, PORT, &accepted, &[])?;
    let valid = witness::counter(&stage.server, "TcpExt", "SyncookiesRecv")?;
    let counted: u64 = summary.listeners.iter().map(|at| at.cookies_valid).sum();
    let by_cookie = summary.paths.get("cookie").copied().unwrap_or(0);
    ensure!(
        valid == counted && by_cookie >= BY_COOKIE,
        "the kernel counted {valid} valid cookies; {summary:?}"
    );
    // Once connections are accepted, each one taken out of the queue between tcpwnd's look and the
    // kernel's makes one more or one less.
    let (overflows, by_kernel) = (overflows(report), kernel_overflows(stage)?);
    let since_accepting = by_kernel - TURNED_AWAY;
    ensure!(
        overflows.abs_diff(by_kernel) * 10 <= since_accepting.max(10),
        "the kernel counted {by_kernel} overflows, {since_accepting} of them while connections were \
         accepted; tcpwnd {overflows}"
    );
    for handshake in &report.handshakes {
        let damaged = bench.affected && handshake.path == "cookie";
        let expected = if damaged { "mismatch" } else { "ok" };
        ensure!(
            handshake.verdict == expected || handshake.cause.as_deref() == Some("no_record"),
            "expected {expected}, but reported was {handshake:?}"
        );
    }
    Ok(())
}
