//! Settings as the one entry of an array map, for kernels without globals (before 5.2).
//!
//! Looked up once a run: the address is handed down. Where the agent can, it makes the map
//! read-only and freezes it; then the verifier knows its contents as it knows globals' (from 5.5
//! on, check_mem_access in kernel/bpf/verifier.c). fentry and fexit, which want that where the number
//! of arguments depends on the kernel, are no older.

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use core::ffi::c_void;
use core::ptr::{addr_of, read_volatile};
use tcpwnd_common::{Field, FieldRef, PortSet, Settings};

#[map]
static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);

/// A run's context, and where the settings are.
#[derive(Clone, Copy)]
pub struct Env {
    context: *mut c_void,
    settings: *const Settings,
}

/// A setting.
macro_rules! setting {
    ($env:ident, $($place:tt)+) => {
        // SAFETY: entries of an array map are never removed; the index is that of the enum that
        // the table is made from, or within the length. Volatile, for a value that is read early and kept
        // costs room on the stack.
        unsafe { read_volatile(addr_of!((*$env.settings).$($place)+)) }
    };
}

impl EbpfContext for Env {
    fn as_ptr(&self) -> *mut c_void {
        self.context
    }
}

impl Env {
    /// What every program begins with. There always is an entry; the verifier does not know that.
    #[inline(always)]
    pub fn new(context: &impl EbpfContext) -> Option<Self> {
        Some(Self {
            context: context.as_ptr(),
            settings: SETTINGS.get_ptr(0)?,
        })
    }

    /// Reference of a field on the running kernel.
    #[inline(always)]
    pub fn field(self, field: Field) -> FieldRef {
        setting!(self, fields.refs[field as usize])
    }

    #[inline(always)]
    pub(super) fn byte_of(self, field: Field) -> u16 {
        setting!(self, fields.refs[field as usize].byte)
    }

    #[inline(always)]
    pub(super) fn width_of(self, field: Field) -> u8 {
        setting!(self, fields.refs[field as usize].width)
    }

    #[inline(always)]
    pub(super) fn roles(self) -> u32 {
        setting!(self, config.roles)
    }

    /// Whether suspects are to be put under watch.
    #[inline(always)]
    pub fn confirm(self) -> bool {
        setting!(self, config.confirm) != 0
    }

    /// Address families to look at.
    #[inline(always)]
    pub fn families(self) -> u32 {
        setting!(self, config.families)
    }

    /// Network namespace to look at, 0 for all.
    #[inline(always)]
    pub fn netns(self) -> u32 {
        setting!(self, config.netns)
    }

    /// Whether tcp_make_synack gets the SYN.
    #[inline(always)]
    pub fn has_syn_skb(self) -> bool {
        setting!(self, kernel.syn_skb_arg) != 0
    }

    /// Number of arguments of `__cookie_v4_check`.
    #[inline(always)]
    pub fn cookie_hash_args(self) -> u32 {
        setting!(self, kernel.cookie_hash_args)
    }

    /// Number of arguments of `tcp_check_req`.
    #[inline(always)]
    pub fn check_req_args(self) -> u32 {
        setting!(self, kernel.check_req_args)
    }

    /// Whether BPF programs can make requests.
    #[inline(always)]
    pub fn bpf_requests(self) -> bool {
        setting!(self, kernel.bpf_requests) != 0
    }

    /// Whether to look at a local port.
    #[inline(always)]
    pub fn port_wanted(self, port: u16) -> bool {
        let (word, bit) = PortSet::place(port);
        setting!(self, ports.words[word]) & bit != 0
    }

    /// Whether to look at a port of the peers'.
    #[inline(always)]
    pub fn remote_port_wanted(self, port: u16) -> bool {
        let (word, bit) = PortSet::place(port);
        setting!(self, remote_ports.words[word]) & bit != 0
    }
}
