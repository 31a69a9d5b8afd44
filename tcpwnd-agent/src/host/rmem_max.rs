//! `net.core.rmem_max`, one of the things that a window scale is computed from.
//!
//! It is one value for the whole machine (net/core/sock.c, 7.3). Constraint: where this process'
//! network namespace does not show it, which in 5.10 and 6.1 is any but the first, it is
//! not known, and not guessed either.

use tcpwnd_core::detect::window_scale::RmemMax;

use super::clock;

/// Reads it; `None` where it cannot be read.
#[must_use]
pub fn read() -> Option<RmemMax> {
    // The clock first: a change after this moment is then never dated before it.
    let ktime_ns = clock::monotonic_ns();
    let bytes = super::sysctl("net/core/rmem_max")?;
    Some(RmemMax { ktime_ns, bytes })
}
