//! What the agent tells the programs once, before they are loaded.

use crate::layout::assert_layout;

/// Most ranges of ports that a filter can have, of local and of remote ones each.
pub const MAX_PORT_RANGES: usize = 16;

/// Bit of [`Config::families`]: IPv4, v4-mapped addresses included.
pub const FAMILY_IPV4: u32 = 1;
/// Bit of [`Config::families`]: IPv6.
pub const FAMILY_IPV6: u32 = 2;

/// Bit of [`Config::roles`]: connections that this host accepted.
pub const ROLE_SERVER: u32 = 1;
/// Bit of [`Config::roles`]: connections that this host opened.
pub const ROLE_CLIENT: u32 = 2;

/// Ports from `first` to `last`, both included, host byte order.
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
    /// [`ROLE_SERVER`], [`ROLE_CLIENT`] or both.
    pub roles: u32,
    /// The peers' ports to look at; all when `remote_port_range_count` is 0.
    pub remote_port_ranges: [PortRange; MAX_PORT_RANGES],
    /// Valid entries in `remote_port_ranges`.
    pub remote_port_range_count: u32,
}

assert_layout!(Config, size 152, align 4, {
    port_ranges: [PortRange; MAX_PORT_RANGES],
    port_range_count: u32,
    families: u32,
    confirm: u32,
    netns: u32,
    roles: u32,
    remote_port_ranges: [PortRange; MAX_PORT_RANGES],
    remote_port_range_count: u32,
});

impl Config {
    /// Looks at everything that this host accepts, and confirms nothing.
    pub const ALL: Self = Self {
        port_ranges: [PortRange { first: 0, last: 0 }; MAX_PORT_RANGES],
        port_range_count: 0,
        families: FAMILY_IPV4 | FAMILY_IPV6,
        confirm: 0,
        netns: 0,
        roles: ROLE_SERVER,
        remote_port_ranges: [PortRange { first: 0, last: 0 }; MAX_PORT_RANGES],
        remote_port_range_count: 0,
    };
}
