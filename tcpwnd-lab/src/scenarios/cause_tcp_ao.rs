//! TCP-AO together with SYN cookies: its SYN+ACK has no room for timestamps, in which a cookie keeps
//! what was agreed, so that every connection loses what its SYN+ACK announced.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail, ensure};

use super::bench::{Bench, Unsupported, compare};
use super::provoked::{Expected, Provocation};
use super::stage::{COOKIES, PORT, unlocked};
use crate::ao;
use crate::broker::Broker;
use crate::net::{Pair, PairOptions};
use crate::socket::{self, Family, ListenOptions};

/// Ports that the clients connect from: without cookies, and with.
const NORMAL: u16 = 40_001;
const BY_COOKIE: u16 = 40_002;

pub fn play(bench: &Bench) -> Result<String> {
    let (IpAddr::V4(server), IpAddr::V4(client)) = (Pair::SERVER_V4, Pair::CLIENT_V4) else {
        bail!("not IPv4 addresses");
    };
    let pair = Pair::new(PairOptions::default())?;
    let listen = ListenOptions {
        family: Family::V4,
        ..unlocked()
    };
    let broker = Broker::start(&pair.server, &listen)?;
    let no_ao = "this kernel has no TCP-AO";
    broker
        .add_ao_key(client)
        .map_err(|error| Unsupported::if_refused(error, libc::ENOPROTOOPT, no_ao))?;
    let mut agent = bench.trace()?;
    let to = SocketAddr::new(Pair::SERVER_V4, PORT);
    let mut accepted = Vec::new();
    let mut sockets = Vec::new();
    for from in [NORMAL, BY_COOKIE] {
        if from == BY_COOKIE {
            for (name, value) in COOKIES {
                pair.server.set(name, value)?;
            }
        }
        let signed = |socket: &_| ao::add_key(socket, server);
        sockets.push(
            pair.client
                .enter(|| socket::connect_prepared(from, to, signed))?,
        );
        let local = SocketAddr::new(Pair::CLIENT_V4, from);
        accepted.push(broker.wait_accepted_from(local)?);
    }
    agent.wait_handshakes(2)?;
    let report = agent.finish()?;
    let normal = report.of(SocketAddr::new(Pair::CLIENT_V4, NORMAL))?;
    bench.provoked(
        &Provocation::near_miss("cookie_tcp_ao", "TCP-AO without a cookie", Expected::Ok)
            .by("normal"),
        normal,
    )?;
    let by_cookie = report.of(SocketAddr::new(Pair::CLIENT_V4, BY_COOKIE))?;
    bench.provoked(
        &Provocation::mismatch("cookie_tcp_ao", "TCP-AO, nothing changed"),
        by_cookie,
    )?;
    compare(&report, PORT, &accepted, &[])?;
    ensure!(
        by_cookie.advertised() == normal.advertised() && by_cookie.used().is_none(),
        "reported was {by_cookie:?}"
    );
    Ok(format!(
        "ok without cookies; by cookie {:?} to none",
        by_cookie.advertised()
    ))
}
