//! The laboratory by itself: every witness is asked about connections whose damage is known, and
//! they have to agree. No agent takes part.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::bench::Bench;
use super::stage::{COOKIES, PORT, Stage, unlocked};
use crate::broker::Broker;
use crate::client::come_and_go;
use crate::net::{Pair, PairOptions};
use crate::peer::Peer;
use crate::socket::{ListenOptions, TcpInfo};
use crate::tun::Tun;
use crate::witness::{self, Tcpdump};

pub fn play(bench: &Bench) -> Result<String> {
    stack_clients()?;
    v6_peer()?;
    let change = cookie_change()?;
    let kafka = kafka_by_cookie()?;
    ensure!(
        (kafka.0 != kafka.1.used()) == bench.affected,
        "the kernel's name and its behaviour disagree: by cookie {kafka:?}"
    );
    Ok(format!(
        "by cookie, SO_RCVBUF set in between: {:?} to {:?}; nothing changed: {:?} to {:?}",
        change.0,
        change.1.used(),
        kafka.0,
        kafka.1.used()
    ))
}

/// Clients of the kernel's stack: tcpdump, their own sockets and the server's agree.
fn stack_clients() -> Result<()> {
    let pair = Pair::new(PairOptions::default())?;
    let broker = Broker::start(&pair.server, &ListenOptions::default())?;
    let mut wire = Tcpdump::start(&pair.server, "eth0")?;
    for address in [Pair::SERVER_V4, Pair::SERVER_V6] {
        let visits = come_and_go(&pair.client, SocketAddr::new(address, PORT), 1)?;
        let seen = wire.synacks(1)?;
        ensure!(
            seen[0].window_scale == Some(1) && visits[0].info.send_scale == 1,
            "Kafka's buffer makes scale 1, but {seen:?}, {visits:?}"
        );
    }
    let accepted = broker.wait_accepted(2)?;
    ensure!(
        accepted.iter().all(|at| at.info.used() == Some(1)),
        "not used: 1 in {accepted:?}"
    );
    // More when ACK and first data were handled on two CPUs at once: see `ordinary`.
    let opened = witness::counter(&pair.server, "Tcp", "PassiveOpens")?;
    ensure!(
        opened >= 2 && accepted.len() == 2,
        "the kernel counted {opened} connections, {} were accepted, and 2 were made",
        accepted.len()
    );
    Ok(())
}

/// A peer of our own over IPv6.
fn v6_peer() -> Result<()> {
    let stage = Stage::new(&ListenOptions::default(), &[])?;
    let local = SocketAddr::new(Tun::client(true, 1), 40_001);
    let mut peer = Peer::new(&stage.tun, local, Tun::server(true, PORT));
    let synack = peer.connect()?;
    let accepted = stage.broker.wait_accepted_from(local)?;
    ensure!(
        synack.options.window_scale == accepted.info.used(),
        "{synack:?} against {accepted:?}"
    );
    Ok(())
}

/// A peer of our own, by cookie, with SO_RCVBUF set in between; what was told, what is used.
fn cookie_change() -> Result<(Option<u8>, TcpInfo)> {
    let stage = Stage::new(&unlocked(), COOKIES)?;
    let mut peer = stage.peer(1);
    peer.syn()?;
    let synack = peer.synack()?;
    stage.broker.set_receive_buffer(102_400)?;
    peer.ack(&synack)?;
    let accepted = stage.broker.wait_accepted_from(peer.local())?;
    Ok((synack.options.window_scale, accepted.info))
}

/// A peer of our own, by cookie, to Kafka's listener; what was told, what is used.
fn kafka_by_cookie() -> Result<(Option<u8>, TcpInfo)> {
    let stage = Stage::new(&ListenOptions::default(), COOKIES)?;
    let mut peer = stage.peer(1);
    let synack = peer.connect()?;
    let accepted = stage.broker.wait_accepted_from(peer.local())?;
    Ok((synack.options.window_scale, accepted.info))
}
