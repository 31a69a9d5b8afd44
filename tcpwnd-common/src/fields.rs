//! Where the kernel keeps what the programs read: one table of field references.
//!
//! The agent resolves every entry from the running kernel's BTF and injects the table before
//! the programs are loaded. Rust has no CO-RE relocations; this is the replacement.

use crate::layout::assert_layout;

/// Position of a field inside its struct.
///
/// `byte` is the byte that holds the field's first bit and `bit` (0 to 7) that bit's place in
/// it, so that a flag inside a bit field and a plain integer are read in the same way. A `width`
/// of 0 means that this kernel has no such field.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldRef {
    /// Offset from the beginning of the struct, in bytes.
    pub byte: u16,
    /// Offset of the first bit inside that byte, least significant bit first, 0 to 7.
    pub bit: u8,
    /// Width in bits; 0 when the field does not exist.
    pub width: u8,
}

assert_layout!(FieldRef, size 4, align 2, { byte: u16, bit: u8, width: u8 });

impl FieldRef {
    /// The reference of a field that this kernel does not have.
    pub const ABSENT: Self = Self {
        byte: 0,
        bit: 0,
        width: 0,
    };

    /// Whether this kernel has the field.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.width != 0
    }
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $path:literal,)+) => {
        /// A kernel field that the programs read. The order is the ABI.
        ///
        /// Each carries its path as [`Field::path`]: struct, then members through embedded
        /// structs and unions, anonymous ones left out.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Field { $($(#[$doc])* $name,)+ }

        impl Field {
            /// Every field, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// `struct.member[.member]` as the kernel's source names it; an index selects an
            /// element of an array.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)+ }
            }
        }
    };
}

