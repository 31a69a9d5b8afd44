//! Records as the kernel's programs send them, for tests. Values that are alike in a healthy
//! connection differ here wherever they may, so that reading a neighbour shows.

mod opened;

pub use opened::{bare, opened, refused, repeated};

use core::mem::size_of;
use tcpwnd_common::{
    ABI_VERSION, Ack, Child, ClosedRecord, ConnectRecord, FlowKey, Handshake, HandshakeRecord,
    Header, Inputs, Kind, Outcome, ProgressRecord, ProxySynAck, ROLE_SERVER, SynAck, TcpOptions,
    WindowRecord, child_flags, proxy_flags, synack_flags,
};

/// When watching began, in all tests.
pub const SINCE: u64 = 1_000_000_000_000;
/// When the SYN+ACK left: 10 s later.
pub const SYNACK_AT: u64 = SINCE + 10_000_000_000;
/// Round-trip time of the handshake, nanoseconds.
pub const RTT_NS: u64 = 200_000_000;
/// Sequence number of the SYN+ACK: the last one, so that the next one is 0.
pub const ISN: u32 = u32::MAX;
/// TSval of the SYN+ACK.
pub const TSVAL: u32 = 0x1122_3344;
/// Shift count that the SYN offers.
pub const OFFERED: u8 = 9;

/// An option area: MSS 1460, SACK permitted, and what is asked for.
pub fn options(scale: Option<u8>, timestamps: Option<(u32, u32)>) -> TcpOptions {
    let mut bytes = vec![2, 4, 0x05, 0xb4, 4, 2];
    if let Some((tsval, tsecr)) = timestamps {
        bytes.extend([8, 10]);
        bytes.extend(tsval.to_be_bytes());
        bytes.extend(tsecr.to_be_bytes());
    }
    if let Some(scale) = scale {
        bytes.extend([1, 3, 3, scale]);
    }
    raw(&bytes)
}

/// An option area of these bytes.
pub fn raw(option_bytes: &[u8]) -> TcpOptions {
    let mut bytes = [0; 40];
    bytes[..option_bytes.len()].copy_from_slice(option_bytes);
    TcpOptions {
        len: option_bytes.len() as u8,
        present: 1,
        window: 502,
        bytes,
    }
}

/// The options of an ACK.
pub fn ack_options(timestamps: Option<(u32, u32)>) -> TcpOptions {
    let mut bytes = vec![];
    if let Some((tsval, tsecr)) = timestamps {
        bytes.extend([1, 1, 8, 10]);
        bytes.extend(tsval.to_be_bytes());
        bytes.extend(tsecr.to_be_bytes());
    }
    raw(&bytes)
}

/// An option area that was not read.
pub const ABSENT: TcpOptions = TcpOptions {
    len: 0,
    present: 0,
    window: 0,
    bytes: [0; 40],
};

/// A SYN+ACK that announces `scale`, packet and request alike.
pub fn synack(scale: Option<u8>, flags: u8) -> SynAck {
    let granted = scale.map_or(0, |_| synack_flags::WSCALE_OK);
    SynAck {
        ktime_ns: SYNACK_AT,
        isn: ISN,
        window_clamp: 102_400,
        rcv_wscale: scale.unwrap_or(0),
        snd_wscale: scale.map_or(0, |_| OFFERED),
        flags: flags | granted | synack_flags::TSTAMP_OK,
        kind: 0,
        options: options(scale, Some((TSVAL, 77))),
    }
}

/// Inputs with everything switched on.
pub fn inputs() -> Inputs {
    Inputs {
        listener: 70_707,
        cgroup: 4_321,
        rcvbuf: 204_800,
        window_clamp: 102_401,
        tcp_rmem_max: 6_291_456,
        route_window: 65_535,
        accept_queue_len: 3,
        accept_queue_limit: 50,
        syn_queue_len: 4,
        userlocks: 2,
        scaling_ratio: 128,
        adv_win_scale: 1,
        sysctl_window_scaling: 1,
        sysctl_timestamps: 1,
        complete: 1,
        present: 1,
        reserved: 0,
        rcvlowat: 1,
    }
}

