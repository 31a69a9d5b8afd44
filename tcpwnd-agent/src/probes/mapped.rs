//! Counters in the memory that the kernel programs write, read without a system call; or, from kernels
//! that cannot map it (before 5.5), by one for each entry.
//!
//! Constraint: the mapping is read-only and other CPUs write it meanwhile, so every read is an
//! atomic load through a pointer; no reference to the records themselves is ever made.

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

use libc::c_int;
use tcpwnd_common::{COUNTER_COUNT, Counter, CpuCounters, ListenerKey, ListenerSlot};
use tcpwnd_common::{PROBE_COUNT, Probe};

/// BPF_MAP_LOOKUP_ELEM (include/uapi/linux/bpf.h).
const LOOKUP: libc::c_long = 1;

/// The programs' counters at one moment, summed over CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountersSnapshot {
    runs: [u64; PROBE_COUNT],
    counts: [u64; COUNTER_COUNT],
}

impl CountersSnapshot {
    /// A snapshot with these values and zero for all others.
    #[cfg(test)]
    pub fn of(values: &[(Counter, u64)]) -> Self {
        let mut snapshot = Self {
            runs: [0; PROBE_COUNT],
            counts: [0; COUNTER_COUNT],
        };
        for (counter, value) in values {
            snapshot.counts[*counter as usize] = *value;
        }
        snapshot
    }

    /// The same with `lost` records that the buffer says to be lost. Programs know of most of them and
    /// which kinds those were; up to 5.0 of none. Then they were handshakes, as far as anybody can say,
    /// and have not been sent.
    #[must_use]
    pub fn with_lost(mut self, lost: u64) -> Self {
        let counted = [
            Counter::HandshakesLost,
            Counter::ClosedLost,
            Counter::WindowsLost,
        ];
        let counted = counted.map(|counter| self.get(counter)).iter().sum();
        let unknown = lost.saturating_sub(counted);
        self.counts[Counter::HandshakesLost as usize] += unknown;
        let sent = &mut self.counts[Counter::HandshakesSent as usize];
        *sent = sent.saturating_sub(unknown);
        self
    }

    /// Runs of the programs of `probe`.
    #[must_use]
    pub const fn runs(&self, probe: Probe) -> u64 {
        self.runs[probe as usize]
    }

    /// Value of `counter`.
    #[must_use]
    pub const fn get(&self, counter: Counter) -> u64 {
        self.counts[counter as usize]
    }
}

/// An array map with `BPF_F_MMAPABLE`, mapped; or a copy of one without.
pub struct MappedArray {
    start: NonNull<u8>,
    len: usize,
    stride: usize,
    entries: usize,
    /// What it is a copy of.
    source: Option<OwnedFd>,
}

// SAFETY: the mapping belongs to this value alone and is only ever read, by atomic loads; a copy is
// written by the kernel.
unsafe impl Send for MappedArray {}
// SAFETY: as above; concurrent atomic loads need no exclusive access.
unsafe impl Sync for MappedArray {}

impl MappedArray {
    /// Maps `entries` values of `size` bytes each.
    ///
    /// # Errors
    ///
    /// What mmap(2) says; `EINVAL` when the map was not made for it.
    pub fn new(map: BorrowedFd<'_>, size: usize, entries: usize) -> io::Result<Self> {
        Self::map(
            (libc::PROT_READ, libc::MAP_SHARED, map.as_raw_fd()),
            (size, entries),
        )
    }

    /// Makes room for a copy of `entries` values of `size` bytes each, to be [refreshed](Self::refresh).
    ///
    /// # Errors
    ///
    /// What mmap(2) and dup(2) say.
    pub fn copied(map: BorrowedFd<'_>, size: usize, entries: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let own = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let mut copy = Self::map((protection, own, -1), (size, entries))?;
        copy.source = Some(map.try_clone_to_owned()?);
        Ok(copy)
    }

