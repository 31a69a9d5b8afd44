//! The socket that a handshake ended in: its values, and whether they look wrong.
//!
//! What looks wrong here only decides what is remembered and watched. The verdict is user
//! space's, from the same values.

use crate::counters::count;
use crate::flow::netns_object;
use crate::maps::{OPEN, Open, WATCH, Watch};
use crate::read::{Object, Result};
use aya_ebpf::bindings::BPF_ANY;
use tcpwnd_common::{
    Child, Counter, Field, FlowKey, HandshakeRecord, ROLE_SERVER, SynAck, child_flags,
    handshake_flags, proxy_flags, synack_flags,
};

/// Fills `into`, which must be zero; COMPLETE is set when every field was read.
#[inline(always)]
pub fn describe(sk: Object, into: &mut Child) {
    if read(sk, into).is_ok() {
        into.flags |= child_flags::COMPLETE;
    }
}

#[inline(always)]
fn read(sk: Object, into: &mut Child) -> Result<()> {
    into.snd_una = sk.get(Field::SndUna)?;
    into.snd_wnd = sk.get(Field::SndWnd)?;
    into.rcv_wnd = sk.get(Field::RcvWnd)?;
    into.window_clamp = sk.get(Field::WindowClamp)?;
    into.rcv_ssthresh = sk.get(Field::RcvSsthresh)?;
    into.srtt_us8 = sk.get(Field::SrttUs)?;
    into.rcvbuf = sk.get(Field::RcvBuf)?;
    into.mss_clamp = sk.get(Field::MssClamp)?;
    into.advmss = sk.get(Field::AdvMss)?;
    into.rcv_wscale = sk.low(Field::RcvWscale)?;
    into.snd_wscale = sk.low(Field::SndWscale)?;
    if sk.low(Field::WscaleOk)? != 0 {
        into.flags |= child_flags::WSCALE_OK;
    }
    if sk.low(Field::TstampOk)? != 0 {
        into.flags |= child_flags::TSTAMP_OK;
    }
    if sk.low(Field::SackOk)? != 0 {
        into.flags |= child_flags::SACK_OK;
    }
    let net = netns_object(sk)?;
    into.sysctl_window_scaling = net.low(Field::NetTcpWindowScaling)?;
    into.sysctl_timestamps = net.low(Field::NetTcpTimestamps)?;
    Ok(())
}

/// Whether the connection could be damaged: anything but the same scaling as in every SYN+ACK.
#[inline(always)]
pub fn suspect(record: &HandshakeRecord) -> bool {
    let child = &record.child;
    let scales = child.flags & child_flags::WSCALE_OK != 0;
    !scales || record.handshake.flags & handshake_flags::SYNACKS_DIFFER != 0 || differs(record)
}

/// Whether the SYN+ACK that the child answers announced another scaling than the socket has.
#[inline(always)]
fn differs(record: &HandshakeRecord) -> bool {
    let child = &record.child;
    if is_proxied(record) {
        return differs_from_proxy(record);
    }
    let synack = answered(record);
    (child.flags & child_flags::WSCALE_OK != 0) != (synack.flags & synack_flags::WSCALE_OK != 0)
        || child.rcv_wscale != synack.rcv_wscale
        || child.snd_wscale != synack.snd_wscale
}

/// The same of the SYN+ACK of a SYN proxy; one that was not seen announced nothing that is known.
#[inline(always)]
fn differs_from_proxy(record: &HandshakeRecord) -> bool {
    let (child, proxy) = (&record.child, &record.proxy);
    proxy.ktime_ns != 0
        && proxy.isn == record.handshake.syn_ack
        && ((child.flags & child_flags::WSCALE_OK != 0) != (proxy.flags & proxy_flags::WSCALE != 0)
            || child.rcv_wscale != proxy.wscale)
}

/// Whether the SYN that the child comes of was a SYN proxy's.
#[inline(always)]
pub fn is_proxied(record: &HandshakeRecord) -> bool {
    answered(record).flags & synack_flags::PROXIED != 0
}

/// The SYN+ACK that the child answers.
#[inline(always)]
fn answered(record: &HandshakeRecord) -> &SynAck {
    if answers_previous(record) {
        &record.handshake.last
    } else {
        &record.handshake.first
    }
}

/// Whether the child answers the SYN+ACK before the first one.
#[inline(always)]
pub fn answers_previous(record: &HandshakeRecord) -> bool {
    record.handshake.flags & handshake_flags::PREVIOUS_KEPT != 0
        && record.child.snd_una == record.handshake.last.isn.wrapping_add(1)
}

/// Remembers a suspect until it closes. Returns the flags that say what was done.
#[inline(always)]
pub fn remember(sk: Object, key: &FlowKey, now: u64, role: u32) -> u8 {
    let open = Open {
        established_ktime_ns: now,
        flow: *key,
        role,
    };
    if OPEN.insert(sk.id(), open, BPF_ANY as u64).is_err() {
        count(Counter::OpenTableFull);
        return 0;
    }
    child_flags::TRACKED
}

/// Remembers a suspect that this host accepted and, where asked for, puts it under watch. Returns
/// the flags that say what was done.
#[inline(always)]
pub fn track(sk: Object, key: &FlowKey, now: u64, record: &HandshakeRecord) -> u8 {
    if remember(sk, key, now, ROLE_SERVER) == 0 {
        return 0;
    }
    if !sk.env.confirm() || !differs(record) {
        return child_flags::TRACKED;
    }
    let watch = Watch {
        established_ktime_ns: now,
        flow: *key,
        seen: 0,
        rcv_wnd: record.child.rcv_wnd,
        reserved: 0,
    };
    if WATCH.insert(sk.id(), watch, BPF_ANY as u64).is_err() {
        count(Counter::WatchTableFull);
        return child_flags::TRACKED;
    }
    child_flags::TRACKED | child_flags::WATCHED
}
