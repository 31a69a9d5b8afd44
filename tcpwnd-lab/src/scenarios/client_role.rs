//! The connecting side: `--role client` sees the clients' ends and nothing else, `--role both` sees
//! each connection twice, and what a server does not grant is told from what is disabled here.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::open_now::free_address;
use super::provoked::{Expected, Provocation};
use super::stage::{PORT, unlocked};
use crate::agent::Report;
use crate::broker::Broker;
use crate::client::{Client, Visit, come_and_go};
use crate::findings::Handshake;
use crate::http::{get, metric};
use crate::net::{Pair, PairOptions};
use crate::socket::{TcpInfo, canonical};
use crate::wait::{self, PATIENCE};

const CLIENT: &[&str] = &["--role", "client", "--remote-port", "9092"];
const BOTH: &[&str] = &["--role", "both", "--host", "10.9.0.0/16,fd09::/64"];
const SCALING: &str = "net/ipv4/tcp_window_scaling";
const TIMESTAMPS: &str = "net/ipv4/tcp_timestamps";
const COOKIES: &str = "net/ipv4/tcp_syncookies";
const NOT_GRANTED: &str = "peer_did_not_grant";
const DISABLED: &str = "disabled_here";

/// Connections of each family: IPv4, IPv6, and IPv4 from an AF_INET6 socket.
const EACH: usize = 100;
/// Connections over all families.
const ALL: usize = 3 * EACH;

pub fn play(bench: &Bench) -> Result<String> {
    let pair = Pair::new(PairOptions::default())?;
    let (report, visits) = visit(bench, &pair, CLIENT, EACH)?;
    report.expect_all(ALL, "ok", "normal", None)?;
    clients_alone(&report, ALL)?;
    compare(&report, &visits)?;
    ensure!(report.closed.is_empty(), "the end of a sound one was told");

    both_ends(bench, &pair)?;
    not_granted(bench, &pair)?;
    gauges(bench, &pair)?;
    cookies_without_timestamps(bench, &pair)?;
    disabled_here(bench, &pair)?;
    Ok("ok, peer_did_not_grant (300, 300 bare), disabled_here".to_owned())
}

/// What a client's socket said, and its server's.
struct Visited {
    client: Visit,
    server: TcpInfo,
}

/// Makes `each` connections of each family under the agent's eyes.
fn visit(
    bench: &Bench,
    pair: &Pair,
    filter: &[&str],
    each: usize,
) -> Result<(Report, Vec<Visited>)> {
    let broker = Broker::start(&pair.server, &unlocked())?;
    let mut agent = bench.launch.trace_filtered(filter)?;
    let mut visits = Vec::new();
    for address in [Pair::SERVER_V4, Pair::SERVER_V6, mapped(Pair::SERVER_V4)?] {
        let to = SocketAddr::new(address, PORT);
        visits.extend(come_and_go(&pair.client, to, each)?);
    }
    let reported = if filter == BOTH { 2 } else { 1 } * 3 * each;
    agent.wait_handshakes(reported)?;
    let report = agent.finish()?;
    let accepted = broker.wait_accepted(3 * each)?;
    let mut servers = InOrder::of(accepted.iter().map(|at| (at.peer, at.info)));
    let visits = visits.into_iter().map(|mut client| {
        client.address = canonical(client.address);
        let server = servers.take(client.address)?;
        Ok(Visited { client, server })
    });
    Ok((report, visits.collect::<Result<_>>()?))
}

fn mapped(address: IpAddr) -> Result<IpAddr> {
    let IpAddr::V4(v4) = address else {
        anyhow::bail!("{address} is no IPv4 address");
    };
    Ok(Ipv6Addr::from(v4.to_ipv6_mapped().octets()).into())
}

/// What there is about each client's address, in order: its port may come again.
struct InOrder<T>(HashMap<SocketAddr, VecDeque<T>>);

impl<T> InOrder<T> {
    fn of(items: impl Iterator<Item = (SocketAddr, T)>) -> Self {
        let mut all: HashMap<_, VecDeque<T>> = HashMap::new();
        for (client, item) in items {
            all.entry(client).or_default().push_back(item);
        }
        Self(all)
    }

    fn take(&mut self, client: SocketAddr) -> Result<T> {
        let next = self.0.get_mut(&client).and_then(VecDeque::pop_front);
        next.with_context(|| format!("nothing about {client}"))
    }
}

/// The reports about one end, by the client's address.
fn reports<'r>(report: &'r Report, role: &str) -> InOrder<&'r Handshake> {
    let of_it = report.handshakes.iter().filter(|at| at.role == role);
    InOrder::of(of_it.map(|at| match role {
        "client" => (at.flow.local.address(), at),
        _ => (at.flow.remote.address(), at),
    }))
}

