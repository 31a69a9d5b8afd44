//! What is known of a handshake before it is judged: the value of the map by flow, and the
//! greater part of the record that is sent.

use crate::MAX_TCP_OPTIONS;
use crate::layout::assert_layout;

/// The option area of a TCP header, copied as it was on the wire and parsed in user space.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Valid bytes, 0 to 40.
    pub len: u8,
    /// 1 when a header was read, else `len` says nothing.
    pub present: u8,
    /// Window field of the header, host byte order, unscaled.
    pub window: u16,
    /// The options.
    pub bytes: [u8; MAX_TCP_OPTIONS],
}

assert_layout!(TcpOptions, size 44, align 2, {
    len: u8,
    present: u8,
    window: u16,
    bytes: [u8; MAX_TCP_OPTIONS],
});

/// Bits of [`SynAck::flags`].
pub mod synack_flags {
    /// The SYN+ACK is a SYN cookie (`request_sock.syncookie`, or type 2 of `tcp_make_synack`).
    pub const COOKIE: u8 = 1;
    /// Built for the child of a Fast Open request, not for a listener.
    pub const FAST_OPEN: u8 = 2;
    /// The request carries the window scale option (`inet_request_sock.wscale_ok`).
    pub const WSCALE_OK: u8 = 4;
    /// The request carries timestamps (`inet_request_sock.tstamp_ok`).
    pub const TSTAMP_OK: u8 = 8;
    /// The SYN that it answers is a SYN proxy's, which has answered the peer itself: see
    /// [`Handshake::syn_ack`](super::Handshake::syn_ack).
    pub const PROXIED: u8 = 16;
}

/// A SYN+ACK as `tcp_make_synack` returned it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynAck {
    /// When, in nanoseconds of CLOCK_MONOTONIC; 0 when there was none.
    pub ktime_ns: u64,
    /// Its sequence number, host byte order.
    pub isn: u32,
    /// Window clamp of the request, bytes.
    pub window_clamp: u32,
    /// Shift count that the request announces (`inet_request_sock.rcv_wscale`).
    pub rcv_wscale: u8,
    /// Shift count that the peer announced (`inet_request_sock.snd_wscale`).
    pub snd_wscale: u8,
    /// [`synack_flags`].
    pub flags: u8,
    /// Argument `synack_type` of `tcp_make_synack`.
    pub kind: u8,
    /// The options that left, read from the packet.
    pub options: TcpOptions,
}

assert_layout!(SynAck, size 64, align 8, {
    ktime_ns: u64,
    isn: u32,
    window_clamp: u32,
    rcv_wscale: u8,
    snd_wscale: u8,
    flags: u8,
    kind: u8,
    options: TcpOptions,
});

/// Bits of [`ProxySynAck::flags`].
pub mod proxy_flags {
    /// It carries a window scale, as its last option.
    pub const WSCALE: u8 = 1;
    /// A later one of the same sequence number said something else about windows.
    pub const DIFFER: u8 = 2;
}

/// A SYN+ACK that netfilter's SYN proxy on this host sent to the peer, in place of the stack's.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxySynAck {
    /// When the first one of this sequence number left, nanoseconds of CLOCK_MONOTONIC; 0 when
    /// none is known.
    pub ktime_ns: u64,
    /// Its sequence number, host byte order.
    pub isn: u32,
    /// SYN+ACKs of this sequence number.
    pub synacks: u32,
    /// The first one's options, read from the packet.
    pub options: TcpOptions,
    /// Shift count that it announces; valid with [`proxy_flags::WSCALE`].
    pub wscale: u8,
    /// [`proxy_flags`].
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

assert_layout!(ProxySynAck, size 64, align 8, {
    ktime_ns: u64,
    isn: u32,
    synacks: u32,
    options: TcpOptions,
    wscale: u8,
    flags: u8,
    reserved: [u8; 2],
});

/// What the window scale is computed from (`tcp_select_initial_window`), as of one moment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// Inode number of the listener's socket: unlike its address it is not used again for the
    /// next listener (`get_next_ino`, fs/inode.c).
    pub listener: u64,
    /// Id of the cgroup that the listener was made in, 0 where the kernel does not tell.
    pub cgroup: u64,
    /// Receive buffer of the listener, bytes (`sk_rcvbuf`).
    pub rcvbuf: u32,
    /// Window clamp of the listener, bytes (`tcp_sock.window_clamp`).
    pub window_clamp: u32,
    /// `tcp_rmem[2]` of its namespace, bytes.
    pub tcp_rmem_max: u32,
    /// Window metric of the route, bytes; 0 for none.
    pub route_window: u32,
    /// Accept queue: length and limit.
    pub accept_queue_len: u32,
    /// Limit of the accept queue.
    pub accept_queue_limit: u32,
    /// SYN queue: length.
    pub syn_queue_len: u32,
    /// `sk_userlocks`: bit 1 is SOCK_RCVBUF_LOCK.
    pub userlocks: u8,
    /// `tcp_sock.scaling_ratio`, in 1/256; 0 where the kernel has none.
    pub scaling_ratio: u8,
    /// `tcp_adv_win_scale`, where there is no scaling ratio.
    pub adv_win_scale: i8,
    /// `tcp_window_scaling` of the namespace.
    pub sysctl_window_scaling: u8,
    /// `tcp_timestamps` of the namespace.
    pub sysctl_timestamps: u8,
    /// 1 when every field was read.
    pub complete: u8,
    /// 1 when anything at all was read.
    pub present: u8,
    /// Zero.
    pub reserved: u8,
    /// SO_RCVLOWAT of the listener, bytes (`sk_rcvlowat`); setting it may change the receive
    /// buffer and the window clamp (`tcp_set_rcvlowat`, net/ipv4/tcp.c).
    pub rcvlowat: u32,
}

