//! The settings of the perf buffer object, in the one entry of an array map.

use crate::config::{Config, PortRange};
use crate::fields::{FIELD_COUNT, FieldRef, FieldTable};
use crate::layout::assert_layout;
use core::mem::size_of;

/// Words of a [`PortSet`].
const WORDS: usize = (u16::MAX as usize + 1) / u64::BITS as usize;

/// A set of ports, one bit each: looked up without a loop, which kernels before 5.3 refuse.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortSet {
    /// Bit `port % 64` of word `port / 64`.
    pub words: [u64; WORDS],
}

assert_layout!(PortSet, size 8192, align 8, { words: [u64; WORDS] });

impl PortSet {
    /// The ports of these ranges; all where there is none.
    #[must_use]
    pub fn of(ranges: &[PortRange]) -> Self {
        let mut set = Self {
            words: [if ranges.is_empty() { u64::MAX } else { 0 }; WORDS],
        };
        for port in ranges.iter().flat_map(|range| range.first..=range.last) {
            let (word, bit) = Self::place(port);
            set.words[word] |= bit;
        }
        set
    }

    /// The word and the bit of a port.
    #[inline(always)]
    #[must_use]
    pub const fn place(port: u16) -> (usize, u64) {
        (port as usize / 64 % WORDS, 1 << (port % 64))
    }
}

/// Of the running kernel, what the programs need to know beside fields.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelTraits {
    /// 1 where tcp_make_synack has a sixth argument, the SYN (from 5.10 on).
    pub syn_skb_arg: u32,
    /// Number of arguments of `__cookie_v4_check`: 3, or 2 from 6.8 on.
    pub cookie_hash_args: u32,
    /// Number of arguments of `tcp_check_req`: 5, or 6 from 6.13 on.
    pub check_req_args: u32,
    /// 1 where BPF programs can make requests: `bpf_sk_assign_tcp_reqsk`, from 6.9 on.
    pub bpf_requests: u32,
}

assert_layout!(KernelTraits, size 16, align 4, {
    syn_skb_arg: u32,
    cookie_hash_args: u32,
    check_req_args: u32,
    bpf_requests: u32,
});

/// Everything that the programs are told.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The local ports of `config`.
    pub ports: PortSet,
    /// The peers' ports of `config`.
    pub remote_ports: PortSet,
    /// Where the running kernel keeps what is read.
    pub fields: FieldTable,
    /// What the user asked for.
    pub config: Config,
    /// What the running kernel is like.
    pub kernel: KernelTraits,
    /// Zero, so that there is no padding.
    pub reserved: [FieldRef; FIELD_COUNT % 2],
}

// The number of fields decides on its size.
const _: () = {
    let parts = 2 * size_of::<PortSet>()
        + size_of::<FieldTable>()
        + size_of::<Config>()
        + size_of::<KernelTraits>()
        + (FIELD_COUNT % 2) * size_of::<FieldRef>();
    assert!(size_of::<Settings>() == parts);
};

#[cfg(test)]
mod tests {
    use super::{PortRange, PortSet};

    fn contains(set: &PortSet, port: u16) -> bool {
        let (word, bit) = PortSet::place(port);
        set.words[word] & bit != 0
    }

    #[test]
    fn set_holds_the_ports_of_its_ranges() {
        let ranges = [(0, 0), (63, 64), (9092, 9092), (65_000, 65_535)];
        let ranges = ranges.map(|(first, last)| PortRange { first, last });
        let set = PortSet::of(&ranges);
        for port in 0..=u16::MAX {
            let wanted = ranges
                .iter()
                .any(|range| (range.first..=range.last).contains(&port));
            assert_eq!(contains(&set, port), wanted, "{port}");
        }
    }

    #[test]
    fn no_range_stands_for_every_port() {
        let set = PortSet::of(&[]);
        assert!((0..=u16::MAX).all(|port| contains(&set, port)));
    }
}
