//! A kernel without the tracepoint of state changes: as `vm_tests` of this folder.

use std::mem::offset_of;

use tcpwnd_common::{Child, Counter, HandshakeRecord, Outcome, Probe};

use super::hook::WITHOUT_TRACEPOINTS;
use super::vm_tests::{V4, V6, connect, in_runtime, mechanism_of, settings};
use super::{Mechanism, MechanismChoice, attach};

fn connections_come_out(choice: MechanismChoice, others: Mechanism) {
    WITHOUT_TRACEPOINTS.set(true);
    in_runtime(async {
        let mut attached = attach(&settings(choice)).unwrap();
        let mechanism = mechanism_of(&attached, Probe::SetState);
        assert_eq!(mechanism, Some(Mechanism::Kprobe));
        let mechanism = mechanism_of(&attached, Probe::MakeSynack);
        assert_eq!(mechanism, Some(others));
        connect(V4, 1);
        connect(V6, 1);
        attached.detach();
        let mut records = Vec::new();
        let outcome = offset_of!(HandshakeRecord, child) + offset_of!(Child, outcome);
        let found = offset_of!(HandshakeRecord, record_found);
        attached.take_events().unwrap().drain(|record| {
            let outcome = Outcome::try_from(record[outcome]).unwrap();
            records.push((outcome, record[found..].starts_with(&[1, 0])));
        });
        assert_eq!(records, [(Outcome::Established, true); 2]);
        let counters = attached.counters();
        assert_eq!(counters.get(Counter::Established), 2);
        assert_eq!(counters.get(Counter::HandshakesSent), 2);
        for none in [
            Counter::LeftSynRecv,
            Counter::NoRecord,
            Counter::SocketUnreadable,
            Counter::StoodIn,
        ] {
            assert_eq!(counters.get(none), 0, "{}", none.name());
        }
    });
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn connections_come_out_with_fentry_and_a_kprobe() {
    connections_come_out(MechanismChoice::Auto, Mechanism::Fentry);
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn connections_come_out_with_kprobes_alone() {
    connections_come_out(MechanismChoice::Kprobe, Mechanism::Kprobe);
}
