//! Counters per listener.
//!
//! A listener gets its slot when its first SYN+ACK or cookie is seen. Slots are found through a
//! map, and taken by inserting into another, because 5.10 has no atomic operation that returns a
//! value.

use crate::counters::count;
use crate::flow::{map_ipv4, netns, place_wanted};
use crate::maps::{LISTENER_CLAIMS, LISTENER_SLOTS, LISTENERS};
use crate::read::{Object, Result};
use aya_ebpf::bindings::BPF_NOEXIST;
use tcpwnd_common::{Counter, Field, LISTENER_SLOTS as SLOTS, ListenerKey, ListenerSlot};

const AF_INET6: u16 = 10;
/// Slots that are tried before a listener goes uncounted.
const TRIES: u32 = 8;

#[inline(always)]
fn key_of(sk: Object) -> Result<ListenerKey> {
    let mut key = ListenerKey {
        addr: [0; 16],
        netns: netns(sk)?,
        port: sk.get(Field::LocalPort)?,
        reserved: 0,
    };
    if sk.env.has(Field::LocalAddr6) && sk.get::<u16>(Field::Family)? == AF_INET6 {
        key.addr = sk.get(Field::LocalAddr6)?;
    } else {
        map_ipv4(&mut key.addr, sk.get(Field::LocalAddr4)?);
    }
    Ok(key)
}

/// Slot number to begin the search with.
#[inline(always)]
fn start(key: &ListenerKey) -> u32 {
    let mut hash = key.netns.wrapping_mul(0x9e37_79b1) ^ key.port as u32;
    hash ^= u32::from_ne_bytes([key.addr[12], key.addr[13], key.addr[14], key.addr[15]]);
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^ (hash >> 15)
}

#[inline(always)]
fn claim(key: &ListenerKey) -> Option<u32> {
    let start = start(key);
    let mut tried = 0;
    while tried < TRIES {
        let index = start.wrapping_add(tried) % SLOTS;
        if LISTENER_CLAIMS.insert(index, 1, BPF_NOEXIST as u64).is_ok() {
            // Another CPU may have been faster with the same listener; then this slot stays
            // empty and that one is used.
            let _ = LISTENERS.insert(key, index, BPF_NOEXIST as u64);
            return LISTENERS.get_ptr(key).map(|index| {
                // SAFETY: entries of this map are never removed.
                unsafe { *index }
            });
        }
        tried += 1;
    }
    None
}

/// The counters of a listener; none for one that was not asked for or is being closed, whose
/// port is gone.
#[inline(always)]
pub fn slot_of(sk: Object) -> Option<&'static mut ListenerSlot> {
    let key = key_of(sk).ok()?;
    if key.port == 0 || !place_wanted(sk.env, key.netns, key.port) {
        return None;
    }
    let index = match LISTENERS.get_ptr(key) {
        // SAFETY: entries of this map are never removed.
        Some(index) => Some(unsafe { *index }),
        None => claim(&key),
    };
    let Some(index) = index else {
        count(Counter::ListenersNotCounted);
        return None;
    };
    let slot = LISTENER_SLOTS.get_ptr_mut(index)?;
    // SAFETY: elements of an array map are never removed; counters are only touched by `add`.
    let slot = unsafe { &mut *slot };
    if slot.key.port == 0 {
        slot.key = key;
    }
    Some(slot)
}