    fn map(
        (protection, flags, descriptor): (c_int, c_int, RawFd),
        (size, entries): (usize, usize),
    ) -> io::Result<Self> {
        // array_map_alloc (kernel/bpf/arraymap.c, 5.5) rounds elements up to 8 bytes, and the
        // whole to pages.
        let stride = size.next_multiple_of(8);
        let len = stride * entries;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, descriptor, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            start,
            len,
            stride,
            entries,
            source: None,
        })
    }

    /// Copies what the map has now, if this is a copy. An entry that cannot be read stays as it was.
    fn refresh(&self) {
        let Some(map) = &self.source else { return };
        for index in 0..self.entries {
            let key = u32::try_from(index).unwrap_or(u32::MAX);
            // Of union bpf_attr: descriptor, addresses of key and value, flags.
            let attributes = [
                u64::from(map.as_raw_fd().unsigned_abs()),
                (&raw const key).addr() as u64,
                self.at::<u8>(index, 0).addr() as u64,
                0,
            ];
            let len = size_of_val(&attributes);
            // SAFETY: the kernel reads the key and writes an entry, for which there is room.
            unsafe { libc::syscall(libc::SYS_bpf, LOOKUP, attributes.as_ptr(), len) };
        }
    }

    /// Where `offset` of entry `index` is. Both are this module's own arithmetic, hence the panic.
    fn at<T>(&self, index: usize, offset: usize) -> *mut T {
        let position = index * self.stride + offset;
        assert!(index < self.entries && offset + size_of::<T>() <= self.stride);
        // SAFETY: inside of the mapping, as was just checked.
        unsafe { self.start.as_ptr().add(position).cast() }
    }

    fn u64(&self, index: usize, offset: usize) -> u64 {
        // SAFETY: readable while `self` lives, and aligned: strides and offsets of u64 fields are
        // multiples of 8. Relaxed loads of this size are allowed on read-only memory
        // (std::sync::atomic, "Atomic accesses to read-only memory").
        unsafe { AtomicU64::from_ptr(self.at(index, offset)) }.load(Ordering::Relaxed)
    }

    fn u32(&self, index: usize, offset: usize) -> u32 {
        // SAFETY: as in `u64`, with multiples of 4.
        unsafe { AtomicU32::from_ptr(self.at(index, offset)) }.load(Ordering::Relaxed)
    }

    fn u16(&self, index: usize, offset: usize) -> u16 {
        // SAFETY: as in `u64`, with multiples of 2.
        unsafe { AtomicU16::from_ptr(self.at(index, offset)) }.load(Ordering::Relaxed)
    }

    fn u8(&self, index: usize, offset: usize) -> u8 {
        // SAFETY: as in `u64`; bytes have no alignment.
        unsafe { AtomicU8::from_ptr(self.at(index, offset)) }.load(Ordering::Relaxed)
    }
}

