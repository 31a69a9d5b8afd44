//! The object for perf buffers on kernels that would do without it: as `vm_tests` of this folder.

use aya::programs::loaded_programs;
use tcpwnd_common::{Counter, Probe};

use super::object::WITHOUT_NEWER_FLAGS;
use super::vm_tests::{
    SERVICE, V4, V6, connect, every_connection_comes_out, in_runtime, keep_capabilities, settings,
};
use super::{Mechanism, MechanismChoice, Settings, TransportChoice, attach};
use crate::kernel::host::{Host, lift_memlock_limit};

/// Instructions that the verifier looks at, at most, up to 5.1 (BPF_COMPLEXITY_LIMIT_INSNS).
const MOST_SEEN: u32 = 131_072;

fn over_perf(mechanism: MechanismChoice) -> Settings {
    Settings {
        transport: TransportChoice::Perf,
        ..settings(mechanism)
    }
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn every_connection_comes_out_of_perf_buffers_with_fentry() {
    every_connection_comes_out(&over_perf(MechanismChoice::Fentry), Mechanism::Fentry);
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn every_connection_comes_out_of_perf_buffers_with_kprobes() {
    every_connection_comes_out(&over_perf(MechanismChoice::Kprobe), Mechanism::Kprobe);
}

/// As on kernels before 5.5: the verifier knows no setting, and counters are looked up.
#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn every_connection_comes_out_where_maps_are_what_they_were() {
    WITHOUT_NEWER_FLAGS.set(true);
    let settings = over_perf(MechanismChoice::Kprobe);
    every_connection_comes_out(&settings, Mechanism::Kprobe);
    in_runtime(async {
        let attached = attach(&settings).unwrap();
        assert!(attached.needs_capabilities());
        let missing: Vec<_> = attached.degradations().iter().map(|d| d.what).collect();
        assert!(
            missing.contains(&"array maps that can be mapped into memory"),
            "{missing:?}"
        );
        // Of the kernels here, those that count do better than 5.1 did: this is no proof.
        for program in loaded_programs().flatten() {
            if let Some(seen) = program.verified_instruction_count() {
                let name = program.name_as_str().unwrap_or_default().to_owned();
                println!("{name}: the verifier looked at {seen} instructions");
                assert!(seen <= MOST_SEEN, "{name}: {seen}");
            }
        }
    });
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn debians_refusal_of_perf_buffers_is_explained() {
    lift_memlock_limit();
    keep_capabilities(SERVICE);
    in_runtime(async {
        let outcome = attach(&over_perf(MechanismChoice::Fentry));
        if Host::read().perf_event_paranoid.unwrap_or(2) <= 2 {
            outcome.map(drop).unwrap();
            return;
        }
        let Err(error) = outcome else {
            panic!("perf buffers were opened");
        };
        assert_eq!(
            error.to_string(),
            "failed to open the perf buffer of CPU 0: permission denied: \
             kernel.perf_event_paranoid is 3, which asks for CAP_SYS_ADMIN (or use --transport \
             ring)"
        );
    });
}

/// Nobody reads, and a buffer has room for seven records.
#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn what_a_full_perf_buffer_loses_is_counted_by_programs_and_by_the_buffer() {
    const MADE: usize = 200;
    in_runtime(async {
        let mut attached = attach(&Settings {
            perf_bytes: 4096,
            ..over_perf(MechanismChoice::Auto)
        })
        .unwrap();
        let mut records = attached.take_events().unwrap();
        let in_buffer = records.lost();
        connect(V4, MADE);
        let received = records.drain(|_| ());
        // The buffer tells of its losses with the next record, hence one on each CPU, or more.
        while in_buffer.count() < attached.counters().get(Counter::HandshakesLost) {
            connect(V6, 1);
            records.drain(|_| ());
        }
        attached.detach();
        let counters = attached.counters();
        let lost = counters.get(Counter::HandshakesLost);
        println!("{received} of {MADE} received, {lost} lost");
        assert!(lost > 0 && received > 0 && received < MADE);
        assert_eq!(received as u64 + lost, MADE as u64);
        assert_eq!(in_buffer.count(), lost);
        assert_eq!(
            counters.get(Counter::HandshakesSent) + lost,
            counters.get(Counter::Established)
        );
        assert!(counters.runs(Probe::SetState) >= MADE as u64);
    });
}
