//! Records as the programs would send them, for tests of what comes after.

use tcpwnd_common::{
    ABI_VERSION, ClosedRecord, ConnectRecord, FlowKey, HandshakeRecord, Header, Inputs, Kind,
    ListenerKey, ListenerSlot, Outcome, ProgressRecord, ROLE_SERVER, TcpOptions, WindowRecord,
    child_flags, connect_flags, handshake_flags, synack_flags,
};
use tcpwnd_core::detect::window_scale::RmemMax;
use tcpwnd_core::engine::{Observation, Settings};
use tcpwnd_core::findings::Finding;
use tcpwnd_core::{Engine, Flow, scan};

use crate::commands::session::FLOW_LIMIT;

/// When watching began, nanoseconds of CLOCK_MONOTONIC.
pub const SINCE_NS: u64 = 1_000_000_000_000;

/// An engine that has watched for long.
pub fn engine() -> Engine {
    let rmem_max = |ktime_ns| {
        Some(RmemMax {
            ktime_ns,
            bytes: 212_992,
        })
    };
    Engine::new(Settings {
        watching_since_ktime_ns: SINCE_NS,
        rcvbuf_sets_clamp: false,
        sees_synproxy: false,
        flow_limit: FLOW_LIMIT,
    })
    .with_rmem_max(rmem_max(SINCE_NS), move || rmem_max(u64::MAX))
}

/// A record of a connection from 10.9.0.2 that took the cookie path where `advertised` differs
/// from `used`, and the normal path otherwise. From 1 to 7 it is of a kernel whose cookie path
/// ignores SO_RCVBUF. Its smoothed round-trip time is 200 ms.
pub fn handshake(local_port: u16, remote_port: u16, advertised: u8, used: u8) -> HandshakeRecord {
    // SAFETY: integers and arrays of them: all zero is a value of each.
    let mut record: HandshakeRecord = unsafe { std::mem::zeroed() };
    record.header = header(Kind::Handshake, size_of::<HandshakeRecord>());
    record.flow = flow(local_port, remote_port);
    record.record_found = 1;
    record.child.snd_una = 1001;
    record.child.rcv_wnd = 65_536;
    record.child.mss_clamp = 1460;
    record.child.srtt_us8 = 8 * 200_000;
    record.child.rcv_wscale = used;
    record.child.snd_wscale = 7;
    record.child.flags = child_flags::WSCALE_OK
        | child_flags::TRACKED
        | child_flags::WATCHED
        | child_flags::COMPLETE;
    record.child.outcome = Outcome::Established as u8;
    record.child.sysctl_window_scaling = 1;
    let handshake = &mut record.handshake;
    handshake.synacks = 1;
    handshake.first.isn = 1000;
    handshake.first.ktime_ns = record.header.ktime_ns - 200_000_000;
    handshake.first.rcv_wscale = advertised;
    handshake.first.snd_wscale = 7;
    handshake.first.flags = synack_flags::WSCALE_OK;
    handshake.first.options = window_scale(advertised);
    handshake.syn = window_scale(7);
    handshake.ack.snd_una = 1001;
    handshake.ack.options.present = 1;
    if advertised != used {
        handshake.first.flags |= synack_flags::COOKIE;
        handshake.flags = handshake_flags::COOKIE_ACCEPTED;
        handshake.inputs = inputs();
        handshake.cookie_inputs = inputs();
        handshake.first.window_clamp = 102_400;
        handshake.cookie_window_clamp = 65_535 << used;
    }
    record
}

/// A record of a connection from 10.9.0.2, whose SYN had no window scale.
pub fn unscaled(local_port: u16, remote_port: u16) -> HandshakeRecord {
    let mut record = handshake(local_port, remote_port, 0, 0);
    let handshake = &mut record.handshake;
    for options in [&mut handshake.syn, &mut handshake.first.options] {
        // The maximum segment size stays.
        options.len = 4;
    }
    handshake.first.flags &= !synack_flags::WSCALE_OK;
    handshake.first.snd_wscale = 0;
    record.child.flags &= !child_flags::WSCALE_OK;
    record.child.snd_wscale = 0;
    record
}

