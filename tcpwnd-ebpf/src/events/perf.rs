//! Records through perf buffers, one a CPU.
//!
//! A record is made in memory of the CPU, since the stack has 512 bytes, and copied into the buffer
//! when it is complete. A packet may interrupt a program that makes one (connect() and close() run
//! in process context), and from 7.0 on another task may: hence several places.

use crate::counters::add;
use crate::env::Env;
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::BPF_F_CURRENT_CPU;
use aya_ebpf::helpers::bpf_perf_event_output;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{PerCpuArray, PerfEventByteArray};
use core::marker::PhantomData;
use core::mem::size_of;
use tcpwnd_common::HandshakeRecord;

/// The perf buffers; the agent makes one for each CPU that is online.
#[map]
static EVENTS: PerfEventByteArray = PerfEventByteArray::new(0);

/// A place to make a record in.
#[repr(C)]
#[derive(Clone, Copy)]
struct Place {
    /// 0 when it is free.
    taken: u64,
    /// As large as the largest record.
    record: HandshakeRecord,
}

#[map]
static PLACES: PerCpuArray<Place> = PerCpuArray::with_max_entries(PLACE_COUNT, 0);

/// In process context, and in interrupts of it.
const PLACE_COUNT: u32 = 3;

/// Room for a record.
pub struct Entry<T> {
    place: *mut Place,
    record: PhantomData<T>,
}

/// Room for a record, if there is any. It has to be submitted.
#[inline(always)]
pub fn reserve<T>() -> Option<Entry<T>> {
    const { assert!(size_of::<T>() <= size_of::<HandshakeRecord>()) };
    let place = take(0).or_else(|| take(1)).or_else(|| take(2))?;
    Some(Entry {
        place,
        record: PhantomData,
    })
}

/// Takes a place if it is free. Old kernels have no instruction that says what was there: whoever finds
/// that it is not alone goes on, so that no two share a place, at worst both go on.
#[inline(always)]
fn take(index: u32) -> Option<*mut Place> {
    let place = PLACES.get_ptr_mut(index)?;
    // SAFETY: entries of this map are never removed; the counter is only touched by atomic additions.
    let taken = unsafe { &mut (*place).taken };
    add(taken, 1);
    // SAFETY: as above; volatile because an interrupt may have changed it.
    if unsafe { core::ptr::read_volatile(taken) } == 1 {
        return Some(place);
    }
    add(taken, -1);
    None
}

impl<T> Entry<T> {
    /// The room, of the record's size and alignment.
    #[inline(always)]
    pub fn as_mut_ptr(&mut self) -> *mut T {
        // SAFETY: inside of the place.
        unsafe { &raw mut (*self.place).record }.cast()
    }

    /// Writes the whole record.
    #[inline(always)]
    pub fn write(&mut self, record: T) {
        // SAFETY: the place is as large as the largest record, aligned as all are, and ours.
        unsafe { self.as_mut_ptr().write(record) };
    }

    /// Sends it. False if it got lost.
    ///
    /// Until 5.1 the kernel does not say so when the buffer is full ("perf: Make
    /// perf_event_output() propagate the output() return"); the buffer itself tells the agent.
    #[inline(always)]
    pub fn submit(mut self, env: Env) -> bool {
        let record = self.as_mut_ptr();
        // SAFETY: the record is written and this long; the context is that of this run.
        let status = unsafe {
            bpf_perf_event_output(
                env.as_ptr(),
                (&raw const EVENTS).cast_mut().cast(),
                BPF_F_CURRENT_CPU,
                record.cast(),
                size_of::<T>() as u64,
            )
        };
        // SAFETY: as in `take`.
        add(unsafe { &mut (*self.place).taken }, -1);
        status == 0
    }
}
