//! `struct sk_buff *tcp_make_synack(const struct sock *sk, struct dst_entry *dst, struct
//! request_sock *req, struct tcp_fastopen_cookie *foc, enum tcp_synack_type synack_type, struct
//! sk_buff *syn_skb)` (net/ipv4/tcp_output.c; `syn_skb` since 5.10).
//!
//! Every SYN+ACK of the TCP stack passes here: first ones, retransmissions, cookies, IPv4 and
//! IPv6. The return is probed, because then the packet itself says what the peer is told.

use super::states;
use crate::counters::{add, count, run};
use crate::env::Env;
use crate::maps::HANDSHAKES;
use crate::read::{Object, Result, Unreadable};
use crate::scratch::{Builder, handshake, synack_call};
use crate::{context, flow, inputs, listeners, options};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{fexit, kprobe, kretprobe};
use aya_ebpf::programs::{FExitContext, ProbeContext, RetProbeContext};
use tcpwnd_common::{
    Counter, Field, FlowKey, Handshake, Inputs, ListenerSlot, Probe, SynAck, handshake_flags,
    synack_flags,
};

/// Of sk_userlocks (include/net/sock.h): SO_RCVBUF was set.
const SOCK_RCVBUF_LOCK: u8 = 2;

/// TCP_SYNACK_COOKIE (include/net/tcp.h).
const SYNACK_COOKIE: u32 = 2;

struct Call {
    sk: Object,
    dst: Object,
    req: Object,
    syn_skb: Object,
    kind: u32,
}

#[fexit(function = "tcp_make_synack")]
pub fn make_synack_fexit(ctx: FExitContext) -> i32 {
    let Some(env) = Env::new(&ctx) else { return 0 };
    let (syn_skb, skb) = if env.has_syn_skb() {
        (context::word::<5>(&ctx), context::word::<6>(&ctx))
    } else {
        (0, context::word::<5>(&ctx))
    };
    let call = Call {
        sk: env.argument(ctx.arg(0)),
        dst: env.argument(ctx.arg(1)),
        req: env.argument(ctx.arg(2)),
        kind: ctx.arg(4),
        syn_skb: env.argument(syn_skb as *const u8),
    };
    built(&call, env.argument(skb as *const u8));
    0
}

#[kprobe]
pub fn make_synack_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(env), Some(call)) = (Env::new(&ctx), synack_call()) else {
        return 0;
    };
    call.inside = 0;
    let (Some(sk), Some(dst), Some(req), Some(kind)) =
        (ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(4))
    else {
        return 0;
    };
    call.sk = sk;
    call.dst = dst;
    call.req = req;
    call.kind = kind;
    call.syn_skb = if env.has_syn_skb() {
        ctx.arg(5).unwrap_or(0)
    } else {
        0
    };
    call.inside = 1;
    0
}

#[kretprobe]
pub fn make_synack_kretprobe(ctx: RetProbeContext) -> u32 {
    let (Some(env), Some(call)) = (Env::new(&ctx), synack_call()) else {
        return 0;
    };
    if call.inside == 0 {
        run(Probe::MakeSynack);
        count(Counter::EntryMissed);
        return 0;
    }
    call.inside = 0;
    let call = Call {
        sk: env.object_at(call.sk),
        dst: env.object_at(call.dst),
        req: env.object_at(call.req),
        syn_skb: env.object_at(call.syn_skb),
        kind: call.kind,
    };
    built(&call, env.object(ctx.ret()));
    0
}

#[inline(always)]
fn built(call: &Call, skb: Object) {
    run(Probe::MakeSynack);
    if skb.is_null() {
        return;
    }
    let mut key = FlowKey::ZERO;
    if flow::of_request(call.req, &mut key).is_err() {
        count(Counter::SynackUnreadable);
        return;
    }
    if !flow::wanted(call.req.env, &key) {
        return;
    }
    if record(call, skb, &key).is_err() {
        // A record that is left over from an earlier SYN+ACK must not stand for this one.
        let _ = HANDSHAKES.remove(key);
        count(Counter::SynackUnreadable);
    }
}

/// Notes a SYN+ACK under its flow: as the first of its sequence number, or as one that differs.
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack, which has 512 bytes"
)]
#[inline(always)]
fn record(call: &Call, skb: Object, key: &FlowKey) -> Result<()> {
    let Some(new) = handshake(Builder::MakeSynack) else {
        return Ok(());
    };
    let header = options::tcp_header(skb);
    if let Ok(header) = &header
        && is_of_another_call(call, *header)
    {
        count(Counter::EntryMissed);
        return Err(Unreadable);
    }
    // Whatever else can be read of it: that a listener sends no cookies is concluded from there being
    // none in the count (cookie_check::returned).
    count_listener(call);
    describe(call, header?, &mut new.first)?;
    if let Some(known) = HANDSHAKES.get_ptr_mut(key) {
        // SAFETY: an element that is evicted meanwhile stays readable and writable memory of
        // the map; what is written then is lost or overwritten, and pairing by sequence number
        // catches both.
        let known = unsafe { &mut *known };
        if known.flags & handshake_flags::SIMULTANEOUS == 0 {
            if known.first.isn == new.first.isn {
                repeat(known, &new.first);
                return Ok(());
            }
            // The peer may still answer the one before, if that was a cookie.
            new.last = known.first;
            new.flags = handshake_flags::PREVIOUS_KEPT;
        }
    }
    fill_inputs(call, &mut new.inputs)?;
    if !call.syn_skb.is_null() {
        let syn = options::tcp_header(call.syn_skb)?;
        options::copy(syn, &mut new.syn)?;
        new.syn_ack = options::acknowledgement(syn)?;
        if new.syn_ack != 0 {
            new.first.flags |= synack_flags::PROXIED;
        }
    }
    new.synacks = 1;
    if HANDSHAKES.insert(key, &*new, 0).is_err() {
        count(Counter::SynackNotStored);
    }
    Ok(())
}

