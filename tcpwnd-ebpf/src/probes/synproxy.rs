//! The SYN+ACKs of netfilter's SYN proxy, which the TCP stack never sees:
//!
//! - `int ip_route_me_harder(struct net *net, struct sock *sk, struct sk_buff *skb, unsigned int
//!   addr_type)` (net/ipv4/netfilter.c), called by `synproxy_send_tcp`;
//! - `int ip6_local_out(struct net *net, struct sock *sk, struct sk_buff *skb)`
//!   (net/ipv6/output_core.c), called by `synproxy_send_tcp_ipv6` (net/netfilter/nf_synproxy_core.c;
//!   both 5.10 to 7.3).
//!
//! Why there, and not at `synproxy_send_client_synack`: that is a function of a module. fentry
//! wants the module's BTF, which asks for CAP_SYS_ADMIN (`bpf_btf_get_fd_by_id`,
//! kernel/bpf/syscall.c) and came with 5.11; and at its entry the packet is not built yet, so that
//! its sequence number is not known. Here it is complete.
//!
//! Both functions have other callers: the agent attaches this only where the proxy is loaded, and
//! what belongs to a socket leaves at once. Segments of a socket's pass neither: the first is for
//! what the packet filter has changed, and IPv6 segments take `ip6_xmit` (net/ipv6/ip6_output.c),
//! which does not call the second. Of all that `synproxy_send_tcp_ipv6` calls outside of its
//! module, only `ip6_local_out` is given the packet that is sent; `security_skb_classify_flow`,
//! just before it, is given the peer's SYN.

use crate::counters::{count, run};
use crate::env::Env;
use crate::maps::PROXIED;
use crate::read::{Object, Result};
use crate::{flow, options};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{fentry, kprobe};
use aya_ebpf::programs::{FEntryContext, ProbeContext};
use tcpwnd_common::{Counter, Field, FlowKey, Probe, ProxySynAck, TcpOptions, proxy_flags};

#[fentry(function = "ip_route_me_harder")]
pub fn synproxy_synack_fentry(ctx: FEntryContext) -> i32 {
    if let Some(env) = Env::new(&ctx) {
        let (net, skb) = (env.argument(ctx.arg(0)), env.argument(ctx.arg(2)));
        leaving_v4(net, ctx.arg(1), skb);
    }
    0
}

#[kprobe]
pub fn synproxy_synack_kprobe(ctx: ProbeContext) -> u32 {
    let Some(env) = Env::new(&ctx) else { return 0 };
    if let (Some(net), Some(sk), Some(skb)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        leaving_v4(env.object(net), sk, env.object(skb));
    }
    0
}

#[fentry(function = "ip6_local_out")]
pub fn synproxy_synack_ipv6_fentry(ctx: FEntryContext) -> i32 {
    if let Some(env) = Env::new(&ctx) {
        let (net, skb) = (env.argument(ctx.arg(0)), env.argument(ctx.arg(2)));
        leaving_v6(net, ctx.arg(1), skb);
    }
    0
}

#[kprobe]
pub fn synproxy_synack_ipv6_kprobe(ctx: ProbeContext) -> u32 {
    let Some(env) = Env::new(&ctx) else { return 0 };
    if let (Some(net), Some(sk), Some(skb)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        leaving_v6(env.object(net), sk, env.object(skb));
    }
    0
}

#[inline(always)]
fn leaving_v4(net: Object, sk: u64, skb: Object) {
    if sk == 0
        && let Ok(Some(packet)) = synack(skb, IPV4_HEADER)
    {
        run(Probe::SynproxySynack);
        recorded(ipv4(net, &packet));
    }
}

#[inline(always)]
fn leaving_v6(net: Object, sk: u64, skb: Object) {
    if sk == 0
        && let Ok(Some(packet)) = synack(skb, IPV6_HEADER)
    {
        run(Probe::SynproxySynackV6);
        recorded(ipv6(net, &packet));
    }
}

#[inline(always)]
fn recorded(outcome: Result<()>) {
    if outcome.is_err() {
        count(Counter::SynackUnreadable);
    }
}

/// Length of an IP header as the proxy makes it, without options or extension headers, bytes.
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// `version` and `ihl` of such an IPv4 header.
const VERSION_4_WORDS_5: u8 = 0x45;
/// `version` of IPv6, in the upper 4 bits.
const VERSION_6: u8 = 0x60;
const IPPROTO_TCP: u8 = 6;

