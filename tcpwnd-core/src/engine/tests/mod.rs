//! Bytes in, observations, books and gauges out.

mod books;
mod carried_over;
mod flows;
mod ignored;
mod roles;

use super::*;
use crate::books::{Gate, KernelTotals};
use crate::detect::window_scale::{MismatchCause, Path, UnverifiedCause, Verdict};
use crate::fixture::{Random, SINCE, bytes_of, closed, cookie, healthy, unscaled, window};
use tcpwnd_common::{Kind, Outcome};

fn engine() -> Engine {
    Engine::new(Settings {
        watching_since_ktime_ns: SINCE,
        rcvbuf_sets_clamp: false,
        sees_synproxy: false,
        flow_limit: 4,
    })
}

/// The same record from another port of the peer.
fn from_port(mut record: HandshakeRecord, port: u16) -> HandshakeRecord {
    record.flow.remote_port = port;
    record
}

fn watched(port: u16) -> HandshakeRecord {
    let mut record = from_port(cookie(1, 7), port);
    record.child.flags |= child_flags::WATCHED;
    record
}

fn ingest(engine: &mut Engine, record: &HandshakeRecord) -> Finding {
    match engine.ingest(&bytes_of(record)).unwrap() {
        Observation::Handshake(finding) => *finding,
        other => panic!("{other:?}"),
    }
}

fn kernel(handshakes: u64, lost: u64) -> KernelTotals {
    KernelTotals {
        handshakes,
        sent: handshakes - lost,
        lost,
    }
}
