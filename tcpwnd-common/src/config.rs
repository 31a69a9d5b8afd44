//! What the agent tells the programs once, before they are loaded.

use crate::layout::assert_layout;

/// Most ranges of local ports that a filter can have.
pub const MAX_PORT_RANGES: usize = 16;

/// Bit of [`Config::families`]: IPv4, v4-mapped addresses included.
pub const FAMILY_IPV4: u32 = 1;
/// Bit of [`Config::families`]: IPv6.
pub const FAMILY_IPV6: u32 = 2;

/// Local ports from `first` to `last`, both included, host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

assert_layout!(PortRange, size 4, align 2, { first: u16, last: u16 });

/// Settings of the programs; a constant to them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Local ports to look at; all when `port_range_count` is 0.
    pub port_ranges: [PortRange; MAX_PORT_RANGES],
    /// Valid entries in `port_ranges`.
    pub port_range_count: u32,
    /// [`FAMILY_IPV4`], [`FAMILY_IPV6`] or both.
    pub families: u32,
    /// 1: a socket that looks damaged is put under watch by the program that judges it.
    pub confirm: u32,
    /// Inode of the only network namespace to look at; 0 for all.
    pub netns: u32,
}

assert_layout!(Config, size 80, align 4, {
    port_ranges: [PortRange; MAX_PORT_RANGES],
    port_range_count: u32,
    families: u32,
    confirm: u32,
    netns: u32,
});

impl Config {
    /// Looks at everything and confirms nothing.
    pub const ALL: Self = Self {
        port_ranges: [PortRange { first: 0, last: 0 }; MAX_PORT_RANGES],
        port_range_count: 0,
        families: FAMILY_IPV4 | FAMILY_IPV6,
        confirm: 0,
        netns: 0,
    };
}
