//! Which connections are being watched, as far as the agent can know: while there are any, the
//! window probe has to be attached.
//!
//! Constraint: bounded in number and in time, for what ends a watch may get lost on its way.

use std::collections::HashMap;

use tcpwnd_core::Flow;

/// A watch that sent nothing for so long is given up, nanoseconds. The next window of an idle
/// connection is not worth a probe on the transmit path of all others.
const PATIENCE_NS: u64 = 30_000_000_000;

/// How long the probe stays after the last watch has ended, nanoseconds. In a storm suspects come
/// and go by the hundred, and taking a probe off and on again makes the kernel rewrite its own
/// code and interrupt every CPU for it each time.
const LINGER_NS: u64 = 1_000_000_000;

/// Watches that are remembered. The kernel's table is no larger; see `WATCH` in the programs.
const LIMIT: usize = 1024;

/// Connections under watch, each with the moment at which it is given up, in nanoseconds of
/// CLOCK_MONOTONIC. The same addresses in use again are watched anew, whatever became of the
/// connection that had them before.
#[derive(Debug, Default)]
pub struct Watches {
    until: HashMap<Flow, u64>,
    last_ended_ns: Option<u64>,
}

impl Watches {
    /// A damaged connection was put under watch, or sent a window that is not its last.
    pub fn keep(&mut self, flow: Flow, now_ns: u64) {
        if self.until.len() < LIMIT {
            self.until.insert(flow, now_ns + PATIENCE_NS);
        }
    }

    /// A watch is over: its last window was seen, or the connection ended.
    pub fn end(&mut self, flow: &Flow, now_ns: u64) {
        if self.until.remove(flow).is_some() {
            self.last_ended_ns = Some(now_ns);
        }
    }

    /// Whether the window probe is wanted: something is being watched, or was a moment ago.
    pub fn want_probe(&mut self, now_ns: u64) -> bool {
        self.until.retain(|_, until| *until > now_ns);
        let ended = self.last_ended_ns;
        !self.until.is_empty() || ended.is_some_and(|ended| now_ns < ended + LINGER_NS)
    }
}

#[cfg(test)]
mod tests {
    use tcpwnd_common::FlowKey;

    use super::{Flow, LIMIT, LINGER_NS, PATIENCE_NS, Watches};

    fn flow(remote_port: u16) -> Flow {
        Flow(FlowKey {
            remote_port,
            ..FlowKey::ZERO
        })
    }

    #[test]
    fn probe_goes_a_moment_after_the_last_watch() {
        let mut watches = Watches::default();
        assert!(!watches.want_probe(0));
        watches.keep(flow(1), 10);
        watches.keep(flow(2), 10);
        watches.end(&flow(1), 11);
        assert!(watches.want_probe(12 + LINGER_NS));
        watches.end(&flow(2), 13 + LINGER_NS);
        assert!(watches.want_probe(12 + 2 * LINGER_NS));
        assert!(!watches.want_probe(13 + 2 * LINGER_NS));
    }

    #[test]
    fn end_of_a_connection_that_was_not_watched_wants_no_probe() {
        let mut watches = Watches::default();
        watches.end(&flow(1), 10);
        assert!(!watches.want_probe(11));
    }

    #[test]
    fn silent_watches_are_given_up() {
        let mut watches = Watches::default();
        watches.keep(flow(1), 10);
        watches.keep(flow(1), 20);
        assert!(watches.want_probe(20 + PATIENCE_NS - 1));
        assert!(!watches.want_probe(20 + PATIENCE_NS));
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
