//! Connections that this host opens: what was noted of one while it was in SYN_SENT, and the record
//! of it.

use crate::flow::FlowKey;
use crate::handshake::TcpOptions;
use crate::layout::assert_layout;
use crate::records::{Child, Header};

/// Bits of [`Connect::flags`].
pub mod connect_flags {
    /// The change to SYN_SENT was seen: the fields that begin with `begun` hold.
    pub const BEGUN: u8 = 1;
    /// A packet came in SYN_SENT and every field about it was read.
    pub const ANSWERED: u8 = 2;
}

/// A connection that is being opened.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// When it went to SYN_SENT, nanoseconds of CLOCK_MONOTONIC. The SYN may leave later
    /// (TCP_FASTOPEN_CONNECT).
    pub begun_ktime_ns: u64,
    /// Sequence number of the last packet that came in SYN_SENT, host byte order.
    pub seq: u32,
    /// Sequence numbers that it acknowledges: 1 for the SYN, and one for each byte of Fast Open
    /// data.
    pub acknowledged: u32,
    /// Window clamp of the socket before the packet was taken in, bytes: without window scaling it
    /// is cut down to 65,535 then.
    pub window_clamp: u32,
    /// Shift count of the socket before the packet was taken in: the one that `tcp_connect_init`
    /// chose for the SYN, 0 where scaling was off. It is zeroed where the peer grants none.
    pub rcv_wscale: u8,
    /// The flags of its header (RFC 9293, section 3.1).
    pub tcp_flags: u8,
    /// `tcp_window_scaling` of the namespace when it went to SYN_SENT.
    pub begun_window_scaling: u8,
    /// `tcp_timestamps` of the namespace then.
    pub begun_timestamps: u8,
    /// [`connect_flags`].
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Window and options of the packet.
    pub options: TcpOptions,
}

assert_layout!(Connect, size 72, align 8, {
    begun_ktime_ns: u64,
    seq: u32,
    acknowledged: u32,
    window_clamp: u32,
    rcv_wscale: u8,
    tcp_flags: u8,
    begun_window_scaling: u8,
    begun_timestamps: u8,
    flags: u8,
    reserved: [u8; 3],
    options: TcpOptions,
});

impl Connect {
    /// Nothing was noted.
    pub const NONE: Self = Self {
        begun_ktime_ns: 0,
        seq: 0,
        acknowledged: 0,
        window_clamp: 0,
        rcv_wscale: 0,
        tcp_flags: 0,
        begun_window_scaling: 0,
        begun_timestamps: 0,
        flags: 0,
        reserved: [0; 3],
        options: TcpOptions {
            len: 0,
            present: 0,
            window: 0,
            bytes: [0; crate::MAX_TCP_OPTIONS],
        },
    };
}

/// A connection went from SYN_SENT to ESTABLISHED, with everything that its verdict rests on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectRecord {
    /// Kind 5.
    pub header: Header,
    /// Which connection.
    pub flow: FlowKey,
    /// The socket.
    pub child: Child,
    /// Next sequence number that it expects of the peer, host byte order: the SYN+ACK's plus 1.
    pub rcv_nxt: u32,
    /// What was noted of it before; all zero where nothing was.
    pub connect: Connect,
}

assert_layout!(ConnectRecord, size 176, align 8, {
    header: Header,
    flow: FlowKey,
    child: Child,
    rcv_nxt: u32,
    connect: Connect,
});
