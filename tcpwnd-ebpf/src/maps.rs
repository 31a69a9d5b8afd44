//! The programs' maps. Sizes are defaults; the agent may set others before loading.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap};
use tcpwnd_common::{
    Connect, CpuCounters, FlowKey, Handshake, LISTENER_SLOTS as SLOTS, ListenerKey, ListenerSlot,
    ProxySynAck, SUSPECT_LIMIT, Suspect,
};

/// Flags of a map that the agent maps into its memory.
#[cfg(not(feature = "perf"))]
const MAPPED: u32 = aya_ebpf::bindings::BPF_F_MMAPABLE;
/// The same where there may be kernels that do not know that (before 5.5): the agent adds it for those
/// that do.
#[cfg(feature = "perf")]
const MAPPED: u32 = 0;

/// Handshakes under way, by flow. Least recently used ones are evicted without notice; pairing
/// by sequence number turns that into a counted `no_record`.
#[map]
pub static HANDSHAKES: LruHashMap<FlowKey, Handshake> = LruHashMap::with_max_entries(1 << 15, 0);

/// SYN+ACKs of netfilter's SYN proxy, by flow with `bound_ifindex` 0. The agent gives it entries
/// only where there is such a proxy.
#[map]
pub static PROXIED: LruHashMap<FlowKey, ProxySynAck> = LruHashMap::with_max_entries(1 << 10, 0);

/// Connections that this host is opening, by the address of their socket: their local port is
/// not known at the first change of state. An entry goes when the socket leaves SYN_SENT; should
/// that be missed, or the entry be evicted, sequence numbers tell.
#[map]
pub static CONNECTS: LruHashMap<u64, Connect> = LruHashMap::with_max_entries(1 << 15, 0);

/// A damaged connection that is open.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Open {
    /// When it was established, nanoseconds of CLOCK_MONOTONIC.
    pub established_ktime_ns: u64,
    /// Which connection.
    pub flow: FlowKey,
    /// `ROLE_SERVER` or `ROLE_CLIENT`.
    pub role: u32,
}

/// Damaged connections that are open, by the address of their socket: each close of the host
/// asks, and the address is at hand. Should a close be missed, the next one of a socket at the
/// same address tells of it.
#[map]
pub static OPEN: HashMap<u64, Open> = HashMap::with_max_entries(1 << 15, 0);

/// A socket whose next windows are to be seen.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Watch {
    /// When it left SYN_RECV, nanoseconds of CLOCK_MONOTONIC.
    pub established_ktime_ns: u64,
    /// Which connection.
    pub flow: FlowKey,
    /// Windows recorded so far.
    pub seen: u32,
    /// The window as of the last record, or as of the handshake, bytes.
    pub rcv_wnd: u32,
    /// Zero.
    pub reserved: u32,
}

/// Sockets under watch, by address: the window program runs for every window of the host and
/// must find out cheaply that a socket is none of these. The entry goes when its connection
/// closes; should that be missed, the ports tell that the address names another socket.
#[map]
pub static WATCH: HashMap<u64, Watch> = HashMap::with_max_entries(1 << 10, 0);

/// The connections that `scan --confirm` suspects; the agent puts them here and takes them out.
#[map]
pub static SUSPECTS: HashMap<FlowKey, Suspect> = HashMap::with_max_entries(SUSPECT_LIMIT, 0);

/// Their ports, the local one in the high half, both in network byte order: the way in which every
/// other socket of the host finds out cheaply that it is none of them.
#[map]
pub static SUSPECT_PORTS: HashMap<u32, u32> = HashMap::with_max_entries(SUSPECT_LIMIT, 0);

/// Slot of each listener.
#[map]
pub static LISTENERS: HashMap<ListenerKey, u32> = HashMap::with_max_entries(SLOTS, 0);

/// Slots that are taken; inserting is what takes one.
#[map]
pub static LISTENER_CLAIMS: HashMap<u32, u32> = HashMap::with_max_entries(SLOTS, 0);

/// Counters per listener, mapped into the agent's memory.
#[map]
pub static LISTENER_SLOTS: Array<ListenerSlot> = Array::with_max_entries(SLOTS, MAPPED);

/// Counters, one entry a CPU, mapped into the agent's memory.
#[map]
pub static COUNTERS: Array<CpuCounters> = Array::with_max_entries(1024, MAPPED);
