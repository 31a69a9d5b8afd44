//! Connections that this host opens, from SYN_SENT to ESTABLISHED: no hook of its own, but what the
//! ones on changes of state and on `tcp_rcv_state_process` do with such sockets.
//!
//! The SYN is never looked at, for that would take a probe on the transmit path. What it carried
//! follows from the shift count that `tcp_connect_init` left in the socket, which stays there until
//! the SYN+ACK is taken in (`tcp_rcv_synsent_state_process`, net/ipv4/tcp_input.c, 5.10 to 7.3).
//! Both are under the socket's lock, so that its notes need no other.

use super::{set_state, states};
use crate::counters::count;
use crate::maps::CONNECTS;
use crate::read::{Object, Result};
use crate::{child, events, flow, options};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use core::mem::size_of;
use tcpwnd_common::{
    Connect, ConnectRecord, Counter, Field, FlowKey, Kind, Outcome, ROLE_CLIENT, child_flags,
    connect_flags,
};

/// A socket went to SYN_SENT, or from there to `new`.
#[inline(always)]
pub fn changed(sk: Object, key: &FlowKey, new: u32) {
    match new {
        states::SYN_SENT => begun(sk, key),
        states::ESTABLISHED => established(sk, key),
        _ => {
            forget(sk);
            if flow::wanted(sk.env, key) {
                count(Counter::ConnectsFailed);
            }
        }
    }
}

/// Takes the notes about a socket away.
#[inline(always)]
pub fn forget(sk: Object) {
    if sk.env.connects() {
        let _ = CONNECTS.remove(sk.id());
    }
}

/// Notes the settings before the SYN is built.
#[inline(always)]
fn begun(sk: Object, key: &FlowKey) {
    if !flow::peer_wanted(sk.env, key) {
        return;
    }
    let mut note = nothing();
    let read = flow::netns_object(sk).and_then(|net| {
        note.begun_window_scaling = net.low(Field::NetTcpWindowScaling)?;
        note.begun_timestamps = net.low(Field::NetTcpTimestamps)?;
        Ok(())
    });
    if read.is_ok() {
        // SAFETY: a helper without arguments.
        note.begun_ktime_ns = unsafe { bpf_ktime_get_ns() };
        note.flags = connect_flags::BEGUN;
    }
    // Whatever an earlier socket at this address left behind goes with it.
    let _ = CONNECTS.insert(sk.id(), note, 0);
}

/// `Connect::NONE`, made here: a constant of this size lies in a data section, which kernels before
/// 5.2 do not have.
#[inline(always)]
fn nothing() -> Connect {
    // SAFETY: made of integers, for which all zero is a valid value.
    unsafe { core::mem::zeroed() }
}

/// Notes a packet that came in SYN_SENT, and the socket before it is taken in. The last one counts.
#[inline(always)]
pub fn answered(sk: Object, skb: Object) -> Result<()> {
    let note = match CONNECTS.get_ptr_mut(sk.id()) {
        Some(note) => note,
        // Begun before the programs were there, evicted, or not wanted.
        None => {
            let mut key = FlowKey::ZERO;
            flow::of_socket(sk, &mut key)?;
            if !flow::wanted(sk.env, &key) {
                return Ok(());
            }
            let _ = CONNECTS.insert(sk.id(), nothing(), 0);
            let Some(note) = CONNECTS.get_ptr_mut(sk.id()) else {
                return Ok(());
            };
            note
        }
    };
    // SAFETY: an entry that is evicted stays readable and writable memory of the map; the socket's
    // lock keeps others away from it.
    let note = unsafe { &mut *note };
    note.flags &= connect_flags::BEGUN;
    note.options = nothing().options;
    let header = options::tcp_header(skb)?;
    note.seq = options::sequence(header)?;
    let snd_una: u32 = sk.get(Field::SndUna)?;
    note.acknowledged = options::acknowledgement(header)?.wrapping_sub(snd_una);
    note.tcp_flags = options::flags(header)?;
    note.rcv_wscale = sk.low(Field::RcvWscale)?;
    note.window_clamp = sk.get(Field::WindowClamp)?;
    options::copy(header, &mut note.options)?;
    note.flags |= connect_flags::ANSWERED;
    Ok(())
}

/// Describes and sends a connection that this host opened.
#[inline(always)]
fn established(sk: Object, key: &FlowKey) {
    if !flow::wanted(sk.env, key) {
        forget(sk);
        return count(Counter::Filtered);
    }
    // tcp_connect (net/ipv4/tcp_output.c) establishes such a socket at once.
    if sk.low(Field::Repair).is_ok_and(|repair| repair != 0) {
        forget(sk);
        return count(Counter::Restored);
    }
    count(Counter::Connected);
    send(sk, key);
    forget(sk);
}

#[inline(always)]
fn send(sk: Object, key: &FlowKey) {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let Some(mut entry) = events::reserve::<ConnectRecord>() else {
        return count(Counter::HandshakesLost);
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is memory of the record's size and alignment, and all zero is a valid
    // record; nothing is sent before each byte is written.
    let record = unsafe {
        core::ptr::write_bytes(record, 0, 1);
        &mut *record
    };
    record.header = set_state::header(Kind::Connect, size_of::<ConnectRecord>(), now);
    record.flow = *key;
    child::describe(sk, &mut record.child);
    record.child.outcome = Outcome::Established as u8;
    // Unread it pairs with nothing.
    match sk.get(Field::RcvNxt) {
        Ok(next) => record.rcv_nxt = next,
        Err(_) => record.child.flags &= !child_flags::COMPLETE,
    }
    if let Some(note) = CONNECTS.get_ptr(sk.id()) {
        // SAFETY: as in `answered`.
        record.connect = unsafe { *note };
    }
    if record.child.flags & child_flags::WSCALE_OK == 0 {
        record.child.flags |= child::remember(sk, key, now, ROLE_CLIENT);
    }
    count(if entry.submit(sk.env) {
        Counter::HandshakesSent
    } else {
        Counter::HandshakesLost
    });
}