const NO_INPUTS: Inputs = Inputs {
    listener: 0,
    cgroup: 0,
    rcvbuf: 0,
    window_clamp: 0,
    tcp_rmem_max: 0,
    route_window: 0,
    accept_queue_len: 0,
    accept_queue_limit: 0,
    syn_queue_len: 0,
    userlocks: 0,
    scaling_ratio: 0,
    adv_win_scale: 0,
    sysctl_window_scaling: 0,
    sysctl_timestamps: 0,
    complete: 0,
    present: 0,
    reserved: 0,
    rcvlowat: 0,
};

/// No SYN+ACK.
pub const NO_SYNACK: SynAck = SynAck {
    ktime_ns: 0,
    isn: 0,
    window_clamp: 0,
    rcv_wscale: 0,
    snd_wscale: 0,
    flags: 0,
    kind: 0,
    options: ABSENT,
};

/// No handshake: what a record without one holds.
pub const NO_HANDSHAKE: Handshake = Handshake {
    first: NO_SYNACK,
    last: NO_SYNACK,
    inputs: NO_INPUTS,
    cookie_inputs: NO_INPUTS,
    syn: ABSENT,
    ack: Ack {
        snd_una: 0,
        options: ABSENT,
    },
    synacks: 0,
    flags: 0,
    cookie_window_clamp: 0,
    syn_ack: 0,
    reserved: 0,
};

/// No SYN+ACK of a SYN proxy.
pub const NO_PROXY: ProxySynAck = ProxySynAck {
    ktime_ns: 0,
    isn: 0,
    synacks: 0,
    options: ABSENT,
    wscale: 0,
    flags: 0,
    reserved: [0; 2],
};

/// 10.9.0.1:9092 and 10.9.0.2:40000.
pub fn flow() -> FlowKey {
    let mapped = |last| std::net::Ipv4Addr::new(10, 9, 0, last).to_ipv6_mapped();
    FlowKey {
        local_addr: mapped(1).octets(),
        remote_addr: mapped(2).octets(),
        netns: 4_026_531_840,
        bound_ifindex: 0,
        local_port: 9092,
        remote_port: 40_000,
    }
}

/// A healthy connection of the normal path: 7 announced and used, [`OFFERED`] offered and used.
pub fn healthy() -> HandshakeRecord {
    let first = ISN.wrapping_add(1);
    HandshakeRecord {
        header: header(
            Kind::Handshake,
            size_of::<HandshakeRecord>(),
            SYNACK_AT + RTT_NS,
        ),
        flow: flow(),
        child: Child {
            snd_una: first,
            snd_wnd: 0,
            rcv_wnd: 65_536,
            window_clamp: 3_145_728,
            rcv_ssthresh: 65_495,
            srtt_us8: (RTT_NS / 1_000 * 8) as u32,
            rcvbuf: 131_072,
            mss_clamp: 1_448,
            advmss: 1_436,
            rcv_wscale: 7,
            snd_wscale: OFFERED,
            flags: child_flags::WSCALE_OK
                | child_flags::TSTAMP_OK
                | child_flags::SACK_OK
                | child_flags::COMPLETE,
            outcome: Outcome::Established as u8,
            sysctl_window_scaling: 1,
            sysctl_timestamps: 1,
            reserved: [0; 2],
        },
        record_found: 1,
        handshake: Handshake {
            first: synack(Some(7), 0),
            inputs: inputs(),
            syn: options(Some(OFFERED), Some((77, 0))),
            ack: Ack {
                snd_una: first,
                options: ack_options(Some((78, TSVAL))),
            },
            synacks: 1,
            ..NO_HANDSHAKE
        },
        proxy: NO_PROXY,
    }
}

/// The same by SYN cookie, with `advertised` in the SYN+ACK; cookies have no round-trip time yet.
pub fn cookie(advertised: u8, used: u8) -> HandshakeRecord {
    let mut record = healthy();
    record.handshake.first = synack(Some(advertised), synack_flags::COOKIE);
    record.handshake.flags = tcpwnd_common::handshake_flags::COOKIE_ACCEPTED;
    record.handshake.cookie_inputs = inputs();
    record.handshake.cookie_window_clamp = 102_401;
    record.child.rcv_wscale = used;
    record.child.srtt_us8 = 0;
    if advertised != used {
        record.child.flags |= child_flags::TRACKED;
    }
    record
}

