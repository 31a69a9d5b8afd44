//! `static u16 tcp_select_window(struct sock *sk)`, inlined in every kernel looked at, else
//! `u32 __tcp_select_window(struct sock *sk)` (net/ipv4/tcp_output.c).
//!
//! Run for every window that any socket of the host announces, so it is attached only while
//! something is under watch. At entry `tp->rcv_wnd` is the window chosen for the previous
//! segment: what the peer was told, before the shift.

use crate::counters::{count, run};
use crate::env::Env;
use crate::events;
use crate::maps::{WATCH, Watch};
use crate::read::Object;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{fentry, kprobe};
use aya_ebpf::programs::{FEntryContext, ProbeContext};
use core::mem::size_of;
use tcpwnd_common::{
    ABI_VERSION, Counter, Field, Header, Kind, Probe, WINDOWS_PER_WATCH, WindowRecord,
};

#[fentry(function = "__tcp_select_window")]
pub fn select_window_fentry(ctx: FEntryContext) -> i32 {
    if let Some(env) = Env::new(&ctx) {
        entered(env.argument(ctx.arg(0)));
    }
    0
}

#[kprobe]
pub fn select_window_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(env), Some(sk)) = (Env::new(&ctx), ctx.arg(0)) {
        entered(env.object(sk));
    }
    0
}

#[inline(always)]
fn entered(sk: Object) {
    let Some(watch) = WATCH.get_ptr_mut(sk.id()) else {
        return;
    };
    run(Probe::SelectWindow);
    // SAFETY: the entry is removed only here and when this very socket closes.
    let watch = unsafe { &mut *watch };
    if !is_same(sk, watch) {
        let _ = WATCH.remove(sk.id());
        return;
    }
    let Ok(rcv_wnd) = sk.get::<u32>(Field::RcvWnd) else {
        return;
    };
    // Until the first window is chosen this is the SYN+ACK's, which went out unscaled; two of
    // the three callers choose none.
    if rcv_wnd == watch.rcv_wnd {
        return;
    }
    watch.rcv_wnd = rcv_wnd;
    send(sk, watch);
    watch.seen += 1;
    if watch.seen >= WINDOWS_PER_WATCH {
        let _ = WATCH.remove(sk.id());
    }
}

#[inline(always)]
fn send(sk: Object, watch: &Watch) {
    let Some(mut entry) = events::reserve::<WindowRecord>() else {
        return count(Counter::WindowsLost);
    };
    entry.write(describe(sk, watch));
    count(if entry.submit(sk.env) {
        Counter::WindowsSent
    } else {
        Counter::WindowsLost
    });
}

/// Whether the socket at this address is still the one under watch.
#[inline(always)]
fn is_same(sk: Object, watch: &Watch) -> bool {
    sk.get::<u16>(Field::RemotePort)
        .is_ok_and(|port| u16::from_be(port) == watch.flow.remote_port)
        && sk
            .get::<u16>(Field::InetSport)
            .is_ok_and(|port| u16::from_be(port) == watch.flow.local_port)
}

#[inline(always)]
fn describe(sk: Object, watch: &Watch) -> WindowRecord {
    WindowRecord {
        header: Header {
            version: ABI_VERSION,
            kind: Kind::Window as u16,
            len: size_of::<WindowRecord>() as u32,
            // SAFETY: a helper without arguments.
            ktime_ns: unsafe { bpf_ktime_get_ns() },
        },
        flow: watch.flow,
        rcv_wnd: watch.rcv_wnd,
        srtt_us8: sk.get(Field::SrttUs).unwrap_or(0),
        rcv_wscale: sk.low(Field::RcvWscale).unwrap_or(0),
        number: watch.seen as u8,
        last: (watch.seen + 1 >= WINDOWS_PER_WATCH) as u8,
        reserved: 0,
        established_ktime_ns: watch.established_ktime_ns,
    }
}