impl Drop for MappedArray {
    fn drop(&mut self) {
        // SAFETY: exactly what mmap gave; pointers into it do not outlive `self`. It cannot fail
        // for a mapping that exists, and there would be nothing to do about it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// The map `COUNTERS`.
pub struct Counters(MappedArray);

impl Counters {
    /// Maps it; `cpus` is the number of possible CPUs, as the loader sized it.
    ///
    /// # Errors
    ///
    /// As [`MappedArray::new`].
    pub fn new(map: BorrowedFd<'_>, cpus: usize) -> io::Result<Self> {
        MappedArray::new(map, size_of::<CpuCounters>(), cpus).map(Self)
    }

    /// The same without mapping it.
    ///
    /// # Errors
    ///
    /// As [`MappedArray::copied`].
    pub fn looked_up(map: BorrowedFd<'_>, cpus: usize) -> io::Result<Self> {
        MappedArray::copied(map, size_of::<CpuCounters>(), cpus).map(Self)
    }

    /// Whether reading takes system calls.
    pub fn are_looked_up(&self) -> bool {
        self.0.source.is_some()
    }

    /// Sum over CPUs.
    pub fn snapshot(&self) -> CountersSnapshot {
        self.0.refresh();
        let sum = |offset: usize| {
            (0..self.0.entries)
                .map(|cpu| self.0.u64(cpu, offset))
                .fold(0, u64::wrapping_add)
        };
        let runs = offset_of!(CpuCounters, runs);
        let counts = offset_of!(CpuCounters, counts);
        CountersSnapshot {
            runs: std::array::from_fn(|probe| sum(runs + probe * size_of::<u64>())),
            counts: std::array::from_fn(|counter| sum(counts + counter * size_of::<u64>())),
        }
    }
}

/// The map `LISTENER_SLOTS`.
pub struct Listeners(MappedArray);

impl Listeners {
    /// Maps it.
    ///
    /// # Errors
    ///
    /// As [`MappedArray::new`].
    pub fn new(map: BorrowedFd<'_>, slots: usize) -> io::Result<Self> {
        MappedArray::new(map, size_of::<ListenerSlot>(), slots).map(Self)
    }

    /// The same without mapping it.
    ///
    /// # Errors
    ///
    /// As [`MappedArray::copied`].
    pub fn looked_up(map: BorrowedFd<'_>, slots: usize) -> io::Result<Self> {
        MappedArray::copied(map, size_of::<ListenerSlot>(), slots).map(Self)
    }

    /// The slots that are in use.
    pub fn used(&self) -> Vec<ListenerSlot> {
        self.0.refresh();
        (0..self.0.entries)
            .filter(|&slot| self.0.u16(slot, KEY + offset_of!(ListenerKey, port)) != 0)
            .map(|slot| {
                // The port is written last; what was written before it is seen from here on.
                fence(Ordering::Acquire);
                self.read(slot)
            })
            .collect()
    }

    fn read(&self, slot: usize) -> ListenerSlot {
        let addr = KEY + offset_of!(ListenerKey, addr);
        ListenerSlot {
            key: ListenerKey {
                addr: std::array::from_fn(|byte| self.0.u8(slot, addr + byte)),
                netns: self.0.u32(slot, KEY + offset_of!(ListenerKey, netns)),
                port: self.0.u16(slot, KEY + offset_of!(ListenerKey, port)),
                reserved: 0,
            },
            synacks: self.0.u64(slot, offset_of!(ListenerSlot, synacks)),
            cookies_sent: self.0.u64(slot, offset_of!(ListenerSlot, cookies_sent)),
            cookies_valid: self.0.u64(slot, offset_of!(ListenerSlot, cookies_valid)),
            cookies_rejected: self.0.u64(slot, offset_of!(ListenerSlot, cookies_rejected)),
            cookies_accepted: self.0.u64(slot, offset_of!(ListenerSlot, cookies_accepted)),
            overflows: self.0.u64(slot, offset_of!(ListenerSlot, overflows)),
            accept_queue_len: self.0.u32(slot, offset_of!(ListenerSlot, accept_queue_len)),
            accept_queue_limit: self
                .0
                .u32(slot, offset_of!(ListenerSlot, accept_queue_limit)),
            syn_queue_len: self.0.u32(slot, offset_of!(ListenerSlot, syn_queue_len)),
            receive_buffer: self.0.u32(slot, offset_of!(ListenerSlot, receive_buffer)),
            receive_buffer_locked: self
                .0
                .u32(slot, offset_of!(ListenerSlot, receive_buffer_locked)),
            drops: self.0.u32(slot, offset_of!(ListenerSlot, drops)),
        }
    }
}

const KEY: usize = offset_of!(ListenerSlot, key);

#[cfg(test)]
mod tests {
    use super::{Counter, CountersSnapshot};

    #[test]
    fn losses_that_programs_do_not_know_of_are_handshakes() {
        let of = |lost, windows| {
            let counters = CountersSnapshot::of(&[
                (Counter::HandshakesSent, 90),
                (Counter::HandshakesLost, 10),
                (Counter::WindowsLost, windows),
            ]);
            let counters = counters.with_lost(lost);
            [Counter::HandshakesSent, Counter::HandshakesLost].map(|counter| counters.get(counter))
        };
        assert_eq!(of(0, 0), [90, 10]);
        assert_eq!(of(10, 0), [90, 10]);
        assert_eq!(of(15, 5), [90, 10]);
        assert_eq!(of(17, 5), [88, 12]);
        // A buffer that tells of more than there was.
        assert_eq!(of(1000, 0), [0, 1000]);
    }
}
