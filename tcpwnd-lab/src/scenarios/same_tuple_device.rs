//! The same four-tuple on two devices of one network namespace at once, one of them damaged: exactly
//! that one.

use std::net::{Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};

use super::bench::{Bench, Unsupported, compare};
use super::stage::{COOKIES, PORT, RMEM, RMEM_AT_FIRST, rmem, unlocked};
use crate::broker::Broker;
use crate::findings::Handshake;
use crate::net::{Namespace, Pair, output, run};
use crate::peer::{Offer, Peer};
use crate::tun::Tun;

/// Both ends of the link-local connections.
const HERE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const THERE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// What the clients offer, which is how to tell one connection from the other.
const DAMAGED: u8 = 7;
const SOUND: u8 = 5;

/// In two VRFs, by either family.
pub fn vrfs(bench: &Bench) -> Result<String> {
    run("modprobe vrf").map_err(|_| Unsupported("this kernel has no VRF".to_owned()))?;
    let devices = devices(true)?;
    for v6 in [false, true] {
        let client = SocketAddr::new(Tun::client(v6, 1), 40_001);
        one_of_two(bench, &devices, client, Tun::server(v6, PORT))?;
    }
    Ok("v4 and v6: of one tuple each, 1 ok, 1 mismatch".to_owned())
}

/// Between link-local addresses.
pub fn link_local(bench: &Bench) -> Result<String> {
    let devices = devices(false)?;
    let client = SocketAddr::new(THERE.into(), 40_001);
    one_of_two(bench, &devices, client, SocketAddr::new(HERE.into(), PORT))?;
    Ok("of one tuple, 1 ok, 1 mismatch".to_owned())
}

/// A namespace with two devices and one server.
struct Devices {
    server: Namespace,
    broker: Broker,
    tuns: [Tun; 2],
    /// Indices of what the connections are bound to: the VRFs, or the devices themselves.
    bound: [u32; 2],
}

/// Both devices have the same addresses: in a VRF each, or link-local ones.
fn devices(vrfs: bool) -> Result<Devices> {
    let server = Namespace::new()?;
    server.set(RMEM, &rmem(RMEM_AT_FIRST))?;
    for (name, value) in COOKIES {
        server.set(name, value)?;
    }
    if vrfs {
        // The listener takes connections of every VRF, and each belongs to its own.
        server.set("net/ipv4/tcp_l3mdev_accept", "1")?;
    }
    let open = |number: u8| {
        Tun::open_as(&server, &format!("tun{number}"), |tun| {
            if !vrfs {
                return run(&format!("ip addr add {HERE}/64 dev {tun} nodad"));
            }
            let vrf = format!("vrf{number}");
            run(&format!("ip link add {vrf} type vrf table {}", 10 + number))?;
            run(&format!("ip link set {vrf} up"))?;
            run(&format!("ip link set {tun} master {vrf}"))?;
            let (v4, v6) = (Pair::SERVER_V4, Pair::SERVER_V6);
            run(&format!("ip addr add {v4}/16 dev {tun}"))?;
            run(&format!("ip addr add {v6}/64 dev {tun} nodad"))
        })
    };
    let tuns = [open(0)?, open(1)?];
    let index = |number: u8| {
        let name = if vrfs { "vrf" } else { "tun" };
        index_of(&server, &format!("{name}{number}"))
    };
    Ok(Devices {
        broker: Broker::start(&server, &unlocked())?,
        bound: [index(0)?, index(1)?],
        server,
        tuns,
    })
}

/// The kernel's number of a device: `ip` begins its line with it.
fn index_of(at: &Namespace, name: &str) -> Result<u32> {
    let line = at.enter(|| output(&format!("ip -oneline link show dev {name}")))?;
    let number = line.split(':').next().unwrap_or_default().trim();
    number
        .parse()
        .with_context(|| format!("{name} has no number: {line}"))
}

/// Two handshakes of one tuple at once: `tcp_rmem` is another one only while the first one ends.
fn one_of_two(bench: &Bench, at: &Devices, client: SocketAddr, to: SocketAddr) -> Result<()> {
    let known = at.broker.accepted().len();
    let mut agent = bench.trace()?;
    let peer = |tun, scale| {
        let offer = Offer {
            window_scale: Some(scale),
            ..Offer::default()
        };
        Peer::offering(tun, client, to, offer)
    };
    let [first, second] = &at.tuns;
    let [mut damaged, mut sound] = [peer(first, DAMAGED), peer(second, SOUND)];
    damaged.syn()?;
    sound.syn()?;
    let synacks = [damaged.synack()?, sound.synack()?];
    ensure!(
        synacks[0].options.window_scale == synacks[1].options.window_scale,
        "both clients should be told the same: {synacks:?}"
    );
    at.server.set(RMEM, &rmem(16 * RMEM_AT_FIRST))?;
    damaged.ack(&synacks[0])?;
    at.broker.wait_accepted(known + 1)?;
    at.server.set(RMEM, &rmem(RMEM_AT_FIRST))?;
    sound.ack(&synacks[1])?;
    let accepted = at.broker.wait_accepted(known + 2)?.split_off(known);
    agent.wait_handshakes(2)?;
    let report = agent.finish()?;
    damaged.reset()?;
    sound.reset()?;
    compare(&report, PORT, &accepted, &[])?;
    let [one, other] = &report.handshakes[..] else {
        bail!("not two handshakes: {:?}", report.handshakes);
    };
    let inode = at.server.inode()?;
    for handshake in [one, other] {
        let flow = handshake.flow;
        ensure!(
            (flow.netns, flow.remote.address(), flow.local.address()) == (inode, client, to),
            "the tuples should be the same: {:?}",
            report.handshakes
        );
    }
    let offered = |handshake: &Handshake| handshake.send.as_ref().and_then(|send| send.offered);
    ensure!(
        (offered(one), offered(other)) == (Some(DAMAGED), Some(SOUND)),
        "one each should be reported, in this order: {:?}",
        report.handshakes
    );
    let bound = [one.flow.ifindex, other.flow.ifindex];
    ensure!(
        bound == at.bound,
        "they are bound to {:?}, but reported were {bound:?}",
        at.bound
    );
    one.expect("mismatch", "cookie", Some("tcp_rmem_changed"))?;
    other.expect("ok", "cookie", None)
}
