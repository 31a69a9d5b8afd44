//! A path of large segments: a SYN cookie of IPv4 has no room for 8,960 bytes, and the connection
//! keeps to 1,460 for life. Those of IPv6 have, and without a cookie nothing is lost.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};

use super::bench::Bench;
use super::stage::{PORT, unlocked};
use crate::agent::Report;
use crate::broker::{Accepted, Broker};
use crate::client::Client;
use crate::findings::SmallSegment;
use crate::net::{Pair, PairOptions, run};
use crate::socket::{Family, ListenOptions};

/// Connections of each kind.
const EACH: usize = 3;

/// What IPv4 and TCP leave of 9,000 bytes, and of the largest that a cookie has room for.
const SMALL: SmallSegment = SmallSegment {
    possible: 8_960,
    used: 1_460,
};

/// Each kind: how large packets may be, `tcp_syncookies`, the server's address, the segments that the
/// server's socket keeps to, bytes, and what is reported.
type Kind = (
    &'static str,
    &'static str,
    IpAddr,
    u32,
    Option<SmallSegment>,
);

const KINDS: [Kind; 4] = [
    ("9000", "2", Pair::SERVER_V4, 1_460, Some(SMALL)),
    ("9000", "2", Pair::SERVER_V6, 8_940, None),
    ("9000", "1", Pair::SERVER_V4, 8_960, None),
    ("1500", "2", Pair::SERVER_V4, 1_460, None),
];

pub fn play(bench: &Bench) -> Result<String> {
    let pair = Pair::new(PairOptions::default())?;
    let listen = ListenOptions {
        family: Family::Dual,
        port: PORT,
        ..unlocked()
    };
    let broker = Broker::start(&pair.server, &listen)?;
    let mut agent = bench.trace()?;
    // They stay, so that no cookie that was held up opens a second connection (see `ordinary`).
    let mut clients = Vec::new();
    for (number, (mtu, cookies, server, ..)) in KINDS.iter().enumerate() {
        for end in [&pair.server, &pair.client] {
            end.enter(|| run(&format!("ip link set eth0 mtu {mtu}")))?;
        }
        pair.server.set("net/ipv4/tcp_syncookies", cookies)?;
        for _ in 0..EACH {
            let mut client = Client::connect(&pair.client, SocketAddr::new(*server, PORT))?;
            client.request(1)?;
            clients.push(client);
        }
        broker.wait_accepted((number + 1) * EACH)?;
    }
    agent.wait_handshakes(KINDS.len() * EACH)?;
    let report = agent.finish()?;
    let accepted = broker.accepted();
    for (kind, accepted) in KINDS.iter().zip(accepted.chunks(EACH)) {
        for one in accepted {
            check(&report, kind, one)?;
        }
    }
    Ok("1,460 of 8,960 bytes by IPv4 and cookie, and nobody else".to_owned())
}

fn check(report: &Report, kind: &Kind, accepted: &Accepted) -> Result<()> {
    let (mtu, cookies, _, segment, expected) = kind;
    let finding = report.of(accepted.peer)?;
    let path = if *cookies == "2" { "cookie" } else { "normal" };
    ensure!(
        (finding.verdict.as_str(), finding.path.as_str()) == ("ok", path)
            && finding.impact.segment == *expected,
        "with {mtu} bytes and tcp_syncookies={cookies}: {finding:?}"
    );
    // Timestamps take 12 bytes.
    ensure!(
        accepted.info.send_segment + 12 == *segment,
        "the server sends {} bytes in a segment: {finding:?}",
        accepted.info.send_segment
    );
    Ok(())
}
