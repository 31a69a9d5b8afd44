//! netfilter's SYN proxy answers the clients: what it announced is what counts, not what the stack
//! announced to it; and where that was not seen, there is no verdict.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, Unsupported, compare};
use super::provoked::{Expected, Provocation};
use super::stage::unlocked;
use crate::agent::Report;
use crate::broker::{Accepted, Broker};
use crate::client::{Visit, come_and_go};
use crate::findings::Handshake;
use crate::net::{Namespace, Pair, PairOptions, run};
use crate::socket::ListenOptions;
use crate::wait;

/// What the servers' sockets use: `tcp_rmem[2]` is more than any kernel's `rmem_max`.
const USED: u8 = 9;
const RMEM: &str = "4096 131072 16777216";

/// What the rule of [`SMALLER`] announces.
const ANNOUNCED: u8 = 3;

/// Ports by the rule they have: another scale than the sockets use, the same, none; and no rule.
const SMALLER: u16 = 9092;
const EQUAL: u16 = 9093;
const WITHOUT: u16 = 9094;
const NO_RULE: u16 = 9095;
const PORTS: [u16; 4] = [SMALLER, EQUAL, WITHOUT, NO_RULE];

/// Connections to each port, by each family.
const EACH: usize = 3;

pub fn play(bench: &Bench) -> Result<String> {
    let built_in = is_there()?;
    if !built_in {
        run("modprobe nft_synproxy")
            .map_err(|_| Unsupported("this kernel has no nft_synproxy".to_owned()))?;
        unload()?;
    }
    let pair = Pair::new(PairOptions::default())?;
    pair.server.set("net/ipv4/tcp_rmem", RMEM)?;
    let brokers = PORTS
        .iter()
        .map(|&port| Broker::start(&pair.server, &ListenOptions { port, ..unlocked() }))
        .collect::<Result<Vec<_>>>()?;
    if built_in {
        load_rules(&pair.server, "input")?;
    } else {
        loaded_later(bench, &pair)?;
    }
    let before: Vec<_> = brokers
        .iter()
        .map(|broker| broker.accepted().len())
        .collect();
    let told = judged(bench, &pair, &brokers, &before)?;
    in_front(bench)?;
    flush(&pair.server)?;
    if !built_in {
        unload()?;
    }
    Ok(told)
}

/// The agent was there before the proxy: nothing is known of what that tells the clients.
fn loaded_later(bench: &Bench, pair: &Pair) -> Result<()> {
    let mut agent = bench.launch.trace("9092-9095", &[])?;
    load_rules(&pair.server, "input")?;
    for address in [Pair::SERVER_V4, Pair::SERVER_V6] {
        for port in [EQUAL, NO_RULE] {
            come_and_go(&pair.client, SocketAddr::new(address, port), EACH)?;
        }
    }
    agent.wait_handshakes(4 * EACH)?;
    let report = agent.finish()?;
    let what = Provocation::unverified("synproxy", "the proxy is loaded after the start");
    of_port(bench, &report, EQUAL, &what.by("synproxy"))?;
    let what = "the same, a port without a rule";
    let what = Provocation::near_miss("synproxy", what, Expected::Ok);
    of_port(bench, &report, NO_RULE, &what.by("normal"))
}

/// The proxy was there first.
fn judged(bench: &Bench, pair: &Pair, brokers: &[Broker], before: &[usize]) -> Result<String> {
    let mut agent = bench.launch.trace("9092-9095", &[])?;
    let mut visits: Vec<Vec<Visit>> = Vec::new();
    for port in PORTS {
        let mut of_port = Vec::new();
        for address in [Pair::SERVER_V4, Pair::SERVER_V6] {
            let to = SocketAddr::new(address, port);
            of_port.extend(come_and_go(&pair.client, to, EACH)?);
        }
        visits.push(of_port);
    }
    agent.wait_handshakes(PORTS.len() * 2 * EACH)?;
    let report = agent.finish()?;
    let seen = ["synproxy_synack", "synproxy_synack_ipv6"];
    for name in seen {
        let probe = report
            .summary
            .probes
            .iter()
            .find(|probe| probe.probe == name);
        let probe = probe.with_context(|| format!("no probe {name}"))?;
        ensure!(probe.mechanism.is_some(), "{name} is not attached");
    }
    let cause = "synproxy_wscale";
    let what = Provocation::mismatch(cause, "a rule with another shift count than the sockets'");
    of_port(bench, &report, SMALLER, &what.by("synproxy"))?;
    let what = Provocation::near_miss(cause, "a rule with the sockets' own", Expected::Ok);
    of_port(bench, &report, EQUAL, &what.by("synproxy"))?;
    let cause = "synproxy_without_scale";
    let what = Provocation::scale_lost(cause, "a rule without `wscale`");
    of_port(bench, &report, WITHOUT, &what.by("synproxy"))?;
    let what = Provocation::near_miss(cause, "a port without a rule", Expected::Ok);
    of_port(bench, &report, NO_RULE, &what.by("normal"))?;
    for (((port, broker), visits), before) in
        PORTS.into_iter().zip(brokers).zip(&visits).zip(before)
    {
        let accepted: Vec<Accepted> = broker.wait_accepted(before + 2 * EACH)?.split_off(*before);
        compare(&report, port, &accepted, visits)?;
    }
    windows(&visits)?;
    Ok(format!(
        "{ANNOUNCED} to {USED} is a mismatch, {USED} to {USED} ok, v4 and v6; loaded later or in \
         front of the host: unverified"
    ))
}

