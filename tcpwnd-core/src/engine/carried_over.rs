//! Damaged connections that a former agent found and that are open still.
//!
//! Constraint: whoever brings them has looked that they are; from then on only another look, or a
//! new connection with the same addresses, takes them out.

use super::Engine;
use crate::detect::window_scale::Verdict;
use crate::flow::Flow;
use crate::flows::{Listed, OpenFlow};

impl Engine {
    /// Whether a connection with this verdict is no finding, for its peer is one that never scales.
    #[must_use]
    pub fn ignores(&self, flow: &Flow, verdict: Verdict) -> bool {
        let the_peers = match verdict {
            Verdict::ScaleLost(cause) => cause.is_the_peers(),
            Verdict::Ok | Verdict::Mismatch(_) | Verdict::Unverified(_) => false,
        };
        the_peers && (self.ignored)(flow)
    }

    /// Takes in a connection that a former agent found damaged, and that is not ignored. False if there
    /// is no room.
    pub fn carry_over(&mut self, flow: Flow, open: OpenFlow) -> bool {
        let open = OpenFlow {
            carried_over: true,
            windows: None,
            ..open
        };
        self.flows.carry_over(flow.0, open)
    }

    /// Takes out the connection that was established then (nanoseconds of CLOCK_MONOTONIC), since
    /// its socket is gone. True if it was among the open damaged ones.
    pub fn ended(&mut self, flow: Flow, established_ktime_ns: u64) -> bool {
        self.flows.ended(&flow.0, established_ktime_ns)
    }

    /// Notes what the kernel's list of sockets says of the connection that was established then.
    pub fn note_listed(&mut self, flow: Flow, established_ktime_ns: u64, listed: Listed) {
        self.flows
            .note_listed(&flow.0, established_ktime_ns, listed);
    }
}
