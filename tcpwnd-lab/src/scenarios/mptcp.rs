//! Multipath TCP: its first subflow is a TCP connection like any other, and sound; so is one of a
//! client that knows only TCP, with the same server. By cookie as well.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::bench::{Bench, Unsupported, compare};
use super::stage::{COOKIES, PORT, unlocked};
use crate::broker::Broker;
use crate::client::{Client, Visit};
use crate::net::{Pair, PairOptions};
use crate::socket::{self, ListenOptions};
use crate::witness;

/// Connections of each kind: by either protocol, without cookies and with.
const EACH: usize = 10;

/// Bytes of a request: several windows' worth of segments.
const REQUEST: u32 = 300_000;

pub fn play(bench: &Bench) -> Result<String> {
    let pair = Pair::new(PairOptions::default())?;
    let listen = ListenOptions {
        mptcp: true,
        ..unlocked()
    };
    let no_mptcp = "this kernel has no MPTCP";
    let broker = Broker::start(&pair.server, &listen)
        .map_err(|error| Unsupported::if_refused(error, libc::EPROTONOSUPPORT, no_mptcp))?;
    let mut agent = bench.trace()?;
    let mut visits = Vec::new();
    let normal = connect_all(&pair, &mut visits)?;
    for (name, value) in COOKIES {
        pair.server.set(name, value)?;
    }
    let by_cookie = connect_all(&pair, &mut visits)?;
    let accepted = broker.wait_accepted(visits.len())?;
    agent.wait_handshakes(visits.len())?;
    let report = agent.finish()?;
    drop((normal, by_cookie));
    compare(&report, PORT, &accepted, &visits)?;
    ensure!(
        report.handshakes.len() == visits.len() && report.windows.is_empty(),
        "{} connections, but {} reported, and windows: {:?}",
        visits.len(),
        report.handshakes.len(),
        report.windows
    );
    let (first, second) = visits.split_at(2 * EACH);
    for (visits, path) in [(first, "normal"), (second, "cookie")] {
        for visit in visits {
            report.of(visit.address)?.expect("ok", path, None)?;
        }
    }
    // SYNs with the option, and ACKs that ended such a handshake.
    for name in ["MPCapableSYNRX", "MPCapableACKRX"] {
        let count = witness::counter(&pair.server, "MPTcpExt", name)?;
        ensure!(
            count == 2 * EACH as u64,
            "{} connections by MPTCP, but the kernel counted {count} {name}",
            2 * EACH
        );
    }
    Ok(format!("{} ok, half of them by MPTCP", report.summary.ok))
}

/// Connects by either protocol in turn; each sends a request.
fn connect_all(pair: &Pair, visits: &mut Vec<Visit>) -> Result<Vec<Client>> {
    let to = SocketAddr::new(Pair::SERVER_V4, PORT);
    let mut clients = Vec::new();
    for number in 0..2 * EACH {
        let mut client = if number % 2 == 0 {
            Client::adopt(pair.client.enter(|| socket::connect_mptcp(to))?)?
        } else {
            Client::connect(&pair.client, to)?
        };
        client.request(REQUEST)?;
        visits.push(Visit {
            address: client.address()?,
            info: client.info()?,
        });
        clients.push(client);
    }
    Ok(clients)
}
