//! What the verdict about a connection that this host accepted rests on, as it is shown.

use crate::detect::window_scale::{self, Paired, RmemMaxHistory};
use crate::tcp_options::Options;
use serde::Serialize;
use tcpwnd_common::{
    Child, HandshakeRecord, Inputs, ProxySynAck, SynAck, child_flags, handshake_flags, synack_flags,
};

/// Everything that was read of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AcceptedEvidence {
    /// The first SYN+ACK of this sequence number.
    pub synack: Option<SynAckEvidence>,
    /// The last one that differed from it.
    pub second_synack: Option<SynAckEvidence>,
    /// The SYN+ACK that netfilter's SYN proxy sent to the peer; all others are between that and the
    /// stack then.
    pub proxy_synack: Option<ProxySynAckEvidence>,
    /// The SYN.
    pub syn: Option<SynEvidence>,
    /// The ACK.
    pub ack: Option<AckEvidence>,
    /// The socket.
    pub child: ChildEvidence,
    /// What the first SYN+ACK's shift count was computed from.
    pub inputs: Option<InputsEvidence>,
    /// What the socket's was computed from, where a SYN cookie made it.
    pub cookie_inputs: Option<InputsEvidence>,
}

/// A SYN+ACK.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SynAckEvidence {
    /// Sequence number.
    pub seq: u32,
    /// Its header was read; else what follows of its options says nothing.
    pub readable: bool,
    /// Shift count of the packet; `None` without the option.
    pub window_scale: Option<u8>,
    /// Shift count of the request it was built from; `None` without.
    pub request_window_scale: Option<u8>,
    /// It carried timestamps.
    pub timestamps: bool,
    /// The timestamp it carried.
    pub tsval: Option<u32>,
    /// It permitted selective acknowledgements.
    pub sack: bool,
    /// Maximum segment size, bytes.
    pub mss: Option<u16>,
    /// It was a SYN cookie.
    pub cookie: bool,
    /// SYN+ACKs of this sequence number, this one and the others, as far as they are known.
    pub count: u32,
}

/// A SYN+ACK of a SYN proxy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ProxySynAckEvidence {
    /// Sequence number.
    pub seq: u32,
    /// Shift count of the packet; `None` without the option.
    pub window_scale: Option<u8>,
    /// The timestamp it carried; its low bits are what the peer's SYN offered.
    pub tsval: Option<u32>,
    /// It permitted selective acknowledgements.
    pub sack: bool,
    /// Maximum segment size, bytes.
    pub mss: Option<u16>,
    /// SYN+ACKs of this sequence number.
    pub count: u32,
}

/// A SYN.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SynEvidence {
    /// Shift count as it is used, at most 14; `None` without the option.
    pub window_scale: Option<u8>,
    /// It carried timestamps.
    pub timestamps: bool,
    /// It permitted selective acknowledgements.
    pub sack: bool,
    /// Maximum segment size, bytes.
    pub mss: Option<u16>,
    /// Its acknowledgement number, 0 but for a SYN proxy's: the sequence number of the SYN+ACK that
    /// the peer got.
    pub ack: u32,
}

/// The ACK of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AckEvidence {
    /// It carried timestamps.
    pub timestamps: bool,
    /// The timestamp it echoed.
    pub tsecr: Option<u32>,
}

/// The socket as it left SYN_RECV, or SYN_SENT.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChildEvidence {
    /// It scales windows.
    pub window_scaling: bool,
    /// Shift count of this host's windows.
    pub rcv_wscale: u8,
    /// Shift count of the peer's windows.
    pub snd_wscale: u8,
    /// It uses timestamps.
    pub timestamps: bool,
    /// It uses selective acknowledgements.
    pub sack: bool,
    /// Receive window, bytes.
    pub rcv_wnd: u32,
    /// Window clamp, bytes.
    pub window_clamp: u32,
    /// Largest segment that the peer takes, bytes.
    pub mss: u16,
}

/// What a window scale is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct InputsEvidence {
    /// Inode number of the listener's socket, as in /proc/PID/fd.
    pub listener: u64,
    /// Receive buffer of the listener, bytes.
    pub rcvbuf: u32,
    /// SO_RCVBUF was set on it.
    pub rcvbuf_locked: bool,
    /// SO_RCVLOWAT of the listener, bytes.
    pub rcvlowat: u32,
    /// Window clamp of the listener, bytes.
    pub window_clamp: u32,
    /// The part of the receive buffer that becomes window, bytes (`tcp_full_space`).
    pub full_space: u32,
    /// How much of a buffer becomes window, in 1/256; `None` before 6.6.
    pub scaling_ratio: Option<u8>,
    /// `tcp_adv_win_scale` of its namespace, which says so up to 6.5; `None` from then on.
    pub tcp_adv_win_scale: Option<i8>,
    /// `tcp_rmem[2]` of its namespace, bytes.
    pub tcp_rmem_max: u32,
    /// `net.core.rmem_max`, bytes; `None` where it was not read since, can have been one of two
    /// values, or is not shown.
    pub rmem_max: Option<u32>,
    /// `tcp_window_scaling` of its namespace.
    pub tcp_window_scaling: u8,
    /// `tcp_timestamps` of its namespace.
    pub tcp_timestamps: u8,
    /// Window metric of the route, bytes; 0 for none.
    pub route_window: u32,
    /// Accept queue of the listener.
    pub accept_queue: AcceptQueue,
    /// Length of its SYN queue.
    pub syn_queue_len: u32,
    /// All of this was read; else what is 0 may not have been.
    pub complete: bool,
}

