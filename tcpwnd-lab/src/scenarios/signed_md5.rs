//! Connections that are signed by MD5 (RFC 2385), as BGP's are. Such a SYN offers no timestamps, for
//! there is no room for them (`tcp_syn_options`, net/ipv4/tcp_output.c, 5.10 to 7.3): without cookies
//! nothing is lost by that, and with them the scale is, which is said.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};

use super::bench::{Bench, Unsupported, compare};
use super::stage::{COOKIES, PORT, unlocked};
use crate::broker::Broker;
use crate::findings::Handshake;
use crate::md5;
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
    let no_md5 = "this kernel has no TCP_MD5SIG";
    broker
        .sign(client)
        .map_err(|error| Unsupported::if_refused(error, libc::ENOPROTOOPT, no_md5))?;
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
        let signed = |socket: &_| md5::sign(socket, server);
        sockets.push(
            pair.client
                .enter(|| socket::connect_prepared(from, to, signed))?,
        );
        let local = SocketAddr::new(Pair::CLIENT_V4, from);
        accepted.push(broker.wait_accepted_from(local)?);
    }
    agent.wait_handshakes(2)?;
    let report = agent.finish()?;
    let of = |from| report.of(SocketAddr::new(Pair::CLIENT_V4, from));
    let (normal, by_cookie) = (of(NORMAL)?, of(BY_COOKIE)?);
    normal.expect("ok", "normal", None)?;
    by_cookie.expect("scale_lost", "cookie", Some("cookie_without_timestamps"))?;
    compare(&report, PORT, &accepted, &[])?;
    let [told, told_by_cookie] = [announced(normal)?, announced(by_cookie)?];
    ensure!(
        matches!(told, (Some(_), false)) && told_by_cookie == (None, false),
        "no timestamps were offered: {normal:?}, {by_cookie:?}"
    );
    Ok(format!(
        "ok without cookies, scale {:?}; by cookie: scale lost",
        normal.used()
    ))
}

/// Scale of the SYN+ACK, and whether it has timestamps.
fn announced(handshake: &Handshake) -> Result<(Option<u8>, bool)> {
    let synack = handshake.evidence.synack.context("no SYN+ACK")?;
    Ok((synack.window_scale, synack.timestamps))
}
