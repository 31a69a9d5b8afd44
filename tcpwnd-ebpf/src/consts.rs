//! What the agent injects before the programs are loaded.
//!
//! The section is frozen before the verifier sees it, so each read is a known constant to it and
//! branches for what this kernel lacks disappear.

use core::ptr::{addr_of, read_volatile};
use tcpwnd_common::{
    Config, Field, FieldRef, FieldTable, MAX_PORT_RANGES, PortRange, ROLE_CLIENT, ROLE_SERVER,
};

#[unsafe(no_mangle)]
static FIELDS: FieldTable = FieldTable::ABSENT;

#[unsafe(no_mangle)]
static CONFIG: Config = Config::ALL;

/// 1 where tcp_make_synack has a sixth argument, the SYN (from 5.10 on).
#[unsafe(no_mangle)]
static SYN_SKB_ARG: u32 = 1;

/// Reference of a field on the running kernel.
#[inline(always)]
pub fn field(field: Field) -> FieldRef {
    // SAFETY: the index comes from the enum that the table is made from; the read is volatile
    // because the value in the object file is not the one at run time.
    unsafe { read_volatile(addr_of!(FIELDS.refs[field as usize])) }
}

/// Offset of a field in bytes.
#[inline(always)]
pub fn offset(field: Field) -> usize {
    // SAFETY: as in `field`.
    unsafe { read_volatile(addr_of!(FIELDS.refs[field as usize].byte)) as usize }
}

/// Whether the running kernel has a field.
#[inline(always)]
pub fn has(field: Field) -> bool {
    // SAFETY: as in `field`.
    unsafe { read_volatile(addr_of!(FIELDS.refs[field as usize].width)) != 0 }
}

/// Whether tcp_make_synack gets the SYN.
#[inline(always)]
pub fn has_syn_skb() -> bool {
    // SAFETY: a static of our own; volatile as above.
    unsafe { read_volatile(addr_of!(SYN_SKB_ARG)) != 0 }
}

/// Whether suspects are to be put under watch.
#[inline(always)]
pub fn confirm() -> bool {
    // SAFETY: a static of our own; volatile as above.
    unsafe { read_volatile(addr_of!(CONFIG.confirm)) != 0 }
}

/// Address families to look at.
#[inline(always)]
pub fn families() -> u32 {
    // SAFETY: a static of our own; volatile as above.
    unsafe { read_volatile(addr_of!(CONFIG.families)) }
}

/// Network namespace to look at, 0 for all.
#[inline(always)]
pub fn netns() -> u32 {
    // SAFETY: a static of our own; volatile as above.
    unsafe { read_volatile(addr_of!(CONFIG.netns)) }
}

/// Whether to look at connections that this host accepts.
#[inline(always)]
pub fn serves() -> bool {
    roles() & ROLE_SERVER != 0
}

/// Whether to look at connections that this host opens.
#[inline(always)]
pub fn connects() -> bool {
    roles() & ROLE_CLIENT != 0
}

#[inline(always)]
fn roles() -> u32 {
    // SAFETY: a static of our own; volatile as above.
    unsafe { read_volatile(addr_of!(CONFIG.roles)) }
}

/// Number of ranges of the peers' ports to look at, 0 for all ports.
#[inline(always)]
pub fn remote_port_range_count() -> u32 {
    // SAFETY: a static of our own; volatile as above.
    unsafe { read_volatile(addr_of!(CONFIG.remote_port_range_count)) }
}

/// One of the ranges of the peers' ports.
#[inline(always)]
pub fn remote_port_range(index: usize) -> PortRange {
    // SAFETY: as in `port_range`.
    unsafe { read_volatile(addr_of!(CONFIG.remote_port_ranges[index % MAX_PORT_RANGES])) }
}

/// Number of port ranges to look at, 0 for all ports.
#[inline(always)]
pub fn port_range_count() -> u32 {
    // SAFETY: a static of our own; volatile as above.
    unsafe { read_volatile(addr_of!(CONFIG.port_range_count)) }
}

/// One of the port ranges.
#[inline(always)]
pub fn port_range(index: usize) -> PortRange {
    // Callers count no further; the remainder keeps the compiler from calling a panic, which the
    // verifier takes for a function without an end.
    // SAFETY: a static of our own; volatile as above.
    unsafe { read_volatile(addr_of!(CONFIG.port_ranges[index % MAX_PORT_RANGES])) }
}

/// Number of arguments of `__cookie_v4_check`: 3, or 2 from 6.8 on.
#[unsafe(no_mangle)]
static COOKIE_HASH_ARGS: u32 = 2;

/// Number of arguments of `__cookie_v4_check`.
#[inline(always)]
pub fn cookie_hash_args() -> u32 {
    // SAFETY: a static of our own; volatile as above.
    unsafe { read_volatile(addr_of!(COOKIE_HASH_ARGS)) }
}

/// Number of arguments of `tcp_check_req`: 5, or 6 from 6.13 on.
#[unsafe(no_mangle)]
static CHECK_REQ_ARGS: u32 = 6;

/// Number of arguments of `tcp_check_req`.
#[inline(always)]
pub fn check_req_args() -> u32 {
    // SAFETY: a static of our own; volatile as above.
    unsafe { read_volatile(addr_of!(CHECK_REQ_ARGS)) }
}

/// 1 where BPF programs can make requests: `bpf_sk_assign_tcp_reqsk`, from 6.9 on.
#[unsafe(no_mangle)]
static BPF_REQUESTS: u32 = 0;

/// Whether BPF programs can make requests.
#[inline(always)]
pub fn bpf_requests() -> bool {
    // SAFETY: a static of our own; volatile as above.
    unsafe { read_volatile(addr_of!(BPF_REQUESTS)) != 0 }
}
