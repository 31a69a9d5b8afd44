//! Counting, in the slot of the CPU that a program runs on.
//!
//! Atomically all the same: an interrupt may run the same program between load and store. 5.10
//! has no guard against that for raw tracepoints and fentry (`__bpf_prog_enter`,
//! kernel/bpf/trampoline.c), later kernels have one that skips the second run.

use crate::maps::COUNTERS;
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use core::arch::asm;
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
        // SAFETY: the slot outlives the program.
        add(unsafe { &mut (*slot).runs[probe as usize] }, 1);
    }
}

/// One more of what `counter` counts.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(slot) = slot() {
        // SAFETY: the slot outlives the program.
        add(unsafe { &mut (*slot).counts[counter as usize] }, 1);
    }
}

/// Adds to a counter.
///
/// The instruction that every kernel has (`BPF_XADD`), written out: the target offers no atomic
/// type, and newer forms that return the old value need 5.12.
#[inline(always)]
pub fn add(counter: &mut u64, number: i64) {
    // SAFETY: the reference is valid and aligned; the instruction touches nothing else.
    unsafe {
        asm!(
            "lock *(u64 *)({place} + 0) += {number}",
            place = in(reg) core::ptr::from_mut(counter),
            number = in(reg) number,
            options(nostack),
        );
    }
}