/// Notes what was reported of `count` connections and checks it.
fn provoked(bench: &Bench, what: &Provocation, count: usize, report: &Report) -> Result<()> {
    bench.provoked_all(&what.by("normal"), count, report)?;
    clients_alone(report, count)
}

/// Checks that exactly `count` clients' ends were reported, and no server's.
fn clients_alone(report: &Report, count: usize) -> Result<()> {
    for handshake in &report.handshakes {
        ensure!(handshake.role == "client", "a server's end: {handshake:?}");
    }
    let roles = &report.summary.roles;
    ensure!(
        roles.get("client") == Some(&(count as u64)) && roles.get("server") == Some(&0),
        "the summary has {roles:?}"
    );
    let probes: Vec<_> = report.summary.probes.iter().map(|at| &at.probe).collect();
    ensure!(
        probes == ["tcp_rcv_state_process", "inet_sock_set_state"],
        "attached was more than clients need: {probes:?}"
    );
    Ok(())
}

/// Checks what was reported against both sockets of each connection.
fn compare(report: &Report, visits: &[Visited]) -> Result<()> {
    let mut reports = reports(report, "client");
    for Visited { client, server } in visits {
        let handshake = reports.take(client.address)?;
        ensure!(
            handshake.flow.remote.address().port() == PORT,
            "another port: {handshake:?}"
        );
        let info = client.info;
        let send = handshake.send.as_ref().context("nothing about sending")?;
        let granted = server.scaling.then_some(server.receive_scale);
        let read = info.scaling.then_some(info.send_scale);
        ensure!(
            handshake.used() == info.used() && send.used == read && send.offered == granted,
            "the client says {info:?}, the server {server:?}, but reported was {handshake:?}"
        );
        // What the server took from the SYN is what this host offered in it.
        ensure!(
            !server.scaling || handshake.advertised() == Some(server.send_scale),
            "the server was offered {}, but reported was {handshake:?}",
            server.send_scale
        );
        let synack = handshake.evidence.synack.context("no SYN+ACK")?;
        ensure!(
            synack.timestamps == server.timestamps && synack.window_scale == granted,
            "the server granted {server:?}, but reported was {handshake:?}"
        );
    }
    Ok(())
}

/// Both ends are in this machine: each is reported once, by its own addresses.
fn both_ends(bench: &Bench, pair: &Pair) -> Result<()> {
    let (report, visits) = visit(bench, pair, BOTH, EACH)?;
    report.expect_all(2 * ALL, "ok", "normal", None)?;
    compare(&report, &visits)?;
    let mut reports = reports(&report, "server");
    for Visited { client, server } in &visits {
        let handshake = reports.take(client.address)?;
        ensure!(
            handshake.used() == server.used(),
            "the server says {server:?}, but reported was {handshake:?}"
        );
    }
    let roles = &report.summary.roles;
    let half = Some(&(ALL as u64));
    ensure!(
        roles.get("client") == half && roles.get("server") == half,
        "the summary has {roles:?}"
    );
    Ok(())
}

/// The server has no window scaling, but timestamps and SACK.
fn not_granted(bench: &Bench, pair: &Pair) -> Result<()> {
    pair.server.set(SCALING, "0")?;
    let (report, visits) = visit(bench, pair, CLIENT, EACH)?;
    pair.server.set(SCALING, "1")?;
    let done = "a connect to a server without window scaling";
    provoked(
        bench,
        &Provocation::scale_lost(NOT_GRANTED, done),
        ALL,
        &report,
    )?;
    // Seen from the other end it is the server's own doing.
    let what = "`tcp_window_scaling` is 0 at the server, not at this end";
    let lost = Expected::ScaleLost(NOT_GRANTED);
    provoked(
        bench,
        &Provocation::near_miss(DISABLED, what, lost),
        ALL,
        &report,
    )?;
    compare(&report, &visits)?;
    for handshake in &report.handshakes {
        let synack = handshake.evidence.synack.context("no SYN+ACK")?;
        ensure!(
            synack.timestamps && synack.sack && synack.bare == Some(false),
            "timestamps and SACK were granted: {handshake:?}"
        );
        ensure!(
            handshake.advertised().is_some_and(|scale| scale > 0),
            "a scale was offered: {handshake:?}"
        );
        let rtt = handshake.impact.srtt_us.context("no round-trip time")?;
        let ceiling = handshake.impact.ceiling_bytes_per_second.unwrap_or(0.0);
        ensure!(
            (ceiling * rtt as f64 / 1e6 - 65_535.0).abs() < 1.0,
            "not 65,535 bytes a round trip: {handshake:?}"
        );
    }
    let ends = report.closed.iter().filter(|end| end.role == "client");
    ensure!(
        ends.count() == ALL,
        "{} ends of {ALL} were told",
        report.closed.len()
    );
    Ok(())
}

