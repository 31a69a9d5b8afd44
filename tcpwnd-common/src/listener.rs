//! Counters per listening socket, mapped into the agent's memory like the others.

use crate::layout::assert_layout;

/// Listeners that have counters of their own.
pub const LISTENER_SLOTS: u32 = 1024;

/// A listening socket as far as its peers can tell it from another.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerKey {
    /// Bound address, network byte order, all zero for any.
    pub addr: [u8; 16],
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Port, host byte order.
    pub port: u16,
    /// Zero.
    pub reserved: u16,
}

assert_layout!(ListenerKey, size 24, align 4, {
    addr: [u8; 16],
    netns: u32,
    port: u16,
    reserved: u16,
});

/// What is counted for one listener. A slot is in use when `key.port` is not 0.
///
/// The counters are shared by all CPUs and only ever added to atomically. Slots are not given
/// back: a host that sees more than [`LISTENER_SLOTS`] listeners in one run counts the rest as
/// `listeners_not_counted`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerSlot {
    /// Whose slot this is.
    pub key: ListenerKey,
    /// SYN+ACKs built, retransmissions and cookies included.
    pub synacks: u64,
    /// SYN+ACKs that carried a SYN cookie.
    pub cookies_sent: u64,
    /// ACKs whose cookie was right: what the kernel adds to `SyncookiesRecv`.
    pub cookies_valid: u64,
    /// ACKs whose cookie was wrong: what the kernel adds to `SyncookiesFailed`.
    pub cookies_rejected: u64,
    /// Valid cookies that became a connection.
    pub cookies_accepted: u64,
    /// SYNs, and ACKs of handshakes, that were turned away while the accept queue was full: what the
    /// kernel adds to `ListenOverflows`.
    pub overflows: u64,
    /// Length of the accept queue when the last SYN+ACK was built.
    pub accept_queue_len: u32,
    /// Limit of the accept queue then.
    pub accept_queue_limit: u32,
    /// Handshakes under way then.
    pub syn_queue_len: u32,
    /// Size of the receive buffer then, bytes: `sk_rcvbuf`, which is twice what SO_RCVBUF was set to.
    pub receive_buffer: u32,
    /// 1 where SO_RCVBUF was set, so that autotuning leaves the buffer alone.
    pub receive_buffer_locked: u32,
    /// Packets dropped at this listener since it began to listen, modulo 2^32: `sk_drops`, which
    /// ss(8) shows as `d` of `skmem`. An ACK for a request that finds the accept queue full counts
    /// twice there and once in `ListenDrops`. As of the last SYN+ACK, or the last packet
    /// that found the accept queue full.
    pub drops: u32,
}

assert_layout!(ListenerSlot, size 96, align 8, {
    key: ListenerKey,
    synacks: u64,
    cookies_sent: u64,
    cookies_valid: u64,
    cookies_rejected: u64,
    cookies_accepted: u64,
    overflows: u64,
    accept_queue_len: u32,
    accept_queue_limit: u32,
    syn_queue_len: u32,
    receive_buffer: u32,
    receive_buffer_locked: u32,
    drops: u32,
});
