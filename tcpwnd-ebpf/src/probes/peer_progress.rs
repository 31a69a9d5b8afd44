//! `u32 __tcp_select_window(struct sock *sk)` (net/ipv4/tcp_output.c), for `scan --confirm` alone.
//!
//! Run whenever any socket of the host may send a window. At entry `tp->rcv_wup` and `tp->rcv_wnd`
//! are the window that went out last, and `tp->rcv_nxt` is how far the peer has got: what it had
//! in flight beyond that acknowledgment.

use crate::counters::{count, run};
use crate::env::Env;
use crate::maps::{SUSPECT_PORTS, SUSPECTS};
use crate::read::{Object, Result};
use crate::{events, flow};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{fentry, kprobe};
use aya_ebpf::programs::{FEntryContext, ProbeContext};
use core::mem::size_of;
use tcpwnd_common::{
    ABI_VERSION, Counter, Field, FlowKey, Header, Kind, Probe, ProgressRecord, RECORDS_PER_SUSPECT,
    Suspect,
};

#[fentry(function = "__tcp_select_window")]
pub fn peer_progress_fentry(ctx: FEntryContext) -> i32 {
    if let Some(env) = Env::new(&ctx) {
        // An unreadable socket is none of the suspects.
        let _ = entered(env.argument(ctx.arg(0)));
    }
    0
}

#[kprobe]
pub fn peer_progress_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(env), Some(sk)) = (Env::new(&ctx), ctx.arg(0)) {
        let _ = entered(env.object(sk));
    }
    0
}

#[inline(always)]
fn entered(sk: Object) -> Result<()> {
    let local: u16 = sk.get(Field::InetSport)?;
    let remote: u16 = sk.get(Field::RemotePort)?;
    let ports = (local as u32) << 16 | remote as u32;
    if SUSPECT_PORTS.get_ptr(ports).is_none() {
        return Ok(());
    }
    let mut key = FlowKey::ZERO;
    flow::of_socket(sk, &mut key)?;
    let key = &key;
    let Some(suspect) = SUSPECTS.get_ptr_mut(key) else {
        return Ok(());
    };
    run(Probe::SelectWindow);
    // SAFETY: the entry's memory outlives the program, and a socket is worked on by one CPU at a
    // time.
    let suspect = unsafe { &mut *suspect };
    let echoed: u32 = sk.get(Field::RcvTsecr)?;
    // The latest, whatever order segments came in: serial numbers, modulo 2^32.
    if suspect.rcv_tsecr == 0 || (echoed.wrapping_sub(suspect.rcv_tsecr) as i32) > 0 {
        suspect.rcv_tsecr = echoed;
    }
    let now = Suspect {
        rcv_nxt: sk.get(Field::RcvNxt)?,
        rcv_wup: sk.get(Field::RcvWup)?,
        rcv_wnd: sk.get(Field::RcvWnd)?,
        rcv_tsecr: suspect.rcv_tsecr,
        seen: suspect.seen,
    };
    let same = now.rcv_nxt == suspect.rcv_nxt
        && now.rcv_wup == suspect.rcv_wup
        && now.rcv_wnd == suspect.rcv_wnd;
    if same || now.seen >= RECORDS_PER_SUSPECT {
        return Ok(());
    }
    *suspect = now;
    suspect.seen += 1;
    send(sk, key, &now);
    Ok(())
}

#[inline(always)]
fn send(sk: Object, key: &FlowKey, now: &Suspect) {
    let Some(mut entry) = events::reserve::<ProgressRecord>() else {
        return count(Counter::WindowsLost);
    };
    entry.write(ProgressRecord {
        header: Header {
            version: ABI_VERSION,
            kind: Kind::Progress as u16,
            len: size_of::<ProgressRecord>() as u32,
            // SAFETY: a helper without arguments.
            ktime_ns: unsafe { bpf_ktime_get_ns() },
        },
        flow: *key,
        rcv_nxt: now.rcv_nxt,
        rcv_wup: now.rcv_wup,
        rcv_wnd: now.rcv_wnd,
        rcv_tsecr: now.rcv_tsecr,
        snd_una: sk.get(Field::SndUna).unwrap_or(0),
        snd_nxt: sk.get(Field::SndNxt).unwrap_or(0),
        srtt_us8: sk.get(Field::SrttUs).unwrap_or(0),
        number: now.seen,
        rcv_wscale: sk.low(Field::RcvWscale).unwrap_or(0).into(),
    });
    count(if entry.submit(sk.env) {
        Counter::WindowsSent
    } else {
        Counter::WindowsLost
    });
}