/// What the clients make of the same window: the proxy does not translate it.
fn windows(visits: &[Vec<Visit>]) -> Result<()> {
    let [smaller, equal, ..] = visits else {
        anyhow::bail!("not enough visits");
    };
    for (small, sound) in smaller.iter().zip(equal) {
        let (small, sound) = (small.info, sound.info);
        ensure!(
            small.send_scale == ANNOUNCED && sound.send_scale == USED,
            "the clients were told {small:?} and {sound:?}"
        );
        ensure!(
            small.send_window >> ANNOUNCED == sound.send_window >> USED && small.send_window > 0,
            "the clients' windows are {small:?} and {sound:?}"
        );
    }
    Ok(())
}

/// The proxy is on a router: its SYN carries the mark all the way, its SYN+ACK is not to be seen
/// here. (Both are on one machine, in different namespaces, which must not be mixed up.)
fn in_front(bench: &Bench) -> Result<()> {
    const HERE: &str = "10.8.0.2";
    let pair = Pair::new(PairOptions::default())?;
    let (router, client) = (&pair.server, &pair.client);
    let server = Namespace::new()?;
    let path = server.path();
    router.enter(|| {
        run(&format!(
            "ip link add eth1 type veth peer name eth0 netns {path}"
        ))?;
        run("ip addr add 10.8.0.1/24 dev eth1")?;
        run("ip link set eth1 up")
    })?;
    server.enter(|| {
        run(&format!("ip addr add {HERE}/24 dev eth0"))?;
        run("ip link set eth0 up")?;
        run("ip route add default via 10.8.0.1")
    })?;
    server.set("net/ipv4/tcp_rmem", RMEM)?;
    client.enter(|| run("ip route add 10.8.0.0/24 via 10.9.0.1"))?;
    router.set("net/ipv4/ip_forward", "1")?;
    let _broker = Broker::start(
        &server,
        &ListenOptions {
            port: EQUAL,
            ..unlocked()
        },
    )?;
    load_rules(router, "forward")?;
    let mut agent = bench.launch.trace("9092-9095", &[])?;
    let here: IpAddr = HERE.parse().context("not an address")?;
    come_and_go(client, SocketAddr::new(here, EQUAL), EACH)?;
    agent.wait_handshakes(EACH)?;
    let report = agent.finish()?;
    flush(router)?;
    // What the proxy said was seen, but elsewhere: that it is the same connection is not known.
    let what = Provocation::unverified("synproxy", "the proxy is on a router")
        .by("synproxy")
        .here(
            Expected::Unverified("before_start"),
            "the router's SYN+ACK can have left before the agent started, until 128 s after that",
        );
    bench.provoked_all(&what, EACH, &report)
}

/// Checks the connections to a port, of both families.
fn of_port(bench: &Bench, report: &Report, port: u16, what: &Provocation) -> Result<()> {
    let is_there = |handshake: &&Handshake| handshake.flow.local.address().port() == port;
    let reported: Vec<_> = report.handshakes.iter().filter(is_there).collect();
    bench.provoked_some(what, 2 * EACH, &reported)
}

/// Puts the proxy before the ports that have a rule.
fn load_rules(at: &Namespace, hook: &str) -> Result<()> {
    let rule = |port: u16, options: &str| {
        format!(
            "tcp dport {port} ct state {{ invalid, untracked }} synproxy mss 1460 {options} \
             sack-perm\n"
        )
    };
    let proxy = [
        rule(SMALLER, &format!("wscale {ANNOUNCED} timestamp")),
        rule(EQUAL, &format!("wscale {USED} timestamp")),
        rule(WITHOUT, "timestamp"),
    ]
    .concat();
    let rules = format!(
        "table inet tcpwnd_lab {{\n\
         chain first {{\n type filter hook prerouting priority raw; policy accept;\n\
         tcp dport {SMALLER}-{WITHOUT} tcp flags & (fin|syn|rst|ack) == syn notrack\n }}\n\
         chain proxy {{\n type filter hook {hook} priority filter; policy accept;\n\
         {proxy}\
         tcp dport {SMALLER}-{WITHOUT} ct state invalid drop\n }}\n}}\n"
    );
    let file = tempfile::NamedTempFile::new().context("failed to make a file")?;
    fs::write(file.path(), rules).context("failed to write rules")?;
    at.enter(|| run(&format!("nft -f {}", file.path().display())))?;
    // Else conntrack takes the ACK for one of a connection that it has missed the beginning of.
    at.set("net/netfilter/nf_conntrack_tcp_loose", "0")
}

fn flush(at: &Namespace) -> Result<()> {
    at.enter(|| run("nft delete table inet tcpwnd_lab"))
}

/// Takes the proxy out of the kernel, as it was before. Rules end a while after they are deleted.
fn unload() -> Result<()> {
    wait::until_true(wait::PATIENCE, "the SYN proxy to go", || {
        // It fails while the module is in use.
        let _ = run("modprobe -r nft_synproxy");
        Ok(!is_there()?)
    })
}

/// Whether the kernel has the proxy now.
fn is_there() -> Result<bool> {
    let symbols = fs::read_to_string("/proc/kallsyms").context("failed to read symbols")?;
    Ok(symbols.contains(" synproxy_send_client_synack"))
}