/// A record of a connection that was opened from 10.9.0.1 to 10.9.0.2, whose server granted the window
/// scale 7, or nothing at all. Its smoothed round-trip time is 200 ms.
pub fn opened(local_port: u16, remote_port: u16, granted: bool) -> ConnectRecord {
    let socket = handshake(local_port, remote_port, 7, 7);
    // SAFETY: as above.
    let mut record: ConnectRecord = unsafe { std::mem::zeroed() };
    record.header = header(Kind::Connect, size_of::<ConnectRecord>());
    record.flow = socket.flow;
    record.child = socket.child;
    record.child.flags &= !child_flags::WATCHED;
    record.rcv_nxt = 501;
    record.connect.seq = 500;
    record.connect.acknowledged = 1;
    record.connect.rcv_wscale = 7;
    record.connect.tcp_flags = 0x12;
    record.connect.begun_window_scaling = 1;
    record.connect.begun_timestamps = 1;
    record.connect.flags = connect_flags::BEGUN | connect_flags::ANSWERED;
    record.connect.options = window_scale(7);
    if !granted {
        record.connect.options.len = 4;
        record.child.flags &= !child_flags::WSCALE_OK;
        record.child.rcv_wscale = 0;
        record.child.snd_wscale = 0;
        record.child.window_clamp = 65_535;
    }
    record
}

/// The end of the connection of `record`, `after_ns` later.
pub fn closed(record: &HandshakeRecord, after_ns: u64) -> ClosedRecord {
    // SAFETY: as above.
    let mut closed: ClosedRecord = unsafe { std::mem::zeroed() };
    closed.header = header(Kind::Closed, size_of::<ClosedRecord>());
    closed.header.ktime_ns = record.header.ktime_ns + after_ns;
    closed.flow = record.flow;
    closed.established_ktime_ns = record.header.ktime_ns;
    closed.role = ROLE_SERVER;
    closed
}

/// The first window of the connection of `record`, sent as its socket shifts it.
pub fn window(record: &HandshakeRecord) -> WindowRecord {
    WindowRecord {
        header: header(Kind::Window, size_of::<WindowRecord>()),
        flow: record.flow,
        rcv_wnd: record.child.rcv_wnd,
        srtt_us8: 0,
        rcv_wscale: record.child.rcv_wscale,
        number: 0,
        last: 0,
        reserved: 0,
        established_ktime_ns: record.header.ktime_ns,
    }
}

/// A listener with a full queue and as many cookies as given.
pub fn listener(port: u16, netns: u32, cookies: u64) -> ListenerSlot {
    ListenerSlot {
        key: ListenerKey {
            addr: [0; 16],
            netns,
            port,
            reserved: 0,
        },
        synacks: cookies + 10,
        cookies_sent: cookies,
        cookies_valid: cookies,
        cookies_rejected: 1,
        cookies_accepted: cookies,
        overflows: cookies + 1,
        accept_queue_len: 51,
        accept_queue_limit: 50,
        syn_queue_len: 7,
        receive_buffer: 204_800,
        receive_buffer_locked: 1,
        drops: 3,
    }
}

/// What the engine makes of a record.
pub fn ingest<T: Copy>(engine: &mut Engine, record: &T) -> Observation {
    engine.ingest(bytes_of(record)).unwrap()
}

fn bytes_of<T: Copy>(record: &T) -> &[u8] {
    // SAFETY: records have no padding (asserted in tcpwnd-common), so every byte is initialised.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(record).cast::<u8>(), size_of::<T>()) }
}

/// The finding that the engine makes of a handshake of either role.
pub fn finding<T: Copy>(engine: &mut Engine, record: &T) -> Finding {
    match ingest(engine, record) {
        Observation::Handshake(finding) => *finding,
        other => panic!("{other:?}"),
    }
}

fn header(kind: Kind, len: usize) -> Header {
    Header {
        version: ABI_VERSION,
        kind: kind as u16,
        len: u32::try_from(len).unwrap(),
        ktime_ns: SINCE_NS + 3_600_000_000_000,
    }
}

