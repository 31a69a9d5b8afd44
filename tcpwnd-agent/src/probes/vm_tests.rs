//! The programs on a real kernel. These need root and a kernel with kprobes, so they run in VMs:
//! `cargo xtask test` does that, `cargo xtask vm agent-tests --kernel KERNEL` only that. They are
//! found by this module's name and told from other ignored tests by the reason
//! (xtask/src/vm/agent_tests.rs).

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use tcpwnd_common::{ABI_VERSION, Config, Counter, HandshakeRecord, Kind, Outcome, Probe};

use super::{Attached, Mechanism, MechanismChoice, Settings, TransportChoice, attach};
use crate::kernel::features::{Features, Support};
use crate::kernel::host::{Capability, Host};

pub(super) const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(super) const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

pub(super) fn settings(mechanism: MechanismChoice) -> Settings {
    Settings {
        config: Config::ALL,
        mechanism,
        transport: TransportChoice::Auto,
        ring_bytes: 1 << 20,
        perf_bytes: 1 << 18,
        handshakes: 4096,
        btf: None,
    }
}

/// Makes `number` connections over loopback, each with an exchange both ways.
pub(super) fn connect(address: IpAddr, number: usize) -> u16 {
    let listener = TcpListener::bind(SocketAddr::new(address, 0)).unwrap();
    let local = listener.local_addr().unwrap();
    for _ in 0..number {
        let mut client = TcpStream::connect(local).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"ping").unwrap();
        let mut buffer = [0; 4];
        server.read_exact(&mut buffer).unwrap();
        server.write_all(b"pong").unwrap();
        client.read_exact(&mut buffer).unwrap();
    }
    local.port()
}

fn kind(record: &[u8]) -> Kind {
    assert_eq!(u16::from_ne_bytes([record[0], record[1]]), ABI_VERSION);
    Kind::try_from(u16::from_ne_bytes([record[2], record[3]])).unwrap()
}

/// Runs `body` where rings can be registered.
pub(super) fn in_runtime<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(body)
}

pub(super) fn mechanism_of(attached: &Attached, probe: Probe) -> Option<Mechanism> {
    let status = attached.status();
    status
        .iter()
        .find(|status| status.probe == probe)
        .unwrap()
        .mechanism
}