assert_layout!(Inputs, size 56, align 8, {
    listener: u64,
    cgroup: u64,
    rcvbuf: u32,
    window_clamp: u32,
    tcp_rmem_max: u32,
    route_window: u32,
    accept_queue_len: u32,
    accept_queue_limit: u32,
    syn_queue_len: u32,
    userlocks: u8,
    scaling_ratio: u8,
    adv_win_scale: i8,
    sysctl_window_scaling: u8,
    sysctl_timestamps: u8,
    complete: u8,
    present: u8,
    reserved: u8,
    rcvlowat: u32,
});

/// The ACK of a handshake, as `tcp_rcv_state_process` got it in SYN_RECV.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// `snd_una` of the child then, host byte order: the SYN+ACK's sequence number plus 1.
    pub snd_una: u32,
    /// Its window and options.
    pub options: TcpOptions,
}

assert_layout!(Ack, size 48, align 4, { snd_una: u32, options: TcpOptions });

/// Bits of [`Handshake::flags`].
pub mod handshake_flags {
    /// A later SYN+ACK of the same sequence number differed from the first: both are kept.
    pub const SYNACKS_DIFFER: u32 = 1;
    /// `cookie_v4_check` or `cookie_v6_check` made the child.
    pub const COOKIE_ACCEPTED: u32 = 2;
    /// Both sides opened actively; there is no SYN+ACK of a listener.
    pub const SIMULTANEOUS: u32 = 4;
    /// [`Handshake::last`](super::Handshake::last) is a SYN+ACK of an earlier sequence number. A
    /// SYN cookie stays valid for a minute or two, so the peer may still answer that one.
    /// Excludes [`SYNACKS_DIFFER`].
    pub const PREVIOUS_KEPT: u32 = 8;
    /// A BPF program made the request (`bpf_sk_assign_tcp_reqsk`): of the SYN+ACK only the
    /// sequence number is known, from its ACK.
    pub const BPF_REQUEST: u32 = 16;
    /// The stack took a SYN cookie in, of which it knows no SYN+ACK, at a listener for which it has sent
    /// none: somebody else made it. Of the SYN+ACK only the sequence number is known, from its ACK.
    pub const FOREIGN_COOKIE: u32 = 32;
    /// Marks: nothing else is known of the handshake.
    pub const MARKS: u32 = BPF_REQUEST | FOREIGN_COOKIE;
}

/// A handshake that is under way.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The first SYN+ACK of this sequence number.
    pub first: SynAck,
    /// The last one that differed from the first in a scale or an option, or, with
    /// `PREVIOUS_KEPT`, the first one of the sequence number before.
    pub last: SynAck,
    /// What the first one's scale was computed from.
    pub inputs: Inputs,
    /// What the child's scale was computed from, where a SYN cookie made it.
    pub cookie_inputs: Inputs,
    /// Options of the SYN, from the packet that `tcp_make_synack` got.
    pub syn: TcpOptions,
    /// The ACK.
    pub ack: Ack,
    /// SYN+ACKs of this sequence number.
    pub synacks: u32,
    /// [`handshake_flags`].
    pub flags: u32,
    /// Window clamp that the cookie path computed for the child, bytes; 0 where it was not read.
    pub cookie_window_clamp: u32,
    /// The acknowledgement number of the SYN, host byte order; 0 where the SYN was not seen.
    ///
    /// Without the flag ACK it means nothing (RFC 9293, section 3.1), and stacks leave it 0.
    /// netfilter's SYN proxy puts the sequence number there of the SYN+ACK that it sent to the
    /// peer (`synproxy_send_server_syn`, net/netfilter/nf_synproxy_core.c, 5.10 to 7.3).
    pub syn_ack: u32,
    /// Zero.
    pub reserved: u32,
}

assert_layout!(Handshake, size 352, align 8, {
    first: SynAck,
    last: SynAck,
    inputs: Inputs,
    cookie_inputs: Inputs,
    syn: TcpOptions,
    ack: Ack,
    synacks: u32,
    flags: u32,
    cookie_window_clamp: u32,
    syn_ack: u32,
    reserved: u32,
});