fields! {
    /// u16 in host order: AF_INET or AF_INET6.
    Family = "sock_common.skc_family",
    /// u8: TCP state.
    State = "sock_common.skc_state",
    /// u16 in network order: the peer's port.
    RemotePort = "sock_common.skc_dport",
    /// u16 in host order: the local port; 0 once the port was released.
    LocalPort = "sock_common.skc_num",
    /// u32 in network order.
    RemoteAddr4 = "sock_common.skc_daddr",
    /// u32 in network order.
    LocalAddr4 = "sock_common.skc_rcv_saddr",
    /// 16 bytes in network order; absent without CONFIG_IPV6.
    RemoteAddr6 = "sock_common.skc_v6_daddr",
    /// 16 bytes in network order; absent without CONFIG_IPV6.
    LocalAddr6 = "sock_common.skc_v6_rcv_saddr",
    /// i32: interface that the socket is bound to.
    BoundIfindex = "sock_common.skc_bound_dev_if",
    /// Pointer to the network namespace.
    Net = "sock_common.skc_net.net",
    /// u32: inode number of the namespace.
    NetInum = "net.ns.inum",
    /// i32, bytes: the largest receive buffer that autotuning may choose.
    NetTcpRmemMax = "net.ipv4.sysctl_tcp_rmem[2]",
    /// u8 (int on 5.10).
    NetTcpWindowScaling = "net.ipv4.sysctl_tcp_window_scaling",
    /// u8 (int on 5.10).
    NetTcpTimestamps = "net.ipv4.sysctl_tcp_timestamps",
    /// Signed, 8 or 32 bits; without effect where [`Field::ScalingRatio`] exists.
    NetTcpAdvWinScale = "net.ipv4.sysctl_tcp_adv_win_scale",
    /// u16: IPPROTO_TCP, or IPPROTO_MPTCP (262).
    Protocol = "sock.sk_protocol",
    /// i32, bytes.
    RcvBuf = "sock.sk_rcvbuf",
    /// 4 or 8 bits: SOCK_SNDBUF_LOCK (1), SOCK_RCVBUF_LOCK (2), ...
    UserLocks = "sock.sk_userlocks",
    /// i32, bytes: SO_RCVLOWAT.
    RcvLowat = "sock.sk_rcvlowat",
    /// Pointer to the `struct socket` of a file descriptor; 0 once that was closed.
    Socket = "sock.sk_socket",
    /// u64: inode number of a `struct socket`, which lies inside this struct.
    SocketInode = "socket_alloc.vfs_inode.i_ino",
    /// Pointer to the cgroup that a socket was made in. Before 5.15 two flags in the lowest bits
    /// say that it is none.
    SockCgroup = "sock.sk_cgrp_data.cgroup",
    /// Pointer to the directory of a cgroup.
    CgroupNode = "cgroup.kn",
    /// u64: id of a directory of cgroupfs, which is its inode number.
    NodeId = "kernfs_node.id",
    /// u32: length of a listener's accept queue.
    AckBacklog = "sock.sk_ack_backlog",
    /// u32: limit of a listener's accept queue.
    MaxAckBacklog = "sock.sk_max_ack_backlog",
    /// u32: packets dropped at a socket.
    Drops = "sock.sk_drops",
    /// Pointer to the route of a connected socket.
    DstCache = "sock.sk_dst_cache",
    /// Pointer with flags in the two lowest bits: the route's metrics.
    DstMetrics = "dst_entry._metrics",
    /// u16 in network order: the local port, kept after the port was released.
    InetSport = "inet_sock.inet_sport",
    /// i32: length of a listener's SYN queue.
    SynQueueLen = "inet_connection_sock.icsk_accept_queue.qlen",
    /// u8: scale of the peer's windows, as the request has it.
    ReqSndWscale = "inet_request_sock.snd_wscale",
    /// u8: scale of this host's windows, as the SYN+ACK announces it.
    ReqRcvWscale = "inet_request_sock.rcv_wscale",
    /// Flag: the SYN+ACK carries the window scale option.
    ReqWscaleOk = "inet_request_sock.wscale_ok",
    /// Flag: the SYN+ACK carries timestamps.
    ReqTstampOk = "inet_request_sock.tstamp_ok",
    /// u32: initial sequence number of the SYN+ACK, host order.
    ReqSntIsn = "tcp_request_sock.snt_isn",
    /// Pointer to the listener that a request belongs to.
    ReqListener = "request_sock.rsk_listener",
    /// Flag: this SYN+ACK is a SYN cookie; absent before 4.4.
    ReqSyncookie = "request_sock.syncookie",
    /// u32, bytes: window clamp of the request.
    ReqWindowClamp = "sock_common.skc_window_clamp",
    /// Flag: the socket negotiated timestamps.
    TstampOk = "tcp_sock.rx_opt.tstamp_ok",
    /// Flag: the socket negotiated window scaling.
    WscaleOk = "tcp_sock.rx_opt.wscale_ok",
    /// Flag: the socket negotiated selective acknowledgements (3 bits on some kernels).
    SackOk = "tcp_sock.rx_opt.sack_ok",
    /// Flag: the socket is being restored (TCP_REPAIR), without packets.
    Repair = "tcp_sock.repair",
    /// u4: the socket shifts the peer's windows by this.
    SndWscale = "tcp_sock.rx_opt.snd_wscale",
    /// u4: the socket shifts its own windows by this.
    RcvWscale = "tcp_sock.rx_opt.rcv_wscale",
    /// u16, bytes: largest segment that the peer takes.
    MssClamp = "tcp_sock.rx_opt.mss_clamp",
    /// u16, bytes: the MSS that this host announced.
    AdvMss = "tcp_sock.advmss",
    /// u32: first unacknowledged sequence number, host order.
    SndUna = "tcp_sock.snd_una",
    /// u32, bytes: window of the peer, scaled.
    SndWnd = "tcp_sock.snd_wnd",
    /// u32, bytes: window chosen for the last segment.
    RcvWnd = "tcp_sock.rcv_wnd",
    /// u32: next sequence number that is expected, host order.
    RcvNxt = "tcp_sock.rcv_nxt",
    /// u32: acknowledgment number that the last window went out with, host order.
    RcvWup = "tcp_sock.rcv_wup",
    /// u32: timestamp that the last segment echoed, less this socket's offset.
    RcvTsecr = "tcp_sock.rx_opt.rcv_tsecr",
    /// u32: next sequence number to be sent, host order.
    SndNxt = "tcp_sock.snd_nxt",
    /// u32, bytes.
    WindowClamp = "tcp_sock.window_clamp",
    /// u32, bytes.
    RcvSsthresh = "tcp_sock.rcv_ssthresh",
    /// u32: smoothed round-trip time in microseconds, times 8.
    SrttUs = "tcp_sock.srtt_us",
    /// u64, bytes.
    BytesReceived = "tcp_sock.bytes_received",
    /// u8: share of the receive buffer that becomes window, in 1/256; absent before 6.6.
    ScalingRatio = "tcp_sock.scaling_ratio",
    /// Pointer to the buffer of a packet.
    SkbHead = "sk_buff.head",
    /// u16: offset of the TCP header from the buffer's beginning.
    SkbTransportHeader = "sk_buff.transport_header",
    /// u16: offset of the IP header from the buffer's beginning.
    SkbNetworkHeader = "sk_buff.network_header",
}

/// Number of entries in the table.
pub const FIELD_COUNT: usize = Field::ALL.len();

/// The table as it is injected into the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldTable {
    /// One reference a [`Field`], in the order of [`Field::ALL`].
    pub refs: [FieldRef; FIELD_COUNT],
}

impl FieldTable {
    /// A table of fields that do not exist.
    pub const ABSENT: Self = Self {
        refs: [FieldRef::ABSENT; FIELD_COUNT],
    };

    /// The reference of `field`.
    #[must_use]
    pub const fn get(&self, field: Field) -> FieldRef {
        self.refs[field as usize]
    }
}
