//! Where a listener turns packets away because its accept queue is full, which the kernel adds to
//! `ListenOverflows` for all listeners together (5.10 to 7.3):
//!
//! - `int tcp_conn_request(struct request_sock_ops *rsk_ops, const struct tcp_request_sock_ops
//!   *af_ops, struct sock *sk, struct sk_buff *skb)` (net/ipv4/tcp_input.c), for each SYN;
//! - `struct sock *tcp_get_cookie_sock(struct sock *sk, struct sk_buff *skb, struct request_sock
//!   *req, …)` (net/ipv4/syncookies.c), for each ACK with a valid cookie;
//! - `struct sock *tcp_check_req(struct sock *sk, struct sk_buff *skb, struct request_sock *req,
//!   bool fastopen, bool *lost_race)` (net/ipv4/tcp_minisocks.c; a sixth argument since 6.13), for
//!   each packet of a handshake under way. It returns NULL for those that are turned away.
//!
//! The latter two call tcp_v4_syn_recv_sock or tcp_v6_syn_recv_sock, which do the counting. Those
//! have seven arguments on kernels as old as 6.1, by a backport, and no fentry there: before 6.6
//! it takes six (`arch_prepare_bpf_trampoline`, arch/x86/net/bpf_jit_comp.c).

use super::bpf_request;
use crate::counters::{add, count, run};
use crate::env::Env;
use crate::read::Object;
use crate::scratch::check_call;
use crate::{context, listeners, options};
use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe};
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};
use tcpwnd_common::{Counter, Field, Probe};

#[fentry(function = "tcp_conn_request")]
pub fn conn_request_fentry(ctx: FEntryContext) -> i32 {
    if let Some(env) = Env::new(&ctx) {
        arrived(Probe::ConnRequest, env.argument(ctx.arg(2)));
    }
    0
}

#[kprobe]
pub fn conn_request_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(env), Some(sk)) = (Env::new(&ctx), ctx.arg(2)) {
        arrived(Probe::ConnRequest, env.object(sk));
    }
    0
}

#[fentry(function = "tcp_get_cookie_sock")]
pub fn get_cookie_sock_fentry(ctx: FEntryContext) -> i32 {
    if let Some(env) = Env::new(&ctx) {
        arrived(Probe::GetCookieSock, env.argument(ctx.arg(0)));
        bpf_request::look_at(env.argument(ctx.arg(2)));
    }
    0
}

#[kprobe]
pub fn get_cookie_sock_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(env), Some(sk), Some(req)) = (Env::new(&ctx), ctx.arg(0), ctx.arg(2)) {
        arrived(Probe::GetCookieSock, env.object(sk));
        bpf_request::look_at(env.object(req));
    }
    0
}

#[fexit(function = "tcp_check_req")]
pub fn check_req_fexit(ctx: FExitContext) -> i32 {
    let Some(env) = Env::new(&ctx) else { return 0 };
    let result = if env.check_req_args() == 6 {
        context::word::<6>(&ctx)
    } else {
        context::word::<5>(&ctx)
    };
    let (sk, skb) = (env.argument(ctx.arg(0)), env.argument(ctx.arg(1)));
    checked(sk, skb, result);
    0
}

#[kprobe]
pub fn check_req_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(call), Some(sk), Some(skb)) = (check_call(), ctx.arg(0), ctx.arg(1)) {
        call.sk = sk;
        call.skb = skb;
    }
    0
}

#[kretprobe]
pub fn check_req_kretprobe(ctx: RetProbeContext) -> u32 {
    let (Some(env), Some(call)) = (Env::new(&ctx), check_call()) else {
        return 0;
    };
    let (sk, skb) = (call.sk, call.skb);
    call.sk = 0;
    if sk == 0 {
        run(Probe::CheckReq);
        count(Counter::EntryMissed);
    } else {
        checked(env.object_at(sk), env.object_at(skb), ctx.ret());
    }
    0
}

/// What arrives at this point is turned away if the queue is full, and for other reasons later.
#[inline(always)]
fn arrived(probe: Probe, listener: Object) {
    run(probe);
    if is_full(listener) {
        overflow(listener);
    }
}

#[inline(always)]
fn checked(listener: Object, skb: Object, result: u64) {
    run(Probe::CheckReq);
    if result == 0 && is_full(listener) && is_ack(skb) {
        overflow(listener);
    }
}

/// sk_acceptq_is_full (include/net/sock.h).
#[inline(always)]
fn is_full(listener: Object) -> bool {
    let len: Result<u32, _> = listener.get(Field::AckBacklog);
    let limit: Result<u32, _> = listener.get(Field::MaxAckBacklog);
    matches!((len, limit), (Ok(len), Ok(limit)) if len > limit)
}

/// Whether a packet has ACK and neither SYN nor RST: no other makes a connection.
#[inline(always)]
fn is_ack(skb: Object) -> bool {
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;
    options::tcp_header(skb)
        .and_then(|header| header.at::<u8>(13))
        .is_ok_and(|flags| flags & (SYN | RST | ACK) == ACK)
}

#[inline(always)]
fn overflow(listener: Object) {
    if let Some(slot) = listeners::slot_of(listener) {
        add(&mut slot.overflows, 1);
        if let Ok(drops) = listener.get(Field::Drops) {
            slot.drops = drops;
        }
    }
}
