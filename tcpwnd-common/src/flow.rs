//! The identity of a connection, the same in every map and record.

use crate::layout::assert_layout;

/// A TCP connection as this host sees it.
///
/// Addresses are always 16 bytes in network order, IPv4 in its v4-mapped form (RFC 4291,
/// section 2.5.5.2), so that an IPv4 client of a dual-stack listener and one of an IPv4 listener
/// look alike. The same four-tuple may exist in several network namespaces and, with VRFs or
/// link-local addresses, on several interfaces of one; hence the last two fields.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Address of this host, network byte order.
    pub local_addr: [u8; 16],
    /// Address of the peer, network byte order.
    pub remote_addr: [u8; 16],
    /// Inode number of the network namespace (`net.ns.inum`).
    pub netns: u32,
    /// Index of the interface that the socket is bound to, 0 when it is not bound
    /// (`sock_common.skc_bound_dev_if`).
    pub bound_ifindex: u32,
    /// Port of this host, host byte order.
    pub local_port: u16,
    /// Port of the peer, host byte order.
    pub remote_port: u16,
}

assert_layout!(FlowKey, size 44, align 4, {
    local_addr: [u8; 16],
    remote_addr: [u8; 16],
    netns: u32,
    bound_ifindex: u32,
    local_port: u16,
    remote_port: u16,
});

impl FlowKey {
    /// All zero; a starting point for code that fills the fields.
    pub const ZERO: Self = Self {
        local_addr: [0; 16],
        remote_addr: [0; 16],
        netns: 0,
        bound_ifindex: 0,
        local_port: 0,
        remote_port: 0,
    };

    /// Whether both addresses are v4-mapped.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        const PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        self.local_addr[..12] == PREFIX && self.remote_addr[..12] == PREFIX
    }
}
