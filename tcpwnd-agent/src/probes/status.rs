//! What became of each hook: intent and outcome in one line.

use tcpwnd_common::Probe;

use super::Mechanism;

/// One hook, as `check`, the metrics and the summary show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeStatus {
    /// Which hook.
    pub probe: Probe,
    /// What carries it; `None` when it could not be had and can be done without.
    pub mechanism: Option<Mechanism>,
    /// The kernel function or tracepoint; empty without a mechanism.
    pub symbol: &'static str,
    /// Whether it is attached now. The window probe is only while something is being watched.
    pub attached: bool,
    /// Why it is not the first choice of mechanism, or why it is not there at all.
    pub reason: Option<String>,
    /// Runs of its programs so far.
    pub runs: u64,
    /// Runs that the kernel skipped, over its programs; `None` where this kernel cannot tell.
    pub missed: Option<u64>,
    /// Time that its programs took, nanoseconds; `None` while the host does not let the kernel
    /// measure (`kernel.bpf_stats_enabled`).
    pub run_time_ns: Option<u64>,
    /// Changes of state that the kernel showed to no program; `None` where it cannot tell, and for
    /// all other hooks.
    pub unseen: Option<u64>,
}

/// Handshakes that can be in no other number, because the kernel showed the change of state to no
/// program; `None` where it cannot tell. Changes that were no handshakes count as well.
#[must_use]
pub fn missed_handshakes(status: &[ProbeStatus]) -> Option<u64> {
    status
        .iter()
        .find(|status| status.probe == Probe::SetState)?
        .unseen
}
