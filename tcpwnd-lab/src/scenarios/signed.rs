//! Two connections whose segments are signed, one without cookies and then one by cookie: what the
//! scenarios about TCP's signatures have in common.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use anyhow::{Result, bail};

use super::bench::{Bench, Unsupported, compare};
use super::stage::{COOKIES, PORT, unlocked};
use crate::agent::Report;
use crate::broker::Broker;
use crate::findings::Handshake;
use crate::net::{Pair, PairOptions};
use crate::socket::{self, Family, ListenOptions};

/// Ports that the clients connect from: without cookies, and with.
const PORTS: [u16; 2] = [40_001, 40_002];

/// How to sign.
pub struct Signature {
    /// Gives the listener the key for a client; the error is ENOPROTOOPT where the kernel knows no
    /// such signature.
    pub of_listener: fn(&Broker, Ipv4Addr) -> Result<()>,
    /// Gives a client's socket the key for the server.
    pub of_client: fn(&OwnedFd, Ipv4Addr) -> Result<()>,
    /// Why the kernel refuses, in words.
    pub missing: &'static str,
}

/// Makes the two connections under a trace; both are in the report.
///
/// # Errors
/// [`Unsupported`] where the kernel has no such signature; when a connection or the report is not as
/// it must be.
pub fn report(bench: &Bench, signature: &Signature) -> Result<Report> {
    let (IpAddr::V4(server), IpAddr::V4(client)) = (Pair::SERVER_V4, Pair::CLIENT_V4) else {
        bail!("not IPv4 addresses");
    };
    let pair = Pair::new(PairOptions::default())?;
    let listen = ListenOptions {
        family: Family::V4,
        ..unlocked()
    };
    let broker = Broker::start(&pair.server, &listen)?;
    (signature.of_listener)(&broker, client)
        .map_err(|error| Unsupported::if_refused(error, libc::ENOPROTOOPT, signature.missing))?;
    let mut agent = bench.trace()?;
    let to = SocketAddr::new(Pair::SERVER_V4, PORT);
    let mut accepted = Vec::new();
    let mut sockets = Vec::new();
    for (from, cookies) in PORTS.into_iter().zip([false, true]) {
        if cookies {
            for (name, value) in COOKIES {
                pair.server.set(name, value)?;
            }
        }
        let signed = |socket: &_| (signature.of_client)(socket, server);
        sockets.push(
            pair.client
                .enter(|| socket::connect_prepared(from, to, signed))?,
        );
        accepted.push(broker.wait_accepted_from(SocketAddr::new(Pair::CLIENT_V4, from))?);
    }
    agent.wait_handshakes(2)?;
    let report = agent.finish()?;
    compare(&report, PORT, &accepted, &[])?;
    Ok(report)
}

/// The connections without and by cookie.
///
/// # Errors
/// When one of them was not reported, or more than once.
pub fn both(report: &Report) -> Result<[&Handshake; 2]> {
    let [normal, by_cookie] = PORTS.map(|from| SocketAddr::new(Pair::CLIENT_V4, from));
    Ok([report.of(normal)?, report.of(by_cookie)?])
}
