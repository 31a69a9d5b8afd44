//! A listener that waits for the first data (TCP_DEFER_ACCEPT): the handshake stays open behind the
//! ACK, and is judged once, when it ends. A cookie's ACK ends it at once.

use anyhow::{Result, ensure};

use super::bench::{Bench, compare};
use super::stage::{COOKIES, PORT, Rmem, Stage, unlocked};
use crate::broker;
use crate::peer::Peer;
use crate::socket::ListenOptions;
use crate::wait::{self, PATIENCE};
use crate::witness;

/// How long the listener waits for data, in seconds: until the second time-out. Then it repeats the
/// SYN+ACK, and takes an ACK without data (`syn_ack_recalc`, net/ipv4/inet_connection_sock.c).
const DEFER: u32 = 3;

/// Handshakes that come and go while one is held open.
const MEANWHILE: u16 = 50;

type Timestamps = Option<(u32, u32)>;

pub fn play(bench: &Bench) -> Result<String> {
    let listen = ListenOptions {
        defer_accept: DEFER,
        ..unlocked()
    };
    let stage = Stage::new(&listen, &[])?;
    let mut agent = bench.trace()?;
    // One that sends data at last, and one that never does.
    let (mut patient, timestamps) = acknowledged(&stage, 1)?;
    let (mut silent, _) = acknowledged(&stage, 2)?;
    deferred(&stage, 2)?;
    ensure!(
        stage.broker.accepted().is_empty() && agent.count("handshake") == 0,
        "a handshake ended without data"
    );
    for number in 3..3 + MEANWHILE {
        let (mut peer, timestamps) = acknowledged(&stage, number)?;
        peer.data(&broker::encode(0, 4), timestamps)?;
        stage.wait_accepted_from(peer.local())?;
    }
    // Without a cookie that makes no difference.
    stage.change(Rmem::Lowered)?;
    let repeated = silent.synack()?;
    silent.ack(&repeated)?;
    patient.data(&broker::encode(0, 4), timestamps)?;
    for peer in [&patient, &silent] {
        stage.wait_accepted_from(peer.local())?;
    }
    let [sound, damaged] = by_cookie(&stage)?;
    let accepted = stage.broker.accepted();
    agent.wait_handshakes(accepted.len())?;
    let report = agent.finish()?;
    ensure!(
        report.handshakes.len() == accepted.len() && accepted.len() == usize::from(MEANWHILE) + 4,
        "{} were accepted, {} reported",
        accepted.len(),
        report.handshakes.len()
    );
    compare(&report, PORT, &accepted, &[])?;
    for handshake in &report.handshakes {
        let client = handshake.flow.remote.address();
        if client == damaged {
            handshake.expect("mismatch", "cookie", Some("tcp_rmem_changed"))?;
        } else if client == sound {
            handshake.expect("ok", "cookie", None)?;
        } else {
            handshake.expect("ok", "normal", None)?;
        }
    }
    Ok(format!(
        "{} ok, two of them held open; a changed cookie: mismatch",
        report.summary.ok
    ))
}

/// A client that has acknowledged its SYN+ACK, and the timestamps that it goes on with.
fn acknowledged(stage: &Stage, number: u16) -> Result<(Peer<'_>, Timestamps)> {
    let mut peer = stage.peer(number);
    peer.syn()?;
    let synack = peer.synack()?;
    let timestamps = peer.timestamps(&synack);
    peer.ack_with(timestamps)?;
    Ok((peer, timestamps))
}

/// Waits until the kernel has put off accepting so many connections.
fn deferred(stage: &Stage, count: u64) -> Result<()> {
    wait::until_true(PATIENCE, "the ACKs to be put off", || {
        Ok(witness::counter(&stage.server, "TcpExt", "TCPDeferAcceptDrop")? == count)
    })
}

/// Two cookies, of which the second one's scale changes; neither client sends data.
fn by_cookie(stage: &Stage) -> Result<[std::net::SocketAddr; 2]> {
    for (name, value) in COOKIES {
        stage.server.set(name, value)?;
    }
    let (sound, _) = acknowledged(stage, 101)?;
    stage.wait_accepted_from(sound.local())?;
    let mut damaged = stage.peer(102);
    damaged.syn()?;
    let synack = damaged.synack()?;
    stage.change(Rmem::Raised)?;
    damaged.ack(&synack)?;
    stage.wait_accepted_from(damaged.local())?;
    Ok([sound.local(), damaged.local()])
}
