//! Counters that the programs keep and the agent reads through a memory mapping.
//!
//! One slot a CPU in an array map with `BPF_F_MMAPABLE`, so that reading costs no map system
//! call: those switch every kprobe program of their CPU off meanwhile
//! (`bpf_prog_active`, kernel/trace/bpf_trace.c), and 5.10 refuses them once capabilities are
//! gone.

use crate::layout::assert_layout;

macro_rules! numbered {
    ($(#[$meta:meta])* $enum:ident { $($(#[$doc:meta])* $name:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $enum { $($(#[$doc])* $name,)+ }

        impl $enum {
            /// All of them, in the order of the ABI.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Name in metrics and messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

numbered! {
    /// A hook, whatever mechanism carries it.
    Probe {
        /// Return of `tcp_make_synack`: a SYN+ACK was built.
        MakeSynack = "tcp_make_synack",
        /// Entry and return of `cookie_v4_check`.
        CookieV4Check = "cookie_v4_check",
        /// Entry and return of `cookie_v6_check`.
        CookieV6Check = "cookie_v6_check",
        /// Return of `__cookie_v4_check`.
        CookieV4Hash = "__cookie_v4_check",
        /// Return of `__cookie_v6_check`.
        CookieV6Hash = "__cookie_v6_check",
        /// Entry of `tcp_rcv_state_process`, for sockets in SYN_RECV and SYN_SENT only.
        RcvStateProcess = "tcp_rcv_state_process",
        /// Entry of `tcp_conn_request`: a SYN arrived.
        ConnRequest = "tcp_conn_request",
        /// Entry of `tcp_get_cookie_sock`: an ACK with a valid cookie arrived.
        GetCookieSock = "tcp_get_cookie_sock",
        /// Return of `tcp_check_req`: a packet of a handshake under way was dealt with.
        CheckReq = "tcp_check_req",
        /// `sock:inet_sock_set_state`, or `tcp_set_state` where that is missing.
        SetState = "inet_sock_set_state",
        /// `tcp_select_window` or `__tcp_select_window`, for sockets under watch only.
        SelectWindow = "tcp_select_window",
        /// A SYN+ACK of netfilter's SYN proxy leaves over IPv4: `ip_route_me_harder`.
        SynproxySynack = "synproxy_synack",
        /// The same over IPv6: `ip6_local_out`.
        SynproxySynackV6 = "synproxy_synack_ipv6",
    }
}

numbered! {
    /// What the programs count beside their runs.
    Counter {
        /// Passive connections that went from SYN_RECV to ESTABLISHED and passed the filter.
        /// With [`Counter::LeftSynRecv`] and [`Counter::Connected`] it makes
        /// [`Counter::HandshakesSent`] + [`Counter::HandshakesLost`].
        Established = "established",
        /// Connections that left SYN_RECV for another state and passed the filter; part of the
        /// same sum.
        LeftSynRecv = "left_syn_recv",
        /// Active connections that went from SYN_SENT to ESTABLISHED and passed the filter; part of
        /// the same sum.
        Connected = "connected",
        /// Active opens that went from SYN_SENT to CLOSE and passed the filter: refused, reset, timed
        /// out or given up. In no sum, for nothing was agreed that could be judged.
        ConnectsFailed = "connects_failed",
        /// Sockets that were restored (TCP_REPAIR) and passed the filter: no packet was exchanged, so
        /// they are no handshakes either.
        Restored = "restored",
        /// Handshake records that reached the transport.
        HandshakesSent = "handshakes_sent",
        /// Handshake records for which the transport had no room.
        HandshakesLost = "handshakes_lost",
        /// Handshakes that the filter left out.
        Filtered = "filtered",
        /// Handshakes without a record of their SYN+ACK.
        NoRecord = "no_record",
        /// Handshakes whose record was of another connection with the same addresses.
        StaleRecord = "stale_record",
        /// Children that the kernel threw away because another CPU had made one of the same
        /// request: never connections, so not handshakes either.
        DiscardedChildren = "discarded_children",
        /// Connections that were opened actively by both sides, which are left out.
        SimultaneousOpens = "simultaneous_opens",
        /// SYN+ACKs that could not be recorded because a field was unreadable.
        SynackUnreadable = "synack_unreadable",
        /// SYN+ACKs that could not be recorded because the table took no more.
        SynackNotStored = "synack_not_stored",
        /// Sockets whose flow could not be read when they changed state.
        SocketUnreadable = "socket_unreadable",
        /// Damaged connections whose end will not be seen: the table of open ones is full.
        OpenTableFull = "open_table_full",
        /// Damaged connections that could not be put under watch: that table is full.
        WatchTableFull = "watch_table_full",
        /// Ends of damaged connections that reached the transport.
        ClosedSent = "closed_sent",
        /// Ends of damaged connections for which the transport had no room.
        ClosedLost = "closed_lost",
        /// Windows of watched sockets that reached the transport.
        WindowsSent = "windows_sent",
        /// Windows of watched sockets for which the transport had no room.
        WindowsLost = "windows_lost",
        /// Listeners beyond the number that have counters of their own.
        ListenersNotCounted = "listeners_not_counted",
        /// A return probe found no entry probe's notes, or those of another call.
        EntryMissed = "entry_missed",
        /// Changes of state that the first of several programs did not see and another did.
        StoodIn = "stood_in",
    }
}

/// Number of probes.
pub const PROBE_COUNT: usize = Probe::ALL.len();
/// Number of counters.
pub const COUNTER_COUNT: usize = Counter::ALL.len();
/// Room in a slot; what is not used yet is zero.
const SLOT_COUNTERS: usize = 27;

/// The counters of one CPU, written by that CPU alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuCounters {
    /// Runs of the programs of each [`Probe`].
    pub runs: [u64; PROBE_COUNT],
    /// Each [`Counter`].
    pub counts: [u64; SLOT_COUNTERS],
}

const _: () = assert!(COUNTER_COUNT <= SLOT_COUNTERS);

assert_layout!(CpuCounters, size 320, align 8, {
    runs: [u64; PROBE_COUNT],
    counts: [u64; SLOT_COUNTERS],
});
