//! Tracepoint `sock:inet_sock_set_state(const struct sock *sk, const int oldstate, const int
//! newstate)`, since 4.16; where it is missing, `void tcp_set_state(struct sock *sk, int state)`
//! (net/ipv4/tcp.c).
//!
//! A passive connection leaves SYN_RECV exactly once, whatever came before; that is when it is
//! described and sent. An active one leaves SYN_SENT, see `active_open`. A damaged one is remembered
//! until it reaches CLOSE.

use super::{active_open, states};
use crate::counters::{count, run};
use crate::env::Env;
use crate::maps::{HANDSHAKES, OPEN, PROXIED, WATCH};
use crate::read::Object;
use crate::scratch::{Builder, handshake};
use crate::{child, events, flow, noted};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{kprobe, raw_tracepoint};
use aya_ebpf::programs::{ProbeContext, RawTracePointContext};
use core::mem::size_of;
use tcpwnd_common::{
    ABI_VERSION, ClosedRecord, Counter, Field, FlowKey, Handshake, HandshakeRecord, Header, Kind,
    Outcome, Probe, handshake_flags,
};

const IPPROTO_TCP: u32 = 6;

#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn set_state_raw_tracepoint(ctx: RawTracePointContext) -> i32 {
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(&ctx, "state {} to {}", ctx.arg::<u32>(1), ctx.arg::<u32>(2));
    let Some(env) = Env::new(&ctx) else { return 0 };
    let (sk, old, new) = (env.object(ctx.arg(0)), ctx.arg(1), ctx.arg(2));
    if noted::note(sk.id(), new) && matters(env, old, new) {
        changed(sk, old, new, true);
    }
    0
}

/// What the first did not see, one of the others handles.
///
/// From 6.1 on the kernel skips a program that would interrupt itself, and counts that
/// (`__bpf_trace_run`, kernel/trace/bpf_trace.c): a connect() or close() is interrupted by a packet
/// that ends a handshake. It skips one of two only, since they run one after the other; but from
/// 7.0 on, where they can be preempted as well, each can be under way in another task. Of some
/// 120,000 changes on a busy machine 7.3 skipped 854 of the first, 241 and 304 of two others; in
/// another run it skipped one change of all three.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn set_state_second_raw_tracepoint(ctx: RawTracePointContext) -> i32 {
    between(&ctx)
}

#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn set_state_third_raw_tracepoint(ctx: RawTracePointContext) -> i32 {
    between(&ctx)
}

#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn set_state_last_raw_tracepoint(ctx: RawTracePointContext) -> i32 {
    let Some(env) = Env::new(&ctx) else { return 0 };
    let (sk, old, new) = (env.object(ctx.arg(0)), ctx.arg(1), ctx.arg(2));
    if noted::is_noted(sk.id(), new) {
        noted::forget(sk.id());
    } else {
        stand_in(sk, old, new);
    }
    0
}

#[inline(always)]
fn between(ctx: &RawTracePointContext) -> i32 {
    let Some(env) = Env::new(ctx) else { return 0 };
    let (sk, old, new) = (env.object(ctx.arg(0)), ctx.arg(1), ctx.arg(2));
    if !noted::is_noted(sk.id(), new) && noted::note(sk.id(), new) {
        stand_in(sk, old, new);
    }
    0
}

/// Handles a change that the first program did not see. All of those are counted, whether they
/// matter or not, as the kernel counts the runs that it skips: the difference is what none saw.
#[inline(always)]
fn stand_in(sk: Object, old: u32, new: u32) {
    count(Counter::StoodIn);
    if matters(sk.env, old, new) {
        changed(sk, old, new, true);
    }
}

/// Whether a change of state is one that the programs act on.
#[inline(always)]
fn matters(env: Env, old: u32, new: u32) -> bool {
    if old == states::SYN_RECV {
        return env.serves();
    }
    new == states::CLOSE
        || (old == states::SYN_SENT && new == states::SYN_RECV)
        || (env.connects() && (old == states::SYN_SENT || new == states::SYN_SENT))
}

