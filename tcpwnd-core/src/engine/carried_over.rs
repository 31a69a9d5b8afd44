//! Damaged connections that a former agent found and that are open still.
//!
//! Constraint: whoever brings them has looked that they are; from then on only another look, or a
//! new connection with the same addresses, takes them out.

use super::Engine;
use crate::detect::window_scale::Verdict;
use crate::flow::Flow;
use crate::flows::{Listed, OpenFlow};

/// What became of a connection of a former agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarriedOver {
    /// It is among the open damaged ones now.
    Kept,
    /// The filter leaves it out, or it is ignored.
    FilteredOut,
    /// The table is full.
    NoRoom,
}

impl Engine {
    /// Takes in a connection that a former agent found damaged.
    pub fn carry_over(&mut self, flow: Flow, open: OpenFlow) -> CarriedOver {
        let ignored = match open.verdict {
            Verdict::ScaleLost(cause) => cause.is_the_peers() && (self.ignored)(&flow),
            Verdict::Ok | Verdict::Mismatch(_) | Verdict::Unverified(_) => false,
        };
        let damaged = open.verdict.is_damaged();
        if ignored || !damaged || !(self.filter)(&flow) {
            return CarriedOver::FilteredOut;
        }
        let open = OpenFlow {
            carried_over: true,
            windows: None,
            ..open
        };
        if self.flows.carry_over(flow.0, open) {
            CarriedOver::Kept
        } else {
            CarriedOver::NoRoom
        }
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
