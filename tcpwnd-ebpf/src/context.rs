//! Words of a tracing program's context: the arguments, then the result.

use aya_ebpf::EbpfContext;
use core::arch::asm;

/// Word `N`, by an instruction with a constant offset.
///
/// Where the number of arguments depends on the kernel, a choice between two words is compiled
/// to one load from a computed address, which the verifier refuses for a context ("dereference
/// of modified ctx ptr"). The assembly keeps the two loads apart.
#[inline(always)]
pub fn word<const N: usize>(ctx: &impl EbpfContext) -> u64 {
    let value: u64;
    // SAFETY: the verifier knows how many words there are and refuses to load the program if N
    // is not among them.
    unsafe {
        asm!(
            "{value} = *(u64 *)({ctx} + {offset})",
            value = out(reg) value,
            ctx = in(reg) ctx.as_ptr(),
            offset = const N * 8,
            options(nostack, readonly, pure),
        );
    }
    value
}