/// An accept queue at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AcceptQueue {
    /// Connections in it.
    pub len: u32,
    /// Its limit.
    pub limit: u32,
}

impl AcceptedEvidence {
    /// Reads a record. Where none of it is of this connection, what it holds is shown all the
    /// same: that is what made it stale. `rmem_max` is not in it.
    pub(crate) fn of(
        record: &HandshakeRecord,
        paired: Option<&Paired<'_>>,
        rmem_max: &RmemMaxHistory,
    ) -> Self {
        let handshake = &record.handshake;
        let then = |read| inputs(read, rmem_max.known_at(handshake.first.ktime_ns));
        let now = |read| inputs(read, rmem_max.known_at(record.header.ktime_ns));
        let base = Self {
            synack: None,
            second_synack: None,
            proxy_synack: None,
            syn: None,
            ack: None,
            child: child(&record.child),
            inputs: None,
            cookie_inputs: now(&handshake.cookie_inputs),
        };
        match paired {
            Some(paired) => Self {
                synack: Some(synack(
                    paired.first,
                    paired.packet,
                    paired.synacks.unwrap_or(1),
                )),
                second_synack: paired.other.map(|other| unread(other, handshake.synacks)),
                proxy_synack: paired
                    .proxied
                    .and_then(|proxied| proxied.synack.and_then(proxy_synack)),
                syn: paired.syn.map(|options| syn(options, handshake.syn_ack)),
                ack: paired.ack.map(|options| AckEvidence {
                    timestamps: options.timestamps.is_some(),
                    tsecr: options.timestamps.map(|timestamps| timestamps.tsecr),
                }),
                inputs: paired.inputs.and_then(then),
                ..base
            },
            None if is_handshake(record) => Self {
                synack: Some(unread(&handshake.first, handshake.synacks)),
                syn: window_scale::options(&handshake.syn)
                    .map(|options| syn(options, handshake.syn_ack)),
                inputs: then(&handshake.inputs),
                ..base
            },
            None => base,
        }
    }
}

/// Whether a handshake was recorded, be it another one's, and not just marked.
fn is_handshake(record: &HandshakeRecord) -> bool {
    record.record_found != 0 && record.handshake.flags & handshake_flags::MARKS == 0
}

fn unread(of: &SynAck, count: u32) -> SynAckEvidence {
    synack(of, window_scale::options(&of.options), count)
}

fn synack(synack: &SynAck, read: Option<Options>, count: u32) -> SynAckEvidence {
    let options = read.unwrap_or_default();
    let requested = synack.flags & synack_flags::WSCALE_OK != 0;
    SynAckEvidence {
        seq: synack.isn,
        readable: read.is_some(),
        window_scale: options.shift(),
        request_window_scale: requested.then_some(synack.rcv_wscale),
        timestamps: options.timestamps.is_some(),
        tsval: options.timestamps.map(|timestamps| timestamps.tsval),
        sack: options.sack_permitted,
        mss: options.mss,
        cookie: synack.flags & synack_flags::COOKIE != 0,
        count,
    }
}

fn proxy_synack(synack: &ProxySynAck) -> Option<ProxySynAckEvidence> {
    let options = window_scale::options(&synack.options)?;
    Some(ProxySynAckEvidence {
        seq: synack.isn,
        window_scale: options.shift(),
        tsval: options.timestamps.map(|timestamps| timestamps.tsval),
        sack: options.sack_permitted,
        mss: options.mss,
        count: synack.synacks,
    })
}

fn syn(options: Options, ack: u32) -> SynEvidence {
    SynEvidence {
        window_scale: options.shift(),
        timestamps: options.timestamps.is_some(),
        sack: options.sack_permitted,
        mss: options.mss,
        ack,
    }
}

pub(super) fn child(child: &Child) -> ChildEvidence {
    ChildEvidence {
        window_scaling: child.flags & child_flags::WSCALE_OK != 0,
        rcv_wscale: child.rcv_wscale,
        snd_wscale: child.snd_wscale,
        timestamps: child.flags & child_flags::TSTAMP_OK != 0,
        sack: child.flags & child_flags::SACK_OK != 0,
        rcv_wnd: child.rcv_wnd,
        window_clamp: child.window_clamp,
        mss: child.mss_clamp,
    }
}

fn inputs(inputs: &Inputs, rmem_max: Option<u32>) -> Option<InputsEvidence> {
    let ratio = inputs.scaling_ratio;
    (inputs.present != 0).then(|| InputsEvidence {
        listener: inputs.listener,
        rcvbuf: inputs.rcvbuf,
        rcvbuf_locked: window_scale::rcvbuf_locked(inputs),
        rcvlowat: inputs.rcvlowat,
        window_clamp: inputs.window_clamp,
        full_space: window_scale::window_of_space(inputs, inputs.rcvbuf),
        scaling_ratio: (ratio != 0).then_some(ratio),
        tcp_adv_win_scale: (ratio == 0).then_some(inputs.adv_win_scale),
        tcp_rmem_max: inputs.tcp_rmem_max,
        rmem_max,
        tcp_window_scaling: inputs.sysctl_window_scaling,
        tcp_timestamps: inputs.sysctl_timestamps,
        route_window: inputs.route_window,
        accept_queue: AcceptQueue {
            len: inputs.accept_queue_len,
            limit: inputs.accept_queue_limit,
        },
        syn_queue_len: inputs.syn_queue_len,
        complete: inputs.complete != 0,
    })
}
