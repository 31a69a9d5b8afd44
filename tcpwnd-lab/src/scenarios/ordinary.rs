//! 300 ordinary handshakes: IPv4, IPv6, and IPv4 with a dual-stack listener.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, compare};
use crate::agent::{Mechanism, Report};
use crate::broker::{Accepted, Broker};
use crate::client::{Visit, come_and_go};
use crate::findings::Flow;
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
    let Visited { report, late } = visit_all(bench, &pair, EACH)?;
    report.expect_all(3 * EACH, "ok", "normal", None)?;
    ensure!(late == 0, "{late} connections came late without cookies");
    let forced = match bench.launch.mechanism {
        Mechanism::Auto => None,
        Mechanism::Fentry => Some("kprobe"),
        Mechanism::Kprobe => Some("fentry"),
    };
    for probe in &report.summary.probes {
        ensure!(
            forced.is_none() || forced != probe.mechanism.as_deref(),
            "{} is attached by another mechanism than the forced one",
            probe.probe
        );
    }
    ensure!(report.windows.is_empty(), "a sound connection was watched");
    Ok(format!("{} ok, path normal", report.summary.ok))
}

/// What came of many visits.
pub struct Visited {
    /// The report, without late ones.
    pub report: Report,
    /// Connections that a held up ACK opened: a cookie in it was good once more after the first
    /// data had opened the connection and the client had reset it. Their record was used up.
    pub late: usize,
}

/// Makes `each` handshakes of each kind under the agent's eyes, and checks the report against the
/// sockets, tcpdump and the kernel's counters.
pub fn visit_all(bench: &Bench, pair: &Pair, each: usize) -> Result<Visited> {
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
    let mut report = agent.finish()?;
    let opened = witness::counter(&pair.server, "Tcp", "PassiveOpens")? - before;
    let mut accepted = accepted(&brokers, &report)?;
    let late = set_aside_late(&mut report, &mut accepted)?;
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
    Ok(Visited { report, late })
}

/// The sockets that each server got: what must be reported, one handshake for each.
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
}

/// Takes late connections and their sockets away, each of which comes after one of the same
/// client, and returns how many there were.
fn set_aside_late(report: &mut Report, accepted: &mut [Vec<Accepted>]) -> Result<usize> {
    let mut seen: HashMap<_, usize> = HashMap::new();
    let mut late = Vec::new();
    report.handshakes.retain(|handshake| {
        let Flow { local, remote, .. } = &handshake.flow;
        let before = seen
            .entry((local.address().port(), remote.address()))
            .or_default();
        let no_record = handshake.expect("unverified", "unknown", Some("no_record"));
        if *before > 0 && no_record.is_ok() {
            late.push((local.address().port(), remote.address(), *before));
            return false;
        }
        *before += 1;
        true
    });
    for &(port, peer, before) in &late {
        let at = KINDS.iter().position(|&(_, known, _)| known == port);
        let sockets = at.and_then(|at| accepted.get_mut(at));
        let sockets = sockets.with_context(|| format!("no server has port {port}"))?;
        let of_peer = |(at, socket): (usize, &Accepted)| (socket.peer == peer).then_some(at);
        let late = sockets.iter().enumerate().filter_map(of_peer).nth(before);
        sockets.remove(late.with_context(|| format!("no second socket of {peer}"))?);
    }
    Ok(late.len())
}
