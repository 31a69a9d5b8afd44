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
    /// Runs that the kernel skipped; `None` where this kernel cannot tell.
    pub missed: Option<u64>,
}

/// Handshakes that are in no other number because the kernel skipped the program that counts them;
/// `None` where the kernel cannot tell.
///
/// The raw tracepoint has two programs: one is skipped only while it is running itself, and then
/// the other is not, and stands in. Hence none is lost there, however many runs were skipped.
#[must_use]
pub fn missed_handshakes(status: &[ProbeStatus]) -> Option<u64> {
    let state = status
        .iter()
        .find(|status| status.probe == Probe::SetState)?;
    match state.mechanism {
        Some(Mechanism::RawTracepoint) => Some(0),
        _ => state.missed,
    }
}