// Flags of a TCP header.
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// A packet's headers.
struct Packet {
    ip: Object,
    tcp: Object,
}

/// The headers of `skb`, if it is a SYN+ACK behind an IP header of this length, in bytes.
#[inline(always)]
fn synack(skb: Object, ip_header: usize) -> Result<Option<Packet>> {
    let head = skb.follow(Field::SkbHead)?;
    let network: u16 = skb.get(Field::SkbNetworkHeader)?;
    let ip = head.beyond(network as usize);
    // Not by skb->transport_header: the proxy sets that to where the IP header begins, since
    // skb_reset_transport_header goes by skb->data, which skb_put does not move.
    let tcp = ip.beyond(ip_header);
    let first: u8 = ip.at(0)?;
    // `protocol` of IPv4, `nexthdr` of IPv6.
    let (version, protocol): (_, u8) = if ip_header == IPV4_HEADER {
        (first == VERSION_4_WORDS_5, ip.at(9)?)
    } else {
        (first & 0xf0 == VERSION_6, ip.at(6)?)
    };
    if !version || protocol != IPPROTO_TCP {
        return Ok(None);
    }
    let flags: u8 = tcp.at(13)?;
    Ok((flags & (FIN | SYN | RST | ACK) == SYN | ACK).then_some(Packet { ip, tcp }))
}

#[inline(always)]
fn ipv4(net: Object, packet: &Packet) -> Result<()> {
    let mut key = FlowKey::ZERO;
    flow::map_ipv4(&mut key.local_addr, packet.ip.at(12)?);
    flow::map_ipv4(&mut key.remote_addr, packet.ip.at(16)?);
    record(net, packet.tcp, &mut key)
}

#[inline(always)]
fn ipv6(net: Object, packet: &Packet) -> Result<()> {
    let mut key = FlowKey::ZERO;
    key.local_addr = packet.ip.at(8)?;
    key.remote_addr = packet.ip.at(24)?;
    record(net, packet.tcp, &mut key)
}

/// Notes a SYN+ACK under its flow. What listens there, and on which interface, is not known here.
#[inline(always)]
fn record(net: Object, tcp: Object, key: &mut FlowKey) -> Result<()> {
    let ports = u32::from_be(tcp.at(0)?);
    key.local_port = (ports >> 16) as u16;
    key.remote_port = ports as u16;
    key.netns = net.get(Field::NetInum)?;
    if !flow::wanted(net.env, key) {
        return Ok(());
    }
    let key: &FlowKey = key;
    let isn = options::sequence(tcp)?;
    let (wscale, flags) = window_scale(tcp)?;
    if let Some(known) = PROXIED.get_ptr_mut(key) {
        // SAFETY: see make_synack::record.
        let known = unsafe { &mut *known };
        if known.isn == isn {
            known.synacks += 1;
            if known.wscale != wscale || (known.flags ^ flags) & proxy_flags::WSCALE != 0 {
                known.flags |= proxy_flags::DIFFER;
            }
            return Ok(());
        }
    }
    let mut new = ProxySynAck {
        // SAFETY: a helper without arguments.
        ktime_ns: unsafe { bpf_ktime_get_ns() },
        isn,
        synacks: 1,
        options: TcpOptions {
            len: 0,
            present: 0,
            window: 0,
            bytes: [0; 40],
        },
        wscale,
        flags,
        reserved: [0; 2],
    };
    options::copy(tcp, &mut new.options)?;
    let new = &new;
    if PROXIED.insert(key, new, 0).is_err() {
        count(Counter::SynackNotStored);
    }
    Ok(())
}

/// The window scale, which the proxy puts last (`synproxy_build_options`), with its flag.
#[inline(always)]
fn window_scale(tcp: Object) -> Result<(u8, u8)> {
    const HEADER_WORDS: u8 = 5;
    let words = tcp.at::<u8>(12)? >> 4;
    if words > HEADER_WORDS {
        // NOP, then kind 3 of length 3 (RFC 7323, section 2.2).
        if let [1, 3, 3, wscale] = tcp.at::<[u8; 4]>(words as usize * 4 - 4)? {
            return Ok((wscale, proxy_flags::WSCALE));
        }
    }
    Ok((0, 0))
}
