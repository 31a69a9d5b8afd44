//! `struct sock *cookie_v4_check(struct sock *sk, struct sk_buff *skb)` (net/ipv4/syncookies.c)
//! and `cookie_v6_check` (net/ipv6/syncookies.c).
//!
//! Run for every packet without SYN that reaches a listener. They return the child, the listener
//! itself for what is no cookie, or NULL for what was dropped: a child was made if and only if
//! the result is neither. What the cookie path computed the window scale from is read here, as
//! it is now.

use super::states;
use crate::counters::{add, count, run};
use crate::env::Env;
use crate::maps::HANDSHAKES;
use crate::read::Object;
use crate::scratch::{Builder, cookie_call, handshake};
use crate::{flow, inputs, listeners};
use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe};
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};
use tcpwnd_common::{Counter, Field, FlowKey, ListenerSlot, Probe, handshake_flags};

/// The hash check inside was not reached.
pub const HASH_NOT_ASKED: u32 = 0;
/// The hash check inside refused the cookie.
pub const HASH_REJECTED: u32 = 1;
/// The hash check inside took the cookie.
pub const HASH_VALID: u32 = 2;

#[fentry(function = "cookie_v4_check")]
pub fn cookie_v4_check_fentry(ctx: FEntryContext) -> i32 {
    entered(ctx.arg(0));
    0
}

#[fexit(function = "cookie_v4_check")]
pub fn cookie_v4_check_fexit(ctx: FExitContext) -> i32 {
    // Behind the two arguments lies the result.
    if let Some(env) = Env::new(&ctx) {
        returned(
            Probe::CookieV4Check,
            Some(env.argument(ctx.arg(0))),
            env.argument(ctx.arg(2)),
        );
    }
    0
}

#[fentry(function = "cookie_v6_check")]
pub fn cookie_v6_check_fentry(ctx: FEntryContext) -> i32 {
    entered(ctx.arg(0));
    0
}

#[fexit(function = "cookie_v6_check")]
pub fn cookie_v6_check_fexit(ctx: FExitContext) -> i32 {
    if let Some(env) = Env::new(&ctx) {
        returned(
            Probe::CookieV6Check,
            Some(env.argument(ctx.arg(0))),
            env.argument(ctx.arg(2)),
        );
    }
    0
}

#[kprobe]
pub fn cookie_v4_check_kprobe(ctx: ProbeContext) -> u32 {
    entered(ctx.arg(0).unwrap_or(0));
    0
}

#[kretprobe]
pub fn cookie_v4_check_kretprobe(ctx: RetProbeContext) -> u32 {
    if let Some(env) = Env::new(&ctx) {
        returned(Probe::CookieV4Check, None, env.object(ctx.ret()));
    }
    0
}

#[kprobe]
pub fn cookie_v6_check_kprobe(ctx: ProbeContext) -> u32 {
    entered(ctx.arg(0).unwrap_or(0));
    0
}

#[kretprobe]
pub fn cookie_v6_check_kretprobe(ctx: RetProbeContext) -> u32 {
    if let Some(env) = Env::new(&ctx) {
        returned(Probe::CookieV6Check, None, env.object(ctx.ret()));
    }
    0
}

#[inline(always)]
fn entered(sk: u64) {
    if let Some(call) = cookie_call() {
        call.sk = sk;
        call.hash = HASH_NOT_ASKED;
        call.inside = 1;
    }
}

/// `sk` is the listener where the mechanism knows it, else the entry's notes do.
#[inline(always)]
fn returned(probe: Probe, sk: Option<Object>, result: Object) {
    run(probe);
    let Some(call) = cookie_call() else { return };
    let noted = call.inside != 0;
    call.inside = 0;
    if !noted || sk.is_some_and(|sk| sk.id() != call.sk) {
        return count(Counter::EntryMissed);
    }
    let listener = sk.unwrap_or(result.env.object_at(call.sk));
    let made_child = is_child(result);
    if call.hash == HASH_NOT_ASKED && !made_child {
        return;
    }
    let mut foreign = false;
    if let Some(slot) = listeners::slot_of(listener) {
        count_cookie(slot, call.hash, made_child);
        foreign = slot.cookies_sent == 0;
    }
    if made_child {
        accepted(listener, result, foreign);
    }
}

/// Whether a cookie check returned a new socket: not the listener, whichever that was.
#[inline(always)]
fn is_child(result: Object) -> bool {
    !result.is_null()
        && result
            .get::<u8>(Field::State)
            .is_ok_and(|state| state as u32 != states::LISTEN)
}

#[inline(always)]
fn count_cookie(slot: &mut ListenerSlot, hash: u32, made_child: bool) {
    match hash {
        HASH_VALID => add(&mut slot.cookies_valid, 1),
        HASH_REJECTED => add(&mut slot.cookies_rejected, 1),
        _ => {}
    }
    if made_child {
        add(&mut slot.cookies_accepted, 1);
    }
}

/// Notes the inputs as of now with the handshake of the child that was made. `foreign`: the listener's
/// own stack has sent no cookie.
#[inline(always)]
fn accepted(listener: Object, child: Object, foreign: bool) {
    let mut key = FlowKey::ZERO;
    if flow::of_socket(child, &mut key).is_err() || !flow::wanted(child.env, &key) {
        return;
    }
    let Ok(snd_una) = child.get::<u32>(Field::SndUna) else {
        return;
    };
    let Some(known) = HANDSHAKES.get_ptr_mut(key) else {
        if foreign {
            mark(&key, snd_una);
        }
        return;
    };
    // SAFETY: see make_synack::record.
    let known = unsafe { &mut *known };
    if snd_una != known.first.isn.wrapping_add(1) {
        return;
    }
    let dst = child
        .follow(Field::DstCache)
        .unwrap_or(child.env.object_at(0));
    inputs::fill(listener, dst, &mut known.cookie_inputs);
    // The socket's own limit takes its place when it becomes established (tcp_init_buffer_space,
    // net/ipv4/tcp_input.c).
    known.cookie_window_clamp = child.get(Field::WindowClamp).unwrap_or(0);
    known.flags |= handshake_flags::COOKIE_ACCEPTED;
}

/// Marks the flow of a cookie that the stack did not send. Without the mark the verdict says that
/// there is no record, as it does where that was pushed out.
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack, which has 512 bytes"
)]
#[inline(always)]
fn mark(key: &FlowKey, snd_una: u32) {
    if let Some(new) = handshake(Builder::CookieCheck) {
        new.first.isn = snd_una.wrapping_sub(1);
        new.flags = handshake_flags::FOREIGN_COOKIE;
        let _ = HANDSHAKES.insert(key, &*new, 0);
    }
}
