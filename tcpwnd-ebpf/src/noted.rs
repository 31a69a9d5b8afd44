//! Which changes of state one of several programs at the same place saw, for those after it.
//!
//! They run one after the other, yet not always at a stretch. A change in process context
//! (connect(), close(), a backlog worked off) may be interrupted in between, by packets that change
//! the states of other sockets; from 7.0 on it may even be preempted and go on on another CPU
//! (`__DECLARE_TRACE`, include/linux/tracepoint.h: SRCU instead of disabled preemption). Hence
//! notes are kept by socket and for all CPUs: a socket's lock keeps its own changes apart.

use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;

/// The state that each socket went to; the agent sets the number of entries. A note lives as long
/// as the programs run; those that stay behind because the kernel skipped the last program are
/// evicted.
#[map]
static NOTED_CHANGES: LruHashMap<u64, u32> = LruHashMap::with_max_entries(1 << 14, 0);

/// Notes that a program sees this change; false if that cannot be done, and the next must take care
/// of it.
#[inline(always)]
pub fn note(sk: u64, new: u32) -> bool {
    NOTED_CHANGES.insert(sk, new, 0).is_ok()
}

/// Whether a program saw this change.
///
/// The note of an earlier change, left behind, cannot be mistaken for one of this change: those
/// that follow each other are to different states (but for one from CLOSE to CLOSE, which says
/// nothing new), and the next socket at the same address begins with another one than the last
/// ended with.
#[inline(always)]
pub fn is_noted(sk: u64, new: u32) -> bool {
    // SAFETY: an entry that is evicted stays readable memory of the map.
    NOTED_CHANGES
        .get_ptr(sk)
        .is_some_and(|state| unsafe { *state } == new)
}

/// Takes a note away.
#[inline(always)]
pub fn forget(sk: u64) {
    let _ = NOTED_CHANGES.remove(sk);
}
