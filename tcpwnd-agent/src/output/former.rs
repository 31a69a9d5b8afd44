//! What a former agent found: on `/metrics`, and in answers of `/api/v1/findings`.
//!
//! Constraint: it is there only where a state file is kept; without one nothing is known of a former
//! agent, and 0 would be a claim.

use serde::Serialize;
use tcpwnd_core::{Flow, OpenFlow, OpenFlows, Role, Verdict};

use super::exposition::Family;
use super::gate::Time;
use crate::state::Numbers;

/// Most that an answer lists, 100 KB.
const LISTED: usize = 500;

/// The metrics.
pub fn families(numbers: &Numbers, flows: &OpenFlows) -> Vec<Family> {
    let carried = flows.iter().filter(|(_, open)| open.carried_over).count();
    vec![
        Family::gauge(
            "tcpwnd_carried_over_connections",
            "Open damaged connections that a former agent found; they are in the other gauges too",
        )
        .value(carried as f64),
        Family::gauge(
            "tcpwnd_carried_over_unchecked_connections",
            "Damaged connections of former agents that cannot be looked for; they are in no other gauge",
        )
        .value(numbers.unchecked as f64),
        Family::gauge(
            "tcpwnd_carried_over_complete",
            "1 if each connection that the former agent counted as damaged is counted here, or has \
             ended; 0 if some may be missing, or nothing is known of a former agent",
        )
        .value(f64::from(u8::from(numbers.complete))),
        Family::gauge(
            "tcpwnd_state_file_connections",
            "Damaged connections that the state file lists: open ones, and those of former agents that \
             may be",
        )
        .value(numbers.saved as f64),
        Family::gauge(
            "tcpwnd_state_file_left_out_connections",
            "Open damaged connections that it does not: of other network namespaces, beyond its \
             limit, or not looked up; and those that former agents had left out",
        )
        .value(numbers.left_out as f64),
        Family::counter(
            "tcpwnd_state_file_errors",
            "How often the state file could not be used or written, or a connection not be looked up",
        )
        .value(numbers.errors as f64),
    ]
}

/// The part of an answer.
#[derive(Debug, Serialize)]
pub struct CarriedOver {
    open: usize,
    unchecked: u64,
    complete: bool,
    connections: Vec<Connection>,
}

/// An open damaged connection that a former agent found.
#[derive(Debug, Serialize)]
struct Connection {
    established: Time,
    #[serde(flatten)]
    verdict: Verdict,
    flow: Flow,
}

impl CarriedOver {
    /// What there is on this port, or on any; of the connections the oldest, at most `limit`.
    pub fn of(numbers: &Numbers, flows: &OpenFlows, port: Option<u16>, limit: usize) -> Self {
        let asked = |flow: &Flow, open: &OpenFlow| {
            let port = port.is_none_or(|port| port == flow.0.local_port);
            // The page is about listeners.
            open.carried_over && open.role == Role::Server && port
        };
        let mut all: Vec<_> = flows
            .iter()
            .map(|(key, open)| (Flow(*key), open))
            .filter(|(flow, open)| asked(flow, open))
            .collect();
        all.sort_by_key(|(flow, open)| (open.established_ktime_ns, *flow));
        let listed = all.iter().take(limit.min(LISTED));
        Self {
            open: all.len(),
            unchecked: numbers.unchecked,
            complete: numbers.complete,
            connections: listed
                .map(|(flow, open)| Connection {
                    established: Time(open.established_ktime_ns),
                    verdict: open.verdict,
                    flow: *flow,
                })
                .collect(),
        }
    }
}