/// Sequence number of the SYN proxy's SYN+ACK.
pub const PROXY_ISN: u32 = 0xc00c_1e00;
/// Round-trip time between the peer and the SYN proxy, nanoseconds.
pub const PROXY_RTT_NS: u64 = 50_000_000;
/// TSval of the SYN proxy's SYN+ACK: its low bits are what the peer offered.
pub const PROXY_TSVAL: u32 = 0x0055_6600 | OFFERED as u32;

/// A connection through netfilter's SYN proxy, whose rule announces `announced`; the stack
/// announces and uses `used`.
pub fn proxied(announced: Option<u8>, used: u8) -> HandshakeRecord {
    let mut record = healthy();
    record.child.rcv_wscale = used;
    // Between the proxy and the stack it takes no time.
    record.child.srtt_us8 = 8 * 30;
    record.handshake.first = synack(Some(used), synack_flags::PROXIED);
    record.handshake.syn = options(Some(OFFERED), Some((77, PROXY_TSVAL)));
    record.handshake.syn_ack = PROXY_ISN;
    record.proxy = ProxySynAck {
        ktime_ns: record.header.ktime_ns - PROXY_RTT_NS,
        isn: PROXY_ISN,
        synacks: 1,
        options: options(announced, Some((PROXY_TSVAL, 77))),
        wscale: announced.unwrap_or(0),
        flags: announced.map_or(0, |_| proxy_flags::WSCALE),
        reserved: [0; 2],
    };
    if announced != Some(used) {
        record.child.flags |= child_flags::TRACKED;
    }
    record
}

/// Takes scaling off the socket.
pub fn unscaled(record: &mut HandshakeRecord) {
    record.child.flags &= !child_flags::WSCALE_OK;
    record.child.rcv_wscale = 0;
    record.child.snd_wscale = 0;
    record.child.flags |= child_flags::TRACKED;
}

/// The end of a connection.
pub fn closed(of: &HandshakeRecord) -> ClosedRecord {
    ClosedRecord {
        header: header(
            Kind::Closed,
            size_of::<ClosedRecord>(),
            of.header.ktime_ns + 2_500_000_000,
        ),
        flow: of.flow,
        srtt_us8: 1_600_000,
        bytes_received: 123_456,
        established_ktime_ns: of.header.ktime_ns,
        role: ROLE_SERVER,
        reserved: 0,
    }
}

/// A window of a connection.
pub fn window(of: &HandshakeRecord, number: u8, last: u8) -> WindowRecord {
    WindowRecord {
        header: header(
            Kind::Window,
            size_of::<WindowRecord>(),
            of.header.ktime_ns + 1_000_000,
        ),
        flow: of.flow,
        rcv_wnd: 65_536,
        srtt_us8: 800_000,
        rcv_wscale: of.child.rcv_wscale,
        number,
        last,
        reserved: 0,
        established_ktime_ns: of.header.ktime_ns,
    }
}

fn header(kind: Kind, len: usize, ktime_ns: u64) -> Header {
    Header {
        version: ABI_VERSION,
        kind: kind as u16,
        len: len as u32,
        ktime_ns,
    }
}

/// A record of the ABI, which is plain memory without padding (asserted in tcpwnd-common).
pub trait Plain: Copy {}
impl Plain for HandshakeRecord {}
impl Plain for ConnectRecord {}
impl Plain for ClosedRecord {}
impl Plain for WindowRecord {}
impl Plain for ProgressRecord {}

/// The bytes of a record, as the kernel writes them.
pub fn bytes_of<T: Plain>(record: &T) -> Vec<u8> {
    let start = core::ptr::from_ref(record).cast::<u8>();
    // SAFETY: a record has no padding, so that each of its bytes is initialised.
    unsafe { core::slice::from_raw_parts(start, size_of::<T>()) }.to_vec()
}

/// The record that bytes are, read as memory.
pub fn from_bytes<T: Plain>(bytes: &[u8]) -> T {
    assert_eq!(bytes.len(), size_of::<T>());
    // SAFETY: the length is right, the read unaligned, and any bytes are a valid record.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}

/// Numbers that look random and are the same in every run (xorshift).
pub struct Random(pub u64);

impl Random {
    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = (self.next() >> 24) as u8;
        }
    }
}
