//! The records that travel through the ring buffer or the perf buffer.

use crate::flow::FlowKey;
use crate::handshake::{Handshake, ProxySynAck};
use crate::layout::assert_layout;

macro_rules! coded {
    ($(#[$meta:meta])* $enum:ident: $repr:ty { $($(#[$doc:meta])* $name:ident = $value:literal,)+ }) => {
        $(#[$meta])*
        #[repr($repr)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $enum { $($(#[$doc])* $name = $value,)+ }

        impl TryFrom<$repr> for $enum {
            /// The value that means nothing here.
            type Error = $repr;

            fn try_from(value: $repr) -> Result<Self, $repr> {
                match value { $($value => Ok(Self::$name),)+ other => Err(other) }
            }
        }
    };
}

coded! {
    /// What a record is.
    Kind: u16 {
        /// A connection left SYN_RECV: [`HandshakeRecord`].
        Handshake = 1,
        /// A damaged connection ended: [`ClosedRecord`].
        Closed = 2,
        /// A socket under watch chose a window: [`WindowRecord`].
        Window = 3,
        /// Bytes came in or a window went out on a suspect of `scan`: [`ProgressRecord`].
        Progress = 4,
        /// A connection left SYN_SENT for ESTABLISHED: [`ConnectRecord`](crate::ConnectRecord).
        Connect = 5,
    }
}

coded! {
    /// Where a connection went from SYN_RECV.
    Outcome: u8 {
        /// To ESTABLISHED.
        Established = 1,
        /// To CLOSE, by a reset or because its child was dropped.
        Died = 2,
        /// To FIN_WAIT1: the application closed it before the ACK came (Fast Open).
        ClosedEarly = 3,
    }
}

/// The beginning of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// [`crate::ABI_VERSION`].
    pub version: u16,
    /// [`Kind`].
    pub kind: u16,
    /// Length of the whole record, bytes.
    pub len: u32,
    /// When, in nanoseconds of CLOCK_MONOTONIC.
    pub ktime_ns: u64,
}

assert_layout!(Header, size 16, align 8, { version: u16, kind: u16, len: u32, ktime_ns: u64 });

/// Bits of [`Child::flags`].
pub mod child_flags {
    /// `rx_opt.wscale_ok`: the socket scales windows.
    pub const WSCALE_OK: u8 = 1;
    /// `rx_opt.tstamp_ok`.
    pub const TSTAMP_OK: u8 = 2;
    /// `rx_opt.sack_ok` is not 0.
    pub const SACK_OK: u8 = 4;
    /// The connection is in the table of open ones: its end will be reported.
    pub const TRACKED: u8 = 8;
    /// The socket is under watch: its next windows will be reported.
    pub const WATCHED: u8 = 16;
    /// Every field of the child was read.
    pub const COMPLETE: u8 = 32;
}

/// The socket as it left SYN_RECV, or SYN_SENT.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// First unacknowledged sequence number, host byte order.
    pub snd_una: u32,
    /// Window of the peer, bytes, scaled; 0 before the ACK was taken in.
    pub snd_wnd: u32,
    /// Receive window, bytes.
    pub rcv_wnd: u32,
    /// Bytes.
    pub window_clamp: u32,
    /// Bytes.
    pub rcv_ssthresh: u32,
    /// Smoothed round-trip time, microseconds times 8; 0 when not measured.
    pub srtt_us8: u32,
    /// Receive buffer, bytes.
    pub rcvbuf: u32,
    /// Largest segment that the peer takes, bytes (`rx_opt.mss_clamp`).
    pub mss_clamp: u16,
    /// MSS that this host announced, bytes, less the 12 bytes that timestamps take in each
    /// segment where they are used (`tcp_init_transfer` comes after that subtraction).
    pub advmss: u16,
    /// Shift count of this host's windows (`rx_opt.rcv_wscale`).
    pub rcv_wscale: u8,
    /// Shift count of the peer's windows (`rx_opt.snd_wscale`).
    pub snd_wscale: u8,
    /// [`child_flags`].
    pub flags: u8,
    /// [`Outcome`].
    pub outcome: u8,
    /// `tcp_window_scaling` of the namespace, now.
    pub sysctl_window_scaling: u8,
    /// `tcp_timestamps` of the namespace, now.
    pub sysctl_timestamps: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

assert_layout!(Child, size 40, align 4, {
    snd_una: u32,
    snd_wnd: u32,
    rcv_wnd: u32,
    window_clamp: u32,
    rcv_ssthresh: u32,
    srtt_us8: u32,
    rcvbuf: u32,
    mss_clamp: u16,
    advmss: u16,
    rcv_wscale: u8,
    snd_wscale: u8,
    flags: u8,
    outcome: u8,
    sysctl_window_scaling: u8,
    sysctl_timestamps: u8,
    reserved: [u8; 2],
});

/// A connection left SYN_RECV, with everything that its verdict rests on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeRecord {
    /// Kind 1.
    pub header: Header,
    /// Which connection.
    pub flow: FlowKey,
    /// The socket.
    pub child: Child,
    /// 1 when `handshake` was found by flow, else it is all zero.
    pub record_found: u32,
    /// The handshake as it was seen; it may be of an earlier connection with the same addresses
    /// (compare sequence numbers).
    pub handshake: Handshake,
    /// What netfilter's SYN proxy told the peer, where the stack's SYN+ACK went to the proxy only;
    /// all zero when that was not seen. It is of this connection if its sequence number is
    /// [`Handshake::syn_ack`].
    pub proxy: ProxySynAck,
}

