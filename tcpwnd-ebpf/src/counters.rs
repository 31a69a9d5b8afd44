//! Counting, in the slot of the CPU that a program runs on.

use crate::maps::COUNTERS;
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use tcpwnd_common::{Counter, CpuCounters, Probe};

#[inline(always)]
fn slot() -> Option<*mut CpuCounters> {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    COUNTERS.get_ptr_mut(cpu)
}

/// One more run of a probe's program.
#[inline(always)]
pub fn run(probe: Probe) {
    if let Some(slot) = slot() {
        // SAFETY: the slot belongs to this CPU and outlives the program.
        unsafe { (*slot).runs[probe as usize] += 1 }
    }
}

/// One more of what `counter` counts.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(slot) = slot() {
        // SAFETY: the slot belongs to this CPU and outlives the program.
        unsafe { (*slot).counts[counter as usize] += 1 }
    }
}
