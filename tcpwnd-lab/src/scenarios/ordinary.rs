//! 300 ordinary handshakes: IPv4, IPv6, and IPv4 with a dual-stack listener.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, compare};
use crate::agent::{Mechanism, Report};
use crate::broker::{Accepted, Broker};
use crate::client::{Visit, come_and_go};
use crate::findings::{Flow, Handshake};
use crate::net::{Pair, PairOptions};
use crate::socket::{Family, ListenOptions};
use crate::wait;
use crate::witness::{self, Tcpdump};

/// Handshakes of each kind.
const EACH: usize = 100;

/// The kinds: which listener, on which port, and which address its clients use.
const KINDS: [(Family, u16, IpAddr); 3] = [
    (Family::V4, 9092, Pair::SERVER_V4),
    (Family::V6, 9093, Pair::SERVER_V6),
    (Family::Dual, 9094, Pair::SERVER_V4),
];

pub fn play(bench: &Bench) -> Result<String> {
    let pair = Pair::new(PairOptions::default())?;
    let report = visit_all(bench, &pair, EACH)?;
    report.expect_all(3 * EACH, "ok", "normal", None)?;
    let forced = match bench.launch.mechanism {
        Mechanism::Auto => None,
        Mechanism::Fentry => Some("kprobe"),
        Mechanism::Kprobe => Some("fentry"),
    };
    for probe in &report.summary.probes {
        ensure!(
            forced != Some(probe.mechanism.as_str()),
            "{} is attached by another mechanism than the forced one",
            probe.probe
        );
    }
    ensure!(report.windows.is_empty(), "a sound connection was watched");
    Ok(format!("{} ok, path normal", report.summary.ok))
}

/// Makes `each` handshakes of each kind under the agent's eyes, and checks the report against the
/// sockets, tcpdump and the kernel's counters.
pub fn visit_all(bench: &Bench, pair: &Pair, each: usize) -> Result<Report> {
    let listen = |family, port| ListenOptions {
        family,
        port,
        ..ListenOptions::default()
    };
    let brokers = KINDS
        .iter()
        .map(|&(family, port, _)| Broker::start(&pair.server, &listen(family, port)))
        .collect::<Result<Vec<_>>>()?;
    let mut wire = Tcpdump::start(&pair.server, "eth0")?;
    let before = witness::counter(&pair.server, "Tcp", "PassiveOpens")?;
    let mut agent = bench.launch.trace("9092-9094", &[])?;
    let visits = KINDS
        .iter()
        .map(|&(_, port, address)| come_and_go(&pair.client, SocketAddr::new(address, port), each))
        .collect::<Result<Vec<Vec<Visit>>>>()?;
    agent.wait_handshakes(3 * each)?;
    let report = agent.finish()?;
    let opened = witness::counter(&pair.server, "Tcp", "PassiveOpens")? - before;
    let accepted = accepted(&brokers, &report)?;
    // More when ACK and first data were handled on two CPUs at once: the kernel counts two
    // children and throws one away (inet_csk_complete_hashdance, tcp_v4_syn_recv_sock; seen on
    // 5.10).
    ensure!(
        opened >= report.summary.handshakes,
        "the kernel counted {opened} connections, but reported were {}",
        report.summary.handshakes
    );
    for ((&(_, port, _), accepted), visits) in KINDS.iter().zip(&accepted).zip(&visits) {
        compare(&report, port, accepted, visits)?;
    }
    let synacks = wire.synacks(3 * each)?;
    for (synack, visit) in synacks.iter().zip(visits.iter().flatten()) {
        ensure!(
            synack.to_port == visit.address.port()
                && synack.window_scale == Some(visit.info.send_scale),
            "tcpdump saw {synack:?}, but the client {visit:?}"
        );
    }
    Ok(report)
}

/// The sockets that each server got: what must be reported, one handshake for each.
///
/// More than there were clients when an ACK was held up, in the CPU's backlog, until the data
/// sent after it had opened the connection and the client had reset it: the cookie that it
/// carries opens another.
fn accepted(brokers: &[Broker], report: &Report) -> Result<Vec<Vec<Accepted>>> {
    let reported = report.handshakes.len();
    wait::until(
        wait::PATIENCE,
        &format!("the servers to accept the {reported} connections that were reported"),
        || {
            let accepted: Vec<_> = brokers.iter().map(Broker::accepted).collect();
            let sockets: usize = accepted.iter().map(Vec::len).sum();
            ensure!(
                sockets <= reported,
                "the servers accepted {sockets} connections, but reported were {reported}"
            );
            Ok((sockets == reported).then_some(accepted))
        },
    )
    .with_context(|| format!("reported more than once: {:?}", repeated(report)))
}

/// Handshakes with a flow that was reported before.
fn repeated(report: &Report) -> Vec<&Handshake> {
    let mut seen = HashSet::new();
    report
        .handshakes
        .iter()
        .filter(|handshake| {
            let Flow { local, remote, .. } = &handshake.flow;
            !seen.insert((local.address(), remote.address()))
        })
        .collect()
}