#[kprobe]
pub fn set_state_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(env), Some(sk), Some(new)) = (Env::new(&ctx), ctx.arg(0), ctx.arg(1)) {
        let sk = env.object(sk);
        if let Ok(old) = sk.get::<u8>(Field::State) {
            let old = old as u32;
            if matters(env, old, new) {
                changed(sk, old, new, false);
            }
        }
    }
    0
}

/// Whether a child that goes from SYN_RECV to CLOSE was never a connection: two CPUs had made a
/// child of the same request each (the ACK on one, the first data on the other), and this one
/// came second (inet_ehash_nolisten, net/ipv4/inet_hashtables.c). At the tracepoint it still has
/// its local port, which tcp_set_state takes away before it tells (inet_put_port); seen on 5.10
/// and 7.3. It does not come through tcp_set_state at all.
#[inline(always)]
fn discarded(sk: Object) -> bool {
    sk.get::<u16>(Field::LocalPort).is_ok_and(|port| port != 0)
}

/// Handles a change that [`matters`].
#[inline(always)]
fn changed(sk: Object, old: u32, new: u32, tracepoint: bool) {
    run(Probe::SetState);
    // What was damaged was once established, so neither of these was.
    let opening = old == states::SYN_SENT || new == states::SYN_SENT;
    if new == states::CLOSE && old != states::SYN_RECV && !(opening && sk.env.connects()) {
        return closed(sk);
    }
    match sk.bits(Field::Protocol) {
        Ok(IPPROTO_TCP) => {}
        Ok(_) => return,
        Err(_) => return count(Counter::SocketUnreadable),
    }
    let mut key = FlowKey::ZERO;
    if flow::of_socket(sk, &mut key).is_err() {
        return count(Counter::SocketUnreadable);
    }
    if old == states::SYN_RECV {
        if new == states::CLOSE && tracepoint && discarded(sk) {
            if flow::wanted(sk.env, &key) {
                count(Counter::DiscardedChildren);
            }
            return;
        }
        left_syn_recv(sk, &key, new);
    } else if new == states::SYN_RECV {
        simultaneous(sk, &key);
    } else {
        active_open::changed(sk, &key, new);
    }
}

/// Counts a connection that both sides open actively, and marks it, since it reaches SYN_RECV as
/// well.
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack, which has 512 bytes"
)]
#[inline(always)]
fn simultaneous(sk: Object, key: &FlowKey) {
    active_open::forget(sk);
    if !flow::wanted(sk.env, key) {
        return;
    }
    count(Counter::SimultaneousOpens);
    if !sk.env.serves() {
        return;
    }
    if let Some(mark) = handshake(Builder::SetState) {
        mark.flags = handshake_flags::SIMULTANEOUS;
        let _ = HANDSHAKES.insert(key, &*mark, 0);
    }
}

/// Describes and sends a connection that leaves SYN_RECV.
#[inline(always)]
fn left_syn_recv(sk: Object, key: &FlowKey, new: u32) {
    if !flow::wanted(sk.env, key) {
        return count(Counter::Filtered);
    }
    let known = HANDSHAKES.get_ptr(key);
    if let Some(known) = known {
        // SAFETY: see make_synack::record.
        if unsafe { (*known).flags } & handshake_flags::SIMULTANEOUS != 0 {
            let _ = HANDSHAKES.remove(key);
            return;
        }
    }
    let outcome = match new {
        states::ESTABLISHED => Outcome::Established,
        states::CLOSE => Outcome::Died,
        _ => Outcome::ClosedEarly,
    };
    count(match outcome {
        Outcome::Established => Counter::Established,
        _ => Counter::LeftSynRecv,
    });
    send(sk, key, known, outcome);
}

