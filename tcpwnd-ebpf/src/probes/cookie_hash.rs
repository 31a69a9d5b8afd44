//! `int __cookie_v4_check(const struct iphdr *iph, const struct tcphdr *th)` (net/ipv4/
//! syncookies.c; a third argument, the cookie, before 6.8) and `__cookie_v6_check`.
//!
//! Returns 0 for a wrong hash, else the MSS that the cookie stands for. BPF helpers of other
//! programs call it too; only calls inside a cookie check count.

use super::cookie_check::{HASH_REJECTED, HASH_VALID};
use crate::context;
use crate::counters::run;
use crate::env::Env;
use crate::scratch::cookie_call;
use aya_ebpf::macros::{fexit, kretprobe};
use aya_ebpf::programs::{FExitContext, RetProbeContext};
use tcpwnd_common::Probe;

#[fexit(function = "__cookie_v4_check")]
pub fn cookie_v4_hash_fexit(ctx: FExitContext) -> i32 {
    if let Some(env) = Env::new(&ctx) {
        returned(Probe::CookieV4Hash, result(&ctx, env));
    }
    0
}

#[fexit(function = "__cookie_v6_check")]
pub fn cookie_v6_hash_fexit(ctx: FExitContext) -> i32 {
    if let Some(env) = Env::new(&ctx) {
        returned(Probe::CookieV6Hash, result(&ctx, env));
    }
    0
}

#[kretprobe]
pub fn cookie_v4_hash_kretprobe(ctx: RetProbeContext) -> u32 {
    returned(Probe::CookieV4Hash, ctx.ret());
    0
}

#[kretprobe]
pub fn cookie_v6_hash_kretprobe(ctx: RetProbeContext) -> u32 {
    returned(Probe::CookieV6Hash, ctx.ret());
    0
}

/// The result lies behind the arguments.
#[inline(always)]
fn result(ctx: &FExitContext, env: Env) -> i32 {
    if env.cookie_hash_args() == 3 {
        context::word::<3>(ctx) as i32
    } else {
        context::word::<2>(ctx) as i32
    }
}

#[inline(always)]
fn returned(probe: Probe, result: i32) {
    run(probe);
    let Some(call) = cookie_call() else { return };
    if call.inside != 0 {
        call.hash = if result == 0 {
            HASH_REJECTED
        } else {
            HASH_VALID
        };
    }
}
