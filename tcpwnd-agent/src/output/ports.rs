//! Which ports have a label of their own: local ones of connections that this host accepts, remote
//! ones of those that it opens.
//!
//! Constraint: bounded, and for ever: a port that has a label keeps it and one that came too late
//! never gets one, else counters would fall. Ports with damaged connections come first.

use std::borrow::Cow;
use std::collections::BTreeSet;

use tcpwnd_common::{ListenerSlot, PortRange};
use tcpwnd_core::OpenFlows;
use tcpwnd_core::books::Books;

/// Ports with a label of their own.
pub const LIMIT: usize = 64;

/// Label of all other ports.
pub const OTHER: &str = "other";

/// The ports that have a label.
#[derive(Clone, Debug, Default)]
pub struct PortLabels {
    ports: BTreeSet<u16>,
    // Every port that can come has a label from the beginning.
    closed: bool,
}

impl PortLabels {
    /// Labels for the ports of a filter, where those are few enough; else ports get theirs as
    /// they are seen.
    #[must_use]
    pub fn new(filter: &[PortRange]) -> Self {
        let count: usize = filter
            .iter()
            .map(|r| usize::from(r.last - r.first) + 1)
            .sum();
        if filter.is_empty() || count > LIMIT {
            return Self::default();
        }
        Self {
            ports: filter.iter().flat_map(|r| r.first..=r.last).collect(),
            closed: true,
        }
    }

    /// Local ports as they are known now. Those of open connections count by themselves: what a
    /// former agent found is in no book, and without a label it would look healed.
    pub fn see_local(&mut self, flows: &OpenFlows, listeners: &[ListenerSlot], books: &Books) {
        let open = flows.ports().into_keys();
        let listening = listeners.iter().map(|slot| slot.key.port);
        let seen = books.ports().map(|(port, _)| port);
        open.chain(listening)
            .chain(seen)
            .for_each(|port| self.see(port));
    }

    /// Remote ports, the same way.
    pub fn see_remote(&mut self, flows: &OpenFlows, books: &Books) {
        let open = flows.remote_ports().into_keys();
        let seen = books.remote_ports().map(|(port, _)| port);
        open.chain(seen).for_each(|port| self.see(port));
    }

    /// A port was seen.
    pub fn see(&mut self, port: u16) {
        if !self.closed && self.ports.len() < LIMIT {
            self.ports.insert(port);
        }
    }

    /// The label of a port.
    #[must_use]
    pub fn label(&self, port: u16) -> Cow<'static, str> {
        if self.ports.contains(&port) {
            port.to_string().into()
        } else {
            OTHER.into()
        }
    }

    /// Every label, so that each can begin at 0.
    pub fn all(&self) -> impl Iterator<Item = Cow<'static, str>> {
        let other = (!self.closed).then_some(Cow::Borrowed(OTHER));
        self.ports
            .iter()
            .map(|port| Cow::Owned(port.to_string()))
            .chain(other)
    }
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, PortLabels, PortRange};

    fn labels(ports: &PortLabels) -> Vec<String> {
        ports.all().map(|label| label.into_owned()).collect()
    }

    #[test]
    fn ports_of_the_filter_have_labels_from_the_beginning() {
        let mut ports = PortLabels::new(&[PortRange {
            first: 9092,
            last: 9093,
        }]);
        ports.see(80);
        assert_eq!(labels(&ports), ["9092", "9093"]);
        assert_eq!(ports.label(80), "other");
    }

    #[test]
    fn listeners_get_labels_up_to_the_limit_and_keep_them() {
        let mut ports = PortLabels::new(&[]);
        assert_eq!(labels(&ports), ["other"]);
        for port in 1..=1000 {
            ports.see(port);
        }
        ports.see(0);
        assert_eq!(labels(&ports).len(), LIMIT + 1);
        assert_eq!(ports.label(1), "1");
        assert_eq!(ports.label(64), "64");
        assert_eq!(ports.label(65), "other");
        assert_eq!(ports.label(0), "other");
    }

    #[test]
    fn a_wide_filter_is_treated_like_none() {
        let ports = PortLabels::new(&[PortRange {
            first: 1,
            last: 65535,
        }]);
        assert_eq!(labels(&ports), ["other"]);
        let just = PortLabels::new(&[PortRange { first: 1, last: 64 }]);
        assert_eq!(labels(&just).len(), 64);
    }
}