#[inline(always)]
fn send(sk: Object, key: &FlowKey, known: Option<*const Handshake>, outcome: Outcome) {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let Some(mut entry) = events::reserve::<HandshakeRecord>() else {
        return count(Counter::HandshakesLost);
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is memory of the record's size and alignment, and all zero is a valid
    // record; nothing is sent before each byte is written.
    let record = unsafe {
        core::ptr::write_bytes(record, 0, 1);
        &mut *record
    };
    record.header = header(Kind::Handshake, size_of::<HandshakeRecord>(), now);
    record.flow = *key;
    child::describe(sk, &mut record.child);
    record.child.outcome = outcome as u8;
    if let Some(known) = known {
        // SAFETY: see make_synack::record.
        record.handshake = unsafe { *known };
        record.record_found = 1;
        let proxied = child::is_proxied(record);
        if proxied {
            look_up_proxy(key, record);
        }
        if !paired(record) {
            count(Counter::StaleRecord);
        } else if matches!(outcome, Outcome::Established) {
            // Not for one that died: where the kernel does not tell (see `discarded`), it may
            // be a child that another one of the same request has replaced, which still needs
            // the record.
            let _ = HANDSHAKES.remove(key);
            let marked = record.handshake.flags & handshake_flags::MARKS != 0;
            if marked {
                count(Counter::NoRecord);
            }
            if proxied {
                let _ = PROXIED.remove(proxy_key(key));
            }
            if !marked && child::suspect(record) {
                record.child.flags |= child::track(sk, key, now, record);
            }
        }
    } else {
        count(Counter::NoRecord);
    }
    count(if entry.submit(sk.env) {
        Counter::HandshakesSent
    } else {
        Counter::HandshakesLost
    });
}

/// Adds what the SYN proxy told the peer.
#[inline(always)]
fn look_up_proxy(key: &FlowKey, record: &mut HandshakeRecord) {
    if let Some(told) = PROXIED.get_ptr(proxy_key(key)) {
        // SAFETY: see make_synack::record.
        record.proxy = unsafe { *told };
    }
}

/// The proxy does not know on which interface somebody listens.
#[inline(always)]
fn proxy_key(key: &FlowKey) -> FlowKey {
    FlowKey {
        bound_ifindex: 0,
        ..*key
    }
}

/// Whether a SYN+ACK's sequence number is the one before the first that the child sends.
///
/// A Fast Open child may have had data acknowledged by now; for it, `snd_una` as of the ACK's
/// arrival is the witness.
#[inline(always)]
fn paired(record: &HandshakeRecord) -> bool {
    let first = record.handshake.first.isn.wrapping_add(1);
    record.child.snd_una == first
        || record.handshake.ack.snd_una == first
        || child::answers_previous(record)
}

/// The beginning of a record.
#[inline(always)]
pub fn header(kind: Kind, len: usize, ktime_ns: u64) -> Header {
    Header {
        version: ABI_VERSION,
        kind: kind as u16,
        len: len as u32,
        ktime_ns,
    }
}

/// Tells that a damaged connection ended.
#[inline(always)]
fn closed(sk: Object) {
    if sk.env.confirm() {
        let _ = WATCH.remove(sk.id());
    }
    let Some(open) = OPEN.get_ptr(sk.id()) else {
        return;
    };
    // SAFETY: the entry of a socket is removed here only.
    let open = unsafe { *open };
    let _ = OPEN.remove(sk.id());
    let Some(mut entry) = events::reserve::<ClosedRecord>() else {
        return count(Counter::ClosedLost);
    };
    entry.write(ClosedRecord {
        // SAFETY: a helper without arguments.
        header: header(Kind::Closed, size_of::<ClosedRecord>(), unsafe {
            bpf_ktime_get_ns()
        }),
        flow: open.flow,
        srtt_us8: sk.get(Field::SrttUs).unwrap_or(0),
        bytes_received: if sk.env.has(Field::BytesReceived) {
            sk.get(Field::BytesReceived).unwrap_or(0)
        } else {
            0
        },
        established_ktime_ns: open.established_ktime_ns,
        role: open.role,
        reserved: 0,
    });
    count(if entry.submit(sk.env) {
        Counter::ClosedSent
    } else {
        Counter::ClosedLost
    });
}