fn flow(local_port: u16, remote_port: u16) -> FlowKey {
    let mapped = |last| {
        std::net::Ipv4Addr::new(10, 9, 0, last)
            .to_ipv6_mapped()
            .octets()
    };
    FlowKey {
        local_addr: mapped(1),
        remote_addr: mapped(2),
        netns: 4_026_531_840,
        bound_ifindex: 0,
        local_port,
        remote_port,
    }
}

fn window_scale(shift: u8) -> TcpOptions {
    let mut options = TcpOptions {
        len: 8,
        present: 1,
        window: 64_240,
        bytes: [0; 40],
    };
    options.bytes[..8].copy_from_slice(&[2, 4, 0x05, 0xb4, 1, 3, 3, shift]);
    options
}

fn inputs() -> Inputs {
    // SAFETY: as above.
    let mut inputs: Inputs = unsafe { std::mem::zeroed() };
    inputs.listener = 70_707;
    inputs.scaling_ratio = 128;
    inputs.rcvbuf = 204_800;
    inputs.userlocks = 2;
    inputs.tcp_rmem_max = 6_291_456;
    inputs.sysctl_window_scaling = 1;
    inputs.complete = 1;
    inputs.present = 1;
    inputs
}

/// Inode number of a socket of this process.
pub fn inode(listener: &std::net::TcpListener) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let path = format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(listener)
    );
    std::fs::metadata(path).unwrap().ino()
}

/// A scan of a broker with Kafka's defaults, whose connections have these remote ports and use
/// these scales: 1 is what it would announce.
pub fn scan(connections: &[(u16, u8)]) -> scan::Scan {
    let info = |used: u8| {
        let mut bytes = [0; 104];
        // Scaling and timestamps.
        (bytes[5], bytes[6]) = (5, used << 4 | 7);
        for (at, value) in [(16, 1_448_u32), (60, 1_500)] {
            bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        scan::TcpInfo::parse(&bytes).unwrap()
    };
    let namespace = scan::Namespace {
        settings: tcpwnd_core::risk::Settings {
            tcp_rmem_default: Some(131_072),
            tcp_rmem_max: Some(6_291_456),
            rmem_max: Some(212_992),
            ..Default::default()
        },
        listeners: vec![scan::Listener {
            addr: std::net::Ipv6Addr::UNSPECIFIED.into(),
            port: 9092,
            ifindex: 0,
            only_v6: false,
            rcvbuf: Some(204_800),
        }],
        sockets: connections
            .iter()
            .map(|(port, used)| scan::Socket {
                flow: Flow(flow(9092, *port)),
                cookie: u64::from(*port),
                info: info(*used),
            })
            .collect(),
    };
    scan::scan(&namespace, |_| true)
}

/// A settled suspect: a mismatch is from 1 to 7.
pub fn settled(verdict: scan::Outcome) -> scan::Settled {
    let mismatch = verdict == scan::Outcome::Mismatch;
    scan::Settled {
        verdict,
        advertised: mismatch.then_some(1),
        factor: mismatch.then_some(64.0),
        consistent: vec![1],
        stops_at_edge: 6,
        window_sizes: 3,
        other_stops: 0,
        bytes: 6_144,
        why: None,
    }
}

/// The `number`-th record of a suspect with this remote port, to which 100 bytes come in between
/// two of them.
pub fn progress(remote_port: u16, number: u32) -> Vec<u8> {
    let record = ProgressRecord {
        header: Header {
            ktime_ns: SINCE_NS + u64::from(number) * 1_000_000,
            ..header(Kind::Progress, size_of::<ProgressRecord>())
        },
        flow: flow(9092, remote_port),
        rcv_nxt: 1_000 + number * 100,
        rcv_wup: 1_000,
        rcv_wnd: 65_536,
        rcv_tsecr: 0,
        snd_una: 1,
        snd_nxt: 1,
        srtt_us8: 8_000,
        number,
        rcv_wscale: 7,
    };
    bytes_of(&record).to_vec()
}