assert_layout!(HandshakeRecord, size 520, align 8, {
    header: Header,
    flow: FlowKey,
    child: Child,
    record_found: u32,
    handshake: Handshake,
    proxy: ProxySynAck,
});

/// A connection that looked damaged has ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedRecord {
    /// Kind 2.
    pub header: Header,
    /// Which connection.
    pub flow: FlowKey,
    /// Smoothed round-trip time, microseconds times 8.
    pub srtt_us8: u32,
    /// Received, bytes.
    pub bytes_received: u64,
    /// When it was established, nanoseconds of CLOCK_MONOTONIC.
    pub established_ktime_ns: u64,
    /// [`ROLE_SERVER`](crate::ROLE_SERVER) or [`ROLE_CLIENT`](crate::ROLE_CLIENT).
    pub role: u32,
    /// Zero.
    pub reserved: u32,
}

assert_layout!(ClosedRecord, size 88, align 8, {
    header: Header,
    flow: FlowKey,
    srtt_us8: u32,
    bytes_received: u64,
    established_ktime_ns: u64,
    role: u32,
    reserved: u32,
});

/// A socket under watch is about to choose its next window.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowRecord {
    /// Kind 3.
    pub header: Header,
    /// Which connection.
    pub flow: FlowKey,
    /// The window that was chosen for the previous segment, bytes (`tcp_sock.rcv_wnd`).
    pub rcv_wnd: u32,
    /// Smoothed round-trip time, microseconds times 8.
    pub srtt_us8: u32,
    /// Shift count that the socket uses now.
    pub rcv_wscale: u8,
    /// How many windows of this socket were recorded before.
    pub number: u8,
    /// 1 when this is the last that will be recorded.
    pub last: u8,
    /// Zero.
    pub reserved: u8,
    /// When the socket left SYN_RECV, nanoseconds of CLOCK_MONOTONIC.
    pub established_ktime_ns: u64,
}

assert_layout!(WindowRecord, size 80, align 8, {
    header: Header,
    flow: FlowKey,
    rcv_wnd: u32,
    srtt_us8: u32,
    rcv_wscale: u8,
    number: u8,
    last: u8,
    reserved: u8,
    established_ktime_ns: u64,
});

/// A suspect of `scan` is about to choose its next window, and something happened since the last
/// record of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgressRecord {
    /// Kind 4.
    pub header: Header,
    /// Which connection.
    pub flow: FlowKey,
    /// The next sequence number that is expected: all before it has come in, host byte order.
    pub rcv_nxt: u32,
    /// The acknowledgment number that the last window went out with (`tcp_sock.rcv_wup`).
    pub rcv_wup: u32,
    /// That window, bytes, before the shift.
    pub rcv_wnd: u32,
    /// The latest timestamp of this host that the peer has echoed, in milliseconds of
    /// CLOCK_MONOTONIC (`tcp_time_stamp`, include/net/tcp.h, 5.10); 0 without timestamps.
    pub rcv_tsecr: u32,
    /// First unacknowledged sequence number of this host, host byte order.
    pub snd_una: u32,
    /// Next sequence number of this host, host byte order.
    pub snd_nxt: u32,
    /// Smoothed round-trip time, microseconds times 8.
    pub srtt_us8: u32,
    /// How many records of this suspect were made before, lost ones included.
    pub number: u32,
    /// Shift count that the socket uses.
    pub rcv_wscale: u32,
}

assert_layout!(ProgressRecord, size 96, align 8, {
    header: Header,
    flow: FlowKey,
    rcv_nxt: u32,
    rcv_wup: u32,
    rcv_wnd: u32,
    rcv_tsecr: u32,
    snd_una: u32,
    snd_nxt: u32,
    srtt_us8: u32,
    number: u32,
    rcv_wscale: u32,
});

/// What the program keeps of a suspect; all zero to begin with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspect {
    /// As of the last record.
    pub rcv_nxt: u32,
    /// As of the last record.
    pub rcv_wup: u32,
    /// As of the last record.
    pub rcv_wnd: u32,
    /// The latest timestamp that the peer has echoed.
    pub rcv_tsecr: u32,
    /// Records made.
    pub seen: u32,
}

assert_layout!(Suspect, size 20, align 4, {
    rcv_nxt: u32,
    rcv_wup: u32,
    rcv_wnd: u32,
    rcv_tsecr: u32,
    seen: u32,
});
