//! Which connections are being watched, as far as the agent can know: while there are any, the
//! window probe has to be attached.
//!
//! Constraint: bounded in number and in time, for what ends a watch may get lost on its way.

use std::collections::HashMap;

use tcpwnd_core::Flow;

/// A watch that sent nothing for so long is given up, nanoseconds. The next window of an idle
/// connection is not worth a probe on the transmit path of all others.
const PATIENCE_NS: u64 = 30_000_000_000;

/// Watches that are remembered. The kernel's table is no larger; see `WATCH` in the programs.
const LIMIT: usize = 1024;

/// Connections under watch, each with the moment at which it is given up, in nanoseconds of
/// CLOCK_MONOTONIC. The same addresses in use again are watched anew, whatever became of the
/// connection that had them before.
#[derive(Debug, Default)]
pub struct Watches {
    until: HashMap<Flow, u64>,
}

impl Watches {
    /// A damaged connection was put under watch, or sent a window that is not its last.
    pub fn keep(&mut self, flow: Flow, now_ns: u64) {
        if self.until.len() < LIMIT {
            self.until.insert(flow, now_ns + PATIENCE_NS);
        }
    }

    /// A watch is over: its last window was seen, or the connection ended.
    pub fn end(&mut self, flow: &Flow) {
        self.until.remove(flow);
    }

    /// Whether anything is being watched.
    pub fn any(&mut self, now_ns: u64) -> bool {
        self.until.retain(|_, until| *until > now_ns);
        !self.until.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use tcpwnd_common::FlowKey;

    use super::{Flow, LIMIT, PATIENCE_NS, Watches};

    fn flow(remote_port: u16) -> Flow {
        Flow(FlowKey {
            remote_port,
            ..FlowKey::ZERO
        })
    }

    #[test]
    fn watching_ends_with_the_last_watch() {
        let mut watches = Watches::default();
        assert!(!watches.any(0));
        watches.keep(flow(1), 10);
        watches.keep(flow(2), 10);
        watches.end(&flow(1));
        assert!(watches.any(10));
        watches.end(&flow(2));
        assert!(!watches.any(10));
    }

    #[test]
    fn silent_watches_are_given_up() {
        let mut watches = Watches::default();
        watches.keep(flow(1), 10);
        watches.keep(flow(1), 20);
        assert!(watches.any(20 + PATIENCE_NS - 1));
        assert!(!watches.any(20 + PATIENCE_NS));
    }

    #[test]
    fn number_of_watches_is_bounded() {
        let mut watches = Watches::default();
        for port in 0..u16::MAX {
            watches.keep(flow(port), 10);
        }
        assert_eq!(watches.until.len(), LIMIT);
    }
}
