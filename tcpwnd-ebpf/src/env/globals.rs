//! Settings as globals, which the agent sets in the object before it is loaded.
//!
//! The section is frozen before the verifier sees it, so each read is a known constant to it and
//! branches for what this kernel lacks disappear.

use aya_ebpf::EbpfContext;
use core::ptr::{addr_of, read_volatile};
use tcpwnd_common::{Config, Field, FieldRef, FieldTable, MAX_PORT_RANGES, PortRange};

#[unsafe(no_mangle)]
static FIELDS: FieldTable = FieldTable::ABSENT;

#[unsafe(no_mangle)]
static CONFIG: Config = Config::ALL;

/// 1 where tcp_make_synack has a sixth argument, the SYN (from 5.10 on).
#[unsafe(no_mangle)]
static SYN_SKB_ARG: u32 = 1;

/// Number of arguments of `__cookie_v4_check`: 3, or 2 from 6.8 on.
#[unsafe(no_mangle)]
static COOKIE_HASH_ARGS: u32 = 2;

/// Number of arguments of `tcp_check_req`: 5, or 6 from 6.13 on.
#[unsafe(no_mangle)]
static CHECK_REQ_ARGS: u32 = 6;

/// 1 where BPF programs can make requests: `bpf_sk_assign_tcp_reqsk`, from 6.9 on.
#[unsafe(no_mangle)]
static BPF_REQUESTS: u32 = 0;

/// Takes no room: globals are known without it.
#[derive(Clone, Copy)]
pub struct Env;

/// The value of a global at run time.
macro_rules! global {
    ($($place:tt)+) => {
        // SAFETY: a static of our own, indexed by the enum that the table is made from or within
        // its length; the read is volatile because the value in the object file is not the one at
        // run time.
        unsafe { read_volatile(addr_of!($($place)+)) }
    };
}

impl Env {
    /// What every program begins with.
    #[inline(always)]
    pub fn new(_: &impl EbpfContext) -> Option<Self> {
        Some(Self)
    }

    /// Reference of a field on the running kernel.
    #[inline(always)]
    pub fn field(self, field: Field) -> FieldRef {
        global!(FIELDS.refs[field as usize])
    }

    #[inline(always)]
    pub(super) fn byte_of(self, field: Field) -> u16 {
        global!(FIELDS.refs[field as usize].byte)
    }

    #[inline(always)]
    pub(super) fn width_of(self, field: Field) -> u8 {
        global!(FIELDS.refs[field as usize].width)
    }

    #[inline(always)]
    pub(super) fn roles(self) -> u32 {
        global!(CONFIG.roles)
    }

    /// Whether suspects are to be put under watch.
    #[inline(always)]
    pub fn confirm(self) -> bool {
        global!(CONFIG.confirm) != 0
    }

    /// Address families to look at.
    #[inline(always)]
    pub fn families(self) -> u32 {
        global!(CONFIG.families)
    }

    /// Network namespace to look at, 0 for all.
    #[inline(always)]
    pub fn netns(self) -> u32 {
        global!(CONFIG.netns)
    }

    /// Whether tcp_make_synack gets the SYN.
    #[inline(always)]
    pub fn has_syn_skb(self) -> bool {
        global!(SYN_SKB_ARG) != 0
    }

    /// Number of arguments of `__cookie_v4_check`.
    #[inline(always)]
    pub fn cookie_hash_args(self) -> u32 {
        global!(COOKIE_HASH_ARGS)
    }

    /// Number of arguments of `tcp_check_req`.
    #[inline(always)]
    pub fn check_req_args(self) -> u32 {
        global!(CHECK_REQ_ARGS)
    }

    /// Whether BPF programs can make requests.
    #[inline(always)]
    pub fn bpf_requests(self) -> bool {
        global!(BPF_REQUESTS) != 0
    }

    /// Whether to look at a local port.
    #[inline(always)]
    pub fn port_wanted(self, port: u16) -> bool {
        // Callers count no further than the length; the remainder keeps the compiler from calling
        // a panic, which the verifier takes for a function without an end.
        one_of(port, global!(CONFIG.port_range_count), |index| {
            global!(CONFIG.port_ranges[index % MAX_PORT_RANGES])
        })
    }

    /// Whether to look at a port of the peers'.
    #[inline(always)]
    pub fn remote_port_wanted(self, port: u16) -> bool {
        one_of(port, global!(CONFIG.remote_port_range_count), |index| {
            global!(CONFIG.remote_port_ranges[index % MAX_PORT_RANGES])
        })
    }
}

/// Whether a port lies in one of `count` ranges; all do where there is none.
#[inline(always)]
fn one_of(port: u16, count: u32, range: impl Fn(usize) -> PortRange) -> bool {
    let count = count as usize;
    if count == 0 {
        return true;
    }
    let mut index = 0;
    while index < MAX_PORT_RANGES {
        if index >= count {
            return false;
        }
        let range = range(index);
        if range.first <= port && port <= range.last {
            return true;
        }
        index += 1;
    }
    false
}
