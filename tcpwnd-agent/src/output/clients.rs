//! What `/metrics` says of connections that this host opened, by the port that they lead to.
//!
//! Constraint: names of their own. The local port of such a connection is another one each time, so
//! the label of the others would explode; and who adds theirs up must not count both ends of a
//! connection inside one host.

use tcpwnd_core::Role;
use tcpwnd_core::books::Books;
use tcpwnd_core::flows::OpenFlows;

use super::exposition::Family;
use super::metrics::{ignored, of_handshakes, open_by_label, open_gauge};
use super::ports::PortLabels;

const LABEL: &str = "remote_port";

/// The metrics of connections that this host opened.
pub fn families(ports: &PortLabels, books: &Books, flows: &OpenFlows) -> Vec<Family> {
    let mut all = of_handshakes(
        Role::Client,
        (ports, LABEL),
        || books.remote_ports(),
        [
            Family::counter(
                "tcpwnd_client_handshakes",
                "Connections opened here that left SYN_SENT for ESTABLISHED, by the way they came \
                 about",
            ),
            Family::counter(
                "tcpwnd_client_window_scale_mismatches",
                "Connections opened here whose agreed window scale is not the one in use",
            ),
            Family::counter(
                "tcpwnd_client_window_scale_lost",
                "Connections opened here without window scaling",
            ),
            Family::counter(
                "tcpwnd_client_window_scale_unverified",
                "Connections opened here without a verdict, for lack of evidence",
            ),
        ],
    );
    all.push(ignored(
        (ports, LABEL),
        books.remote_ports(),
        Family::counter(
            "tcpwnd_client_window_scale_ignored",
            "Connections opened here without window scaling by the doing of a peer of --ignore-peer",
        ),
    ));
    let sums = open_by_label(ports, flows.remote_ports());
    let gauge = |name, help, value| open_gauge(LABEL, &sums, Family::gauge(name, help), value);
    all.extend([
        gauge(
            "tcpwnd_client_mismatched_connections",
            "Open connections opened here whose agreed window scale is not the one in use",
            |port| Some(port.mismatched as f64),
        ),
        gauge(
            "tcpwnd_client_scale_lost_connections",
            "Open connections opened here without window scaling",
            |port| Some(port.scale_lost as f64),
        ),
        gauge(
            "tcpwnd_client_lowest_throughput_ceiling_bytes_per_second",
            "Throughput that the window allows on the worst open damaged connection that was opened \
             here; absent when there is none or its round-trip time is not known",
            |port| port.lowest_ceiling_bytes_per_second,
        ),
    ]);
    all
}
