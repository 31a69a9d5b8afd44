//! ACKs that end no handshake: one with a cookie that the kernel never made is rejected, as the
//! kernel counts it; one that nobody looks at for a cookie is nothing at all.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::bench::Bench;
use super::stage::{PORT, Stage, unlocked};
use crate::agent::Report;
use crate::broker::Broker;
use crate::findings::Listener;
use crate::packet::flag;
use crate::peer::Peer;
use crate::socket::ListenOptions;
use crate::tun::Tun;
use crate::wait::PATIENCE;
use crate::witness;

/// Port of a server that nobody asks for a connection, and one without a server.
const NEVER_ASKED: u16 = 9093;
const NOBODY: u16 = 9094;

/// Whether a client uses IPv6.
const FAMILIES: [bool; 2] = [false, true];

/// What makes a cookie invalid, wherever it is added: the lower 24 bits, less a hash, are the number
/// of one of four sizes (`__cookie_v4_check`, net/ipv4/syncookies.c).
const FORGED: u32 = 1 << 20;

/// What an ACK acknowledges that answers nothing.
const STRAY: u32 = 0x1234_5678;

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::with_cookies()?;
    let never_asked = ListenOptions {
        port: NEVER_ASKED,
        ..unlocked()
    };
    let _never_asked = Broker::start(&stage.server, &never_asked)?;
    let mut agent = bench.launch.trace("9092-9094", &[])?;
    let mut clients = Vec::new();
    for v6 in FAMILIES {
        clients.push(forge(&stage, v6)?);
    }
    let forged = rejected_by_kernel(&stage)?;
    for v6 in FAMILIES {
        stray(&stage, v6, NEVER_ASKED)?;
        stray(&stage, v6, NOBODY)?;
    }
    // A listener that never sent a cookie has sent its last one at jiffies 0, which is recent from
    // five minutes after the boot on, for two minutes (tcp_synq_no_recent_overflow, include/net/tcp.h,
    // and INITIAL_JIFFIES, include/linux/jiffies.h; 5.10 to 7.3).
    let looked_at = rejected_by_kernel(&stage)? - forged;
    // Now nobody looks, whatever was sent.
    stage.server.set("net/ipv4/tcp_syncookies", "0")?;
    for v6 in FAMILIES {
        stray(&stage, v6, PORT)?;
    }
    agent.wait_handshakes(clients.len())?;
    let report = agent.finish()?;
    check(&stage, &report, &clients)?;
    let made = FAMILIES.len() as u64;
    ensure!(
        forged == made,
        "{made} were forged, the kernel rejected {forged}"
    );
    let [asked, never_asked, nobody] =
        [PORT, NEVER_ASKED, NOBODY].map(|port| counted(&report, port));
    let expected = [made, made, made, made, made];
    ensure!(
        asked == expected && nobody == [0; 5] && never_asked == [0, 0, 0, looked_at, 0],
        "SYN+ACKs, cookies sent, valid, rejected, accepted: {asked:?}, of the others {never_asked:?} \
         and {nobody:?}; the kernel looked at {looked_at} stray ACKs"
    );
    Ok(format!(
        "{forged} forged: rejected; 6 stray, of which the kernel took {looked_at} for a cookie"
    ))
}

/// A client answers with a cookie of its own and is reset, and then with the right one.
fn forge(stage: &Stage, v6: bool) -> Result<SocketAddr> {
    let mut peer = stage.peer_of(v6, 1);
    peer.syn()?;
    let synack = peer.synack()?;
    let timestamps = peer.timestamps(&synack);
    peer.expects(synack.sequence.wrapping_add(FORGED));
    peer.ack_with(timestamps)?;
    refused(stage, &peer)?;
    peer.expects(synack.sequence);
    peer.ack_with(timestamps)?;
    stage.wait_accepted_from(peer.local())?;
    Ok(peer.local())
}

/// An ACK out of nowhere.
fn stray(stage: &Stage, v6: bool, port: u16) -> Result<()> {
    let local = SocketAddr::new(Tun::client(v6, 2), port);
    let mut peer = Peer::new(&stage.tun, local, Tun::server(v6, port));
    peer.expects(STRAY);
    peer.ack_with(None)?;
    refused(stage, &peer)
}

/// Waits for the RST: the ACK has been dealt with.
fn refused(stage: &Stage, peer: &Peer<'_>) -> Result<()> {
    let (local, remote) = (peer.local(), peer.remote());
    let reset = stage
        .tun
        .wait(PATIENCE, &format!("a RST for {local}"), |segment| {
            (segment.source, segment.destination) == (remote, local) && segment.has(flag::RST)
        });
    reset.map(|_| ())
}

fn rejected_by_kernel(stage: &Stage) -> Result<u64> {
    witness::counter(&stage.server, "TcpExt", "SyncookiesFailed")
}

/// The two connections are all that there was, and the kernel counted the same.
fn check(stage: &Stage, report: &Report, clients: &[SocketAddr]) -> Result<()> {
    report.expect_all(clients.len(), "ok", "cookie", None)?;
    for &client in clients {
        report.of(client)?;
    }
    let kernel = |name| witness::counter(&stage.server, "TcpExt", name);
    let by_kernel = [
        kernel("SyncookiesSent")?,
        kernel("SyncookiesRecv")?,
        rejected_by_kernel(stage)?,
    ];
    let sum = |of: fn(&Listener) -> u64| report.summary.listeners.iter().map(of).sum::<u64>();
    let reported = [
        sum(|at| at.cookies_sent),
        sum(|at| at.cookies_valid),
        sum(|at| at.cookies_rejected),
    ];
    ensure!(
        by_kernel == reported,
        "cookies sent, valid and rejected: the kernel counted {by_kernel:?}, tcpwnd {reported:?}"
    );
    Ok(())
}

/// What was counted for a port: SYN+ACKs, cookies sent, valid, rejected, accepted.
fn counted(report: &Report, port: u16) -> [u64; 5] {
    let mut sums = [0; 5];
    for at in report.summary.listeners.iter().filter(|at| at.port == port) {
        let of_it = [
            at.synacks,
            at.cookies_sent,
            at.cookies_valid,
            at.cookies_rejected,
            at.cookies_accepted,
        ];
        for (sum, count) in sums.iter_mut().zip(of_it) {
            *sum += count;
        }
    }
    sums
}