/// One more SYN+ACK of a sequence number that is known.
#[inline(always)]
fn repeat(known: &mut Handshake, synack: &SynAck) {
    known.synacks += 1;
    if differ(&known.first, synack) {
        known.last = *synack;
        known.flags &= !handshake_flags::PREVIOUS_KEPT;
        known.flags |= handshake_flags::SYNACKS_DIFFER;
    }
}

/// Whether two SYN+ACKs tell the peer different things about windows.
#[inline(always)]
fn differ(first: &SynAck, other: &SynAck) -> bool {
    first.rcv_wscale != other.rcv_wscale
        || first.snd_wscale != other.snd_wscale
        // Whose SYN it answers is known only where there is a SYN to look at.
        || (first.flags ^ other.flags) & !synack_flags::PROXIED != 0
}

/// Whether the notes are those of another call's entry: a run was skipped in between (kprobe only).
#[inline(always)]
fn is_of_another_call(call: &Call, header: Object) -> bool {
    match (
        options::sequence(header),
        call.req.get::<u32>(Field::ReqSntIsn),
    ) {
        (Ok(sent), Ok(noted)) => sent != noted,
        _ => false,
    }
}

#[inline(always)]
fn is_cookie(call: &Call) -> Result<bool> {
    Ok(call.kind == SYNACK_COOKIE || call.req.low(Field::ReqSyncookie)? != 0)
}

#[inline(always)]
fn describe(call: &Call, header: Object, into: &mut SynAck) -> Result<()> {
    let req = call.req;
    // SAFETY: a helper without arguments.
    into.ktime_ns = unsafe { bpf_ktime_get_ns() };
    into.isn = options::sequence(header)?;
    into.window_clamp = req.get(Field::ReqWindowClamp)?;
    into.rcv_wscale = req.low(Field::ReqRcvWscale)?;
    into.snd_wscale = req.low(Field::ReqSndWscale)?;
    into.kind = call.kind as u8;
    let mut flags = 0;
    if is_cookie(call)? {
        flags |= synack_flags::COOKIE;
    }
    if !is_listener(call.sk)? {
        flags |= synack_flags::FAST_OPEN;
    }
    if req.low(Field::ReqWscaleOk)? != 0 {
        flags |= synack_flags::WSCALE_OK;
    }
    if req.low(Field::ReqTstampOk)? != 0 {
        flags |= synack_flags::TSTAMP_OK;
    }
    into.flags = flags;
    options::copy(header, &mut into.options)
}

#[inline(always)]
fn is_listener(sk: Object) -> Result<bool> {
    Ok(sk.get::<u8>(Field::State)? as u32 == states::LISTEN)
}

/// The listener of a call: for Fast Open the first argument is the child.
#[inline(always)]
fn listener(call: &Call) -> Result<Object> {
    if is_listener(call.sk)? {
        return Ok(call.sk.untyped());
    }
    call.req.follow(Field::ReqListener)
}

#[inline(always)]
fn note_state(listener: Object, slot: &mut ListenerSlot) -> Result<()> {
    slot.accept_queue_len = listener.get(Field::AckBacklog)?;
    slot.accept_queue_limit = listener.get(Field::MaxAckBacklog)?;
    slot.syn_queue_len = listener.get(Field::SynQueueLen)?;
    slot.receive_buffer = listener.get(Field::RcvBuf)?;
    let locks = listener.low(Field::UserLocks)?;
    slot.receive_buffer_locked = u32::from(locks & SOCK_RCVBUF_LOCK != 0);
    slot.drops = listener.get(Field::Drops)?;
    Ok(())
}

/// Counts for the listener of a call. Apart for an argument, whose type the verifier knows, and
/// what is not one.
#[inline(always)]
fn count_listener(call: &Call) {
    if call.sk.typed && is_listener(call.sk).unwrap_or(false) {
        count_at(call, call.sk);
    } else if let Ok(listener) = listener(call) {
        count_at(call, listener);
    }
}

#[inline(always)]
fn count_at(call: &Call, listener: Object) {
    let Some(slot) = listeners::slot_of(listener) else {
        return;
    };
    add(&mut slot.synacks, 1);
    if is_cookie(call).unwrap_or(false) {
        add(&mut slot.cookies_sent, 1);
    }
    // What was read before something could not be is newer than what was there.
    let _ = note_state(listener, slot);
}

/// Notes what the scale was computed from; apart as in [`count_listener`].
#[inline(always)]
fn fill_inputs(call: &Call, into: &mut Inputs) -> Result<()> {
    if call.sk.typed && is_listener(call.sk)? {
        inputs::fill(call.sk, call.dst, into);
    } else {
        inputs::fill(listener(call)?, call.dst, into);
    }
    Ok(())
}