pub(super) fn every_connection_comes_out(settings: &Settings, expected: Mechanism) {
    in_runtime(async {
        let mut attached = attach(settings).unwrap();
        let mut ring = attached.take_events().unwrap();
        let ports = [connect(V4, 60), connect(V6, 40)];
        let mut handshakes = 0;
        while handshakes < 100 {
            ring.batch(|record| {
                assert_eq!(kind(record), Kind::Handshake);
                assert_eq!(record.len(), size_of::<HandshakeRecord>());
                handshakes += 1;
            })
            .await
            .unwrap();
        }
        attached.detach();
        assert_eq!(ring.drain(|_| ()), 0);
        let counters = attached.counters();
        for probe in [Probe::MakeSynack, Probe::RcvStateProcess, Probe::SetState] {
            assert!(counters.runs(probe) >= 100, "{}", probe.name());
        }
        assert_eq!(counters.get(Counter::Established), 100);
        assert_eq!(counters.get(Counter::HandshakesSent), 100);
        assert_eq!(counters.get(Counter::NoRecord), 0);
        for (port, synacks) in ports.into_iter().zip([60, 40]) {
            let listeners = attached.listeners();
            let slot = listeners.iter().find(|slot| slot.key.port == port);
            assert_eq!(slot.unwrap().synacks, synacks, "port {port}");
        }
        for status in attached.status() {
            println!("{status:?}");
            assert!(!status.attached);
            // Loaded nowhere in the VM, and built into some kernels.
            if status.reason.as_deref() == Some(super::table::NO_SYNPROXY) {
                let name = status.probe.name();
                assert!(name.starts_with("synproxy") && status.mechanism.is_none());
                continue;
            }
            assert_eq!(status.reason, None);
            match status.probe {
                Probe::SetState => {
                    assert_eq!(status.mechanism, Some(Mechanism::RawTracepoint));
                }
                _ => assert_eq!(status.mechanism, Some(expected)),
            }
        }
        println!("degradations: {:?}", attached.degradations());
    });
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn every_connection_comes_out_with_fentry() {
    every_connection_comes_out(&settings(MechanismChoice::Fentry), Mechanism::Fentry);
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn every_connection_comes_out_with_kprobes() {
    every_connection_comes_out(&settings(MechanismChoice::Kprobe), Mechanism::Kprobe);
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn run_time_is_told_while_the_kernel_measures() {
    let measure = |on| std::fs::write("/proc/sys/kernel/bpf_stats_enabled", on).unwrap();
    measure("0");
    in_runtime(async {
        let attached = attach(&settings(MechanismChoice::Auto)).unwrap();
        let told = || -> Vec<Option<u64>> {
            let status = attached.status();
            status.iter().map(|status| status.run_time_ns).collect()
        };
        connect(V4, 5);
        assert!(told().iter().all(Option::is_none));
        measure("1");
        // The service gives all of its capabilities up.
        keep_capabilities(0);
        connect(V4, 5);
        let times = told();
        let ran = |probe: Probe| {
            let status = attached.status();
            times[status.iter().position(|s| s.probe == probe).unwrap()].unwrap()
        };
        for probe in [Probe::MakeSynack, Probe::RcvStateProcess, Probe::SetState] {
            assert!(ran(probe) > 0, "{}", probe.name());
        }
        assert_eq!(ran(Probe::CookieV6Check), 0);
    });
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn the_window_probe_runs_only_while_something_is_watched() {
    std::fs::write("/proc/sys/kernel/bpf_stats_enabled", "1").unwrap();
    // The kernel keeps 15 characters of a program's name.
    for (choice, name) in [
        (MechanismChoice::Fentry, "select_window_f"),
        (MechanismChoice::Kprobe, "select_window_k"),
    ] {
        in_runtime(async {
            let window_runs = || runs_of(name);
            let mut settings = settings(choice);
            settings.config.confirm = 1;
            let mut attached = attach(&settings).unwrap();
            let is_attached = |attached: &Attached| {
                let status = attached.status();
                let window = status.iter().find(|s| s.probe == Probe::SelectWindow);
                window.unwrap().attached
            };
            connect(V4, 5);
            assert_eq!((window_runs(), is_attached(&attached)), (0, false));
            for _ in 0..2 {
                attached.watch_window(true).unwrap();
            }
            assert!(is_attached(&attached));
            connect(V4, 5);
            assert!(window_runs() > 0);
            attached.watch_window(false).unwrap();
            let seen = window_runs();
            connect(V4, 5);
            assert_eq!((window_runs(), is_attached(&attached)), (seen, false));
            // On 5.10 this is another program of the same name, which counts from 0.
            attached.watch_window(true).unwrap();
            let before = window_runs();
            connect(V4, 5);
            assert!(window_runs() > before);
            // Of its own counter only sockets under watch are part.
            assert_eq!(attached.counters().runs(Probe::SelectWindow), 0);
        });
    }
}

/// Runs of a program as the kernel counts them.
fn runs_of(name: &str) -> u64 {
    aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.name_as_str() == Some(name))
        .unwrap()
        .run_count()
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn without_confirmation_there_is_no_window_probe() {
    in_runtime(async {
        let mut attached = attach(&settings(MechanismChoice::Auto)).unwrap();
        attached.watch_window(true).unwrap();
        let status = attached.status();
        assert!(!status.iter().any(|s| s.probe == Probe::SelectWindow));
    });
}

/// Names of the programs that the kernel has, as far as they can be ours.
fn programs() -> Vec<String> {
    aya::programs::loaded_programs()
        .filter_map(|program| program.ok()?.name_as_str().map(str::to_owned))
        // The kernel keeps 15 characters of a name.
        .filter(|name| {
            super::table::HOOKS[0].fentry[0].starts_with(name.as_str())
                || super::table::HOOKS[0].kprobe[0].starts_with(name.as_str())
        })
        .collect()
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn nothing_remains_when_it_is_dropped_or_fails() {
    in_runtime(async {
        let attached = attach(&settings(MechanismChoice::Auto)).unwrap();
        assert_eq!(programs().len(), 1);
        drop(attached);
        // The kernel frees programs some time after the last reference went.
        std::thread::sleep(std::time::Duration::from_secs(1));
        assert_eq!(programs(), Vec::<String>::new());
    });
}

/// Leaves this thread only the capabilities in `keep`.
pub(super) fn keep_capabilities(keep: u64) {
    let header = [0x2008_0522_u32, 0];
    let data: [u32; 6] = [
        keep as u32,
        keep as u32,
        0,
        (keep >> 32) as u32,
        (keep >> 32) as u32,
        0,
    ];
    // SAFETY: header and data have the layout of capset(2)'s version 3.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    assert_eq!(done, 0);
    assert_eq!(Host::read().effective, Some(keep));
}

pub(super) const SERVICE: u64 = 1 << Capability::Bpf as u8 | 1 << Capability::Perfmon as u8;

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn the_services_capabilities_are_enough_for_fentry() {
    crate::kernel::host::lift_memlock_limit();
    keep_capabilities(SERVICE);
    every_connection_comes_out(&settings(MechanismChoice::Fentry), Mechanism::Fentry);
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn auto_takes_fentry_with_the_services_capabilities() {
    crate::kernel::host::lift_memlock_limit();
    keep_capabilities(SERVICE);
    in_runtime(async {
        let attached = attach(&settings(MechanismChoice::Auto)).unwrap();
        let mechanism = mechanism_of(&attached, Probe::MakeSynack);
        assert_eq!(mechanism, Some(Mechanism::Fentry));
    });
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn debians_refusal_of_kprobes_is_explained() {
    crate::kernel::host::lift_memlock_limit();
    keep_capabilities(SERVICE);
    in_runtime(async {
        let outcome = attach(&settings(MechanismChoice::Kprobe));
        if Host::read().perf_event_paranoid.unwrap_or(2) <= 2 {
            outcome.map(drop).unwrap();
            return;
        }
        let Err(error) = outcome else {
            panic!("kprobes were attached");
        };
        assert_eq!(
            error.to_string(),
            "failed to attach kprobe tcp_make_synack: permission denied: \
             kernel.perf_event_paranoid is 3, which asks for CAP_SYS_ADMIN (or use --mechanism \
             fentry)"
        );
        assert_eq!(programs(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn without_capabilities_the_missing_ones_are_named() {
    keep_capabilities(0);
    in_runtime(async {
        let Err(error) = attach(&settings(MechanismChoice::Auto)) else {
            panic!("it was attached");
        };
        println!("{error}");
        assert!(
            error
                .to_string()
                .contains("CAP_BPF and CAP_PERFMON are missing")
        );
    });
}

/// Kernels before 5.11 charge maps to the limit; later ones take no notice of it.
#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn a_small_limit_on_locked_memory_is_named_where_it_matters() {
    let limit = libc::rlimit {
        rlim_cur: 65_536,
        rlim_max: 65_536,
    };
    // SAFETY: reads the struct, changes a limit of this process.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    assert_eq!(done, 0);
    keep_capabilities(SERVICE);
    let outcome = in_runtime(async { attach(&settings(MechanismChoice::Auto)).map(drop) });
    let release = crate::kernel::release();
    match outcome {
        Ok(()) => assert!(!release.starts_with("5.10."), "{release}"),
        Err(error) => {
            assert!(release.starts_with("5.10."), "{release}: {error}");
            assert!(error.to_string().contains("only 65536 bytes"), "{error}");
        }
    }
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn the_kernels_features_are_recognised() {
    let features = Features::probe(&Host::read());
    println!("{features:?}");
    for support in [
        features.ring_buffer,
        features.raw_tracepoint,
        features.fentry,
        features.kprobe,
    ] {
        assert_eq!(support, Support::Supported);
    }
    keep_capabilities(0);
    let features = Features::probe(&Host::read());
    println!("{features:?}");
    assert!(matches!(features.fentry, Support::Forbidden(_)));
    // Some kernels let everybody have maps.
    let everybody = std::fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled");
    if everybody.unwrap().trim() != "0" {
        assert!(matches!(features.ring_buffer, Support::Forbidden(_)));
    }
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn a_connection_that_left_syn_recv_has_its_outcome() {
    in_runtime(async {
        let mut attached = attach(&settings(MechanismChoice::Auto)).unwrap();
        connect(V6, 1);
        attached.detach();
        let mut outcomes = Vec::new();
        let at = std::mem::offset_of!(HandshakeRecord, child)
            + std::mem::offset_of!(tcpwnd_common::Child, outcome);
        attached.take_events().unwrap().drain(|record| {
            outcomes.push(Outcome::try_from(record[at]).unwrap());
        });
        assert_eq!(outcomes, [Outcome::Established]);
    });
}
