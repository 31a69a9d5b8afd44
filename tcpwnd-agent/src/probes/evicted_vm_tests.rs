//! More handshakes under way than the smallest table holds: as `vm_tests` of this folder.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use aya::util::nr_cpus;
use tcpwnd_common::Counter;
use tcpwnd_core::books::KernelTotals;
use tcpwnd_core::detect::window_scale::{UnverifiedCause, Verdict};
use tcpwnd_core::engine::{self, Engine, Observation};

use super::object::ENTRIES_PER_CPU;
use super::vm_tests::{in_runtime, settings};
use super::{Attached, MechanismChoice, Settings, attach};

/// Handshakes that end, of the oldest and of the newest.
const EACH: usize = 300;

/// Handshakes before the oldest of those, which can have begun before the programs were there.
const BEFORE: usize = 200;

/// A listener that takes a connection when its first data comes (TCP_DEFER_ACCEPT), and as many
/// handshakes under way as there are.
fn deferring(handshakes: usize) -> TcpListener {
    std::fs::write("/proc/sys/net/core/somaxconn", handshakes.to_string()).unwrap();
    let limit = libc::rlimit {
        rlim_cur: 4 * handshakes as u64,
        rlim_max: 4 * handshakes as u64,
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let seconds: libc::c_int = 600;
    // SAFETY: reads the struct and the integer, whose size it is told; changes a limit of this
    // process and its own socket.
    let done = unsafe {
        [
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit),
            libc::setsockopt(
                listener.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_DEFER_ACCEPT,
                (&raw const seconds).cast(),
                size_of_val(&seconds) as libc::socklen_t,
            ),
            libc::listen(listener.as_raw_fd(), handshakes as libc::c_int),
        ]
    };
    assert_eq!(done, [0; 3]);
    listener
}

/// What became of each connection, by its client's port, and whether the books balance.
fn verdicts(attached: &mut Attached) -> (BTreeMap<u16, Verdict>, bool) {
    let mut engine = Engine::new(engine::Settings {
        watching_since_ktime_ns: attached.watching_since_ktime_ns(),
        rcvbuf_sets_clamp: attached.rcvbuf_sets_clamp(),
        sees_synproxy: attached.sees_synproxy(),
        flow_limit: 1,
    });
    attached.detach();
    let mut verdicts = BTreeMap::new();
    attached.take_events().unwrap().drain(|record| {
        let Ok(Observation::Handshake(finding)) = engine.ingest(record) else {
            panic!("not a handshake");
        };
        let twice = verdicts.insert(finding.flow.0.remote_port, finding.verdict);
        assert_eq!(twice, None);
    });
    let counters = attached.counters();
    let totals = engine.books().totals(KernelTotals {
        handshakes: counters.get(Counter::Established) + counters.get(Counter::LeftSynRecv),
        sent: counters.get(Counter::HandshakesSent),
        lost: counters.get(Counter::HandshakesLost),
    });
    (verdicts, totals.balanced)
}

fn whose_record_is_gone_has_no_verdict(mechanism: MechanismChoice) {
    in_runtime(async {
        let records = ENTRIES_PER_CPU * nr_cpus().unwrap();
        let number = BEFORE + EACH + records + EACH;
        let listener = deferring(number);
        let smallest = Settings {
            handshakes: 1,
            ..settings(mechanism)
        };
        let mut attached = attach(&smallest).unwrap();
        let to = listener.local_addr().unwrap();
        let mut clients: Vec<_> = (0..number)
            .map(|_| TcpStream::connect(to).unwrap())
            .collect();
        assert_eq!(attached.counters().get(Counter::Established), 0);
        let port = |client: &TcpStream| client.local_addr().unwrap().port();
        let mut end = |at: usize| {
            clients[at].write_all(&[1]).unwrap();
            let (server, _) = listener.accept().unwrap();
            assert_eq!(server.peer_addr().unwrap().port(), port(&clients[at]));
            port(&clients[at])
        };
        let oldest: Vec<_> = (BEFORE..BEFORE + EACH).map(&mut end).collect();
        let newest: Vec<_> = (number - EACH..number).map(end).collect();
        let (verdicts, balanced) = verdicts(&mut attached);
        assert!(balanced);
        assert_eq!(verdicts.len(), 2 * EACH);
        for port in newest {
            assert_eq!(verdicts.get(&port), Some(&Verdict::Ok));
        }
        let gone = Verdict::Unverified(UnverifiedCause::NoRecord);
        let lost = oldest.iter().filter(|port| verdicts[port] == gone).count();
        let kept = oldest.iter().filter(|port| verdicts[port] == Verdict::Ok);
        assert_eq!(lost + kept.count(), EACH);
        assert!(lost > 0);
        assert_eq!(attached.counters().get(Counter::NoRecord), lost as u64);
        println!("{lost} of {EACH} without a record");
    });
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn whose_record_is_gone_has_no_verdict_with_fentry() {
    whose_record_is_gone_has_no_verdict(MechanismChoice::Fentry);
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn whose_record_is_gone_has_no_verdict_with_kprobes() {
    whose_record_is_gone_has_no_verdict(MechanismChoice::Kprobe);
}
