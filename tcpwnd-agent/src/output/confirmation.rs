//! Which damaged connections were seen to announce windows that bear the finding out.
//!
//! Constraint: a window counts only if it was sent with the scale that the finding takes the socket to
//! use, and if what the peer was told is known; one that was sent with another one counts against it.

use std::collections::HashMap;

use serde::Serialize;
use tcpwnd_core::Flow;
use tcpwnd_core::findings::{ClosedFlow, Finding, WindowSeen};

use super::summary::grouped;

/// What came of watching damaged connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Confirmation {
    /// Damaged connections whose windows were looked at.
    pub watched: u64,
    /// Those of which windows were seen, all with the scale of the finding.
    pub confirmed: u64,
    /// Those of which a window was seen with another scale.
    pub contradicted: u64,
}

/// The damaged connections under watch.
#[derive(Debug, Default)]
pub struct Watched {
    counts: Confirmation,
    // Gone with their last window, or their end.
    open: HashMap<Flow, State>,
}

/// What the windows of a connection have shown so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unseen,
    Confirmed,
    Contradicted,
}

impl Watched {
    /// What came of it so far.
    #[must_use]
    pub fn counts(&self) -> Confirmation {
        self.counts
    }

    /// Takes in a handshake.
    pub fn handshake(&mut self, finding: &Finding) {
        if finding.watched && finding.is_damaged() {
            self.counts.watched += 1;
            self.open.insert(finding.flow, State::Unseen);
        }
    }

    /// Takes in a window.
    pub fn window(&mut self, window: &WindowSeen) {
        let told = window.peer_window_bytes.is_some();
        if let Some(state) = self.open.get_mut(&window.flow) {
            match (window.confirmed, told) {
                (true, _) if *state == State::Unseen => {
                    *state = State::Confirmed;
                    self.counts.confirmed += 1;
                }
                (false, true) if *state != State::Contradicted => {
                    self.counts.confirmed -= u64::from(*state == State::Confirmed);
                    *state = State::Contradicted;
                    self.counts.contradicted += 1;
                }
                // Said before, or it is not known what the peer was told.
                _ => {}
            }
        }
        if window.last {
            self.open.remove(&window.flow);
        }
    }

    /// Takes in the end of a connection.
    pub fn closed(&mut self, closed: &ClosedFlow) {
        self.open.remove(&closed.flow);
    }
}

impl Confirmation {
    /// In a line or two; none where nothing was watched.
    #[must_use]
    pub fn text(self) -> Vec<String> {
        let Self {
            watched,
            confirmed,
            contradicted,
        } = self;
        if watched == 0 {
            return Vec::new();
        }
        let result = if confirmed > 0 {
            "confirmed"
        } else {
            "none confirmed"
        };
        let mut lines = vec![format!(
            "announced windows of {} of {} damaged connections were seen: {result}",
            grouped(confirmed),
            grouped(watched)
        )];
        if contradicted > 0 {
            lines.push(format!(
                "contradicted: {} of them announced windows with another scale than was found",
                grouped(contradicted)
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::{Confirmation, Watched};
    use crate::testing;
    use tcpwnd_core::Engine;
    use tcpwnd_core::engine::Observation;

    /// A trace that has seen the handshakes of damaged connections from these ports.
    fn trace(ports: &[u16]) -> (Engine, Watched) {
        let (mut engine, mut watched) = (testing::engine(), Watched::default());
        for port in ports {
            let record = testing::handshake(9092, *port, 1, 7);
            watched.handshake(&testing::finding(&mut engine, &record));
        }
        (engine, watched)
    }

    /// The connection from `port` announces a window with this scale.
    fn announces((engine, watched): &mut (Engine, Watched), port: u16, scale: u8, last: bool) {
        let mut record = testing::window(&testing::handshake(9092, port, 1, 7));
        record.rcv_wscale = scale;
        record.last = last.into();
        match testing::ingest(engine, &record) {
            Observation::Window(window) => watched.window(&window),
            other => panic!("{other:?}"),
        }
    }

    fn counts(watched: &Watched) -> (u64, u64, u64) {
        let Confirmation {
            watched,
            confirmed,
            contradicted,
        } = watched.counts();
        (watched, confirmed, contradicted)
    }

    #[test]
    fn each_connection_is_confirmed_once() {
        let mut trace = trace(&[1, 2, 3]);
        assert_eq!(counts(&trace.1), (3, 0, 0));
        for (port, last) in [(1, false), (1, true), (1, false), (2, false)] {
            announces(&mut trace, port, 7, last);
        }
        assert_eq!(counts(&trace.1), (3, 2, 0));
        assert_eq!(
            trace.1.counts().text(),
            ["announced windows of 2 of 3 damaged connections were seen: confirmed"]
        );
    }

    #[test]
    fn another_scale_than_was_found_confirms_nothing() {
        let mut trace = trace(&[1, 2]);
        announces(&mut trace, 1, 1, false);
        assert_eq!(counts(&trace.1), (2, 0, 1));
        // Whatever it announces later.
        announces(&mut trace, 1, 7, false);
        assert_eq!(counts(&trace.1), (2, 0, 1));
        // Nor does what came before count.
        announces(&mut trace, 2, 7, false);
        assert_eq!(counts(&trace.1), (2, 1, 1));
        announces(&mut trace, 2, 0, true);
        assert_eq!(counts(&trace.1), (2, 0, 2));
        assert_eq!(
            trace.1.counts().text(),
            [
                "announced windows of 0 of 2 damaged connections were seen: none confirmed",
                "contradicted: 2 of them announced windows with another scale than was found"
            ]
        );
    }

    #[test]
    fn what_is_not_known_neither_confirms_nor_contradicts() {
        let mut trace = trace(&[1]);
        // It was not seen what this peer was told.
        announces(&mut trace, 2, 7, false);
        // The finding is of an older connection with the same addresses.
        let mut record = testing::window(&testing::handshake(9092, 1, 1, 7));
        record.established_ktime_ns += 1;
        let Observation::Window(window) = testing::ingest(&mut trace.0, &record) else {
            panic!("not a window");
        };
        trace.1.window(&window);
        assert_eq!(counts(&trace.1), (1, 0, 0));
    }

    #[test]
    fn where_nothing_was_watched_nothing_is_said() {
        let (mut engine, mut watched) = trace(&[]);
        watched.handshake(&testing::finding(
            &mut engine,
            &testing::handshake(9092, 1, 7, 7),
        ));
        assert_eq!(watched.counts(), Confirmation::default());
        assert!(watched.counts().text().is_empty());
    }

    #[test]
    fn a_connection_that_ended_is_forgotten() {
        let mut trace = trace(&[1]);
        let record = testing::handshake(9092, 1, 1, 7);
        let closed = testing::closed(&record, 1_000);
        let Observation::Closed(closed) = testing::ingest(&mut trace.0, &closed) else {
            panic!("not an end");
        };
        trace.1.closed(&closed);
        assert!(trace.1.open.is_empty());
        assert_eq!(counts(&trace.1), (1, 0, 0));
    }
}
