//! Memory of a CPU for what is too large for the stack (512 bytes), and for notes that an entry
//! probe leaves for the return probe.
//!
//! Each use has a place of its own. Almost all of this runs in softirq, one at a time on a CPU;
//! where something interleaves after all (a backlog worked off in process context, PREEMPT_RT),
//! the readers find values that contradict each other: sequence numbers, states, addresses.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use tcpwnd_common::Handshake;

#[map]
static NEW_HANDSHAKE: PerCpuArray<Handshake> = PerCpuArray::with_max_entries(4, 0);

/// Who builds a handshake.
pub enum Builder {
    /// The probe on tcp_make_synack.
    MakeSynack = 0,
    /// The probe on state changes, for simultaneous opens.
    SetState = 1,
    /// The probe on tcp_get_cookie_sock, for requests of BPF programs.
    GetCookieSock = 2,
    /// The probes on cookie_v4_check and cookie_v6_check, for cookies that the stack did not send.
    CookieCheck = 3,
}

/// A zeroed handshake to fill and insert.
#[inline(always)]
pub fn handshake(builder: Builder) -> Option<&'static mut Handshake> {
    let place = NEW_HANDSHAKE.get_ptr_mut(builder as u32)?;
    // SAFETY: the place belongs to this CPU and to this program; all zero is a valid value.
    unsafe {
        core::ptr::write_bytes(place, 0, 1);
        Some(&mut *place)
    }
}

/// The arguments of tcp_make_synack, for its return probe.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SynackCall {
    pub sk: u64,
    pub dst: u64,
    pub req: u64,
    pub syn_skb: u64,
    pub kind: u32,
    /// 1 between entry and return.
    pub inside: u32,
}

#[map]
static SYNACK_CALL: PerCpuArray<SynackCall> = PerCpuArray::with_max_entries(1, 0);

/// The notes of tcp_make_synack's entry probe.
#[inline(always)]
pub fn synack_call() -> Option<&'static mut SynackCall> {
    // SAFETY: the place belongs to this CPU; tcp_make_synack neither recurses nor sleeps.
    SYNACK_CALL.get_ptr_mut(0).map(|call| unsafe { &mut *call })
}

/// A cookie check under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CookieCall {
    /// The listener.
    pub sk: u64,
    /// 1 between entry and return.
    pub inside: u32,
    /// What the hash check inside it said: 0 it was not asked, 1 rejected, 2 valid.
    pub hash: u32,
}

#[map]
static COOKIE_CALL: PerCpuArray<CookieCall> = PerCpuArray::with_max_entries(1, 0);

/// The notes of the cookie check's entry probe.
#[inline(always)]
pub fn cookie_call() -> Option<&'static mut CookieCall> {
    // SAFETY: the place belongs to this CPU; a cookie check neither recurses nor sleeps.
    COOKIE_CALL.get_ptr_mut(0).map(|call| unsafe { &mut *call })
}

/// The arguments of tcp_check_req, for its return probe.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CheckCall {
    /// The listener; 0 except between entry and return.
    pub sk: u64,
    pub skb: u64,
}

#[map]
static CHECK_CALL: PerCpuArray<CheckCall> = PerCpuArray::with_max_entries(1, 0);

/// The notes of tcp_check_req's entry probe.
#[inline(always)]
pub fn check_call() -> Option<&'static mut CheckCall> {
    // SAFETY: the place belongs to this CPU; tcp_check_req neither recurses nor sleeps.
    CHECK_CALL.get_ptr_mut(0).map(|call| unsafe { &mut *call })
}