/// `run` counts them by the server's port, and the gauge goes back when they end.
fn gauges(bench: &Bench, pair: &Pair) -> Result<()> {
    const OPEN: usize = 20;
    let _broker = Broker::start(&pair.server, &unlocked())?;
    let listen = free_address()?;
    let text = listen.to_string();
    let arguments = ["run", "--listen", &text, "--mechanism"];
    let arguments = [&arguments[..], &[bench.launch.mechanism.name()], CLIENT].concat();
    let mut agent = bench.launch.start(&arguments)?;
    let label: &[&str] = &["remote_port=\"9092\""];
    let open = || {
        let page = get(listen, "/metrics")?;
        metric(&page, "tcpwnd_client_scale_lost_connections", label)
    };
    ensure!(open()? == 0.0, "the gauge does not begin at 0");
    pair.server.set(SCALING, "0")?;
    let to = SocketAddr::new(Pair::SERVER_V4, PORT);
    let clients = (0..OPEN).map(|_| Client::connect(&pair.client, to));
    let clients = clients.collect::<Result<Vec<_>>>()?;
    pair.server.set(SCALING, "1")?;
    let count = OPEN as f64;
    wait::until_true(PATIENCE, "the gauge to rise", || Ok(open()? == count))?;
    let page = get(listen, "/metrics")?;
    let labels = &["remote_port=\"9092\"", "cause=\"peer_did_not_grant\""];
    let lost = metric(&page, "tcpwnd_client_window_scale_lost_total", labels)?;
    ensure!(lost == count, "{lost} of {OPEN} were counted");
    ensure!(
        !page.contains("local_port="),
        "there are metrics of the other role: {page}"
    );
    for client in clients {
        client.reset()?;
    }
    wait::until_true(PATIENCE, "the gauge to return to 0", || Ok(open()? == 0.0))?;
    agent.signal(libc::SIGTERM)?;
    let (_, code) = agent.wait_end()?;
    ensure!(code == 0, "tcpwnd run ended with {code}");
    Ok(())
}

/// The server sends cookies, and this host has no timestamps in which they could keep anything.
fn cookies_without_timestamps(bench: &Bench, pair: &Pair) -> Result<()> {
    pair.server.set(COOKIES, "2")?;
    pair.client.set(TIMESTAMPS, "0")?;
    let (report, visits) = visit(bench, pair, CLIENT, EACH)?;
    pair.client.set(TIMESTAMPS, "1")?;
    let done = "a connect without timestamps to a server that answers with cookies";
    provoked(
        bench,
        &Provocation::scale_lost(NOT_GRANTED, done),
        ALL,
        &report,
    )?;
    compare(&report, &visits)?;
    for handshake in &report.handshakes {
        let synack = handshake.evidence.synack.context("no SYN+ACK")?;
        ensure!(
            synack.bare == Some(true),
            "a cookie without timestamps grants nothing: {handshake:?}"
        );
    }
    // With timestamps the same cookies are as good as any other SYN+ACK.
    let (report, visits) = visit(bench, pair, CLIENT, 10)?;
    pair.server.set(COOKIES, "1")?;
    let what = "a connect with timestamps to a server that answers with cookies";
    let near = Provocation::near_miss(NOT_GRANTED, what, Expected::Ok);
    provoked(bench, &near, 30, &report)?;
    compare(&report, &visits)
}

/// Window scaling is switched off on this host.
fn disabled_here(bench: &Bench, pair: &Pair) -> Result<()> {
    pair.client.set(SCALING, "0")?;
    let (report, visits) = visit(bench, pair, CLIENT, EACH)?;
    // Nor would the server have granted it: what can be changed here comes first.
    pair.server.set(SCALING, "0")?;
    let (neither, _) = visit(bench, pair, CLIENT, 10)?;
    pair.client.set(SCALING, "1")?;
    pair.server.set(SCALING, "1")?;
    let done = "a connect while `tcp_window_scaling` is 0";
    provoked(
        bench,
        &Provocation::scale_lost(DISABLED, done),
        ALL,
        &report,
    )?;
    let done = "a connect while it is 0 at the server as well";
    provoked(
        bench,
        &Provocation::scale_lost(DISABLED, done),
        30,
        &neither,
    )?;
    compare(&report, &visits)?;
    for handshake in &report.handshakes {
        ensure!(
            handshake.advertised().is_none(),
            "nothing was offered: {handshake:?}"
        );
    }
    Ok(())
}
