//! What `check` says of hosts, against golden texts.
//!
//! `TCPWND_BLESS=1 cargo test -p tcpwnd-agent risk` writes them anew.

use std::net::{IpAddr, Ipv6Addr};

use tcpwnd_core::risk::{Assessment, Host, Level, Listener, Process, Settings, assess};

use super::text;
use crate::host::listeners::no_names;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/check");

/// A broker in order, beside an SSH server that nobody floods.
fn good() -> Host {
    let listener = |port, queue_limit, name: &str, pid| Listener {
        addr: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        port,
        queue_len: 0,
        queue_limit,
        rcvbuf: Some(131_072),
        process: Some(Process {
            pid,
            name: name.to_owned(),
            kafka: name == "java",
        }),
    };
    let names = [
        "SyncookiesSent",
        "SyncookiesRecv",
        "SyncookiesFailed",
        "TCPReqQFullDoCookies",
        "TCPReqQFullDrop",
        "ListenOverflows",
        "ListenDrops",
    ];
    Host {
        settings: Settings {
            tcp_syncookies: Some(1),
            tcp_timestamps: Some(1),
            tcp_window_scaling: Some(1),
            somaxconn: Some(4_096),
            tcp_max_syn_backlog: Some(4_096),
            tcp_rmem_default: Some(131_072),
            tcp_rmem_max: Some(6 << 20),
            rmem_max: Some(212_992),
            tcp_adv_win_scale: None,
        },
        counters: names.map(|name| (name.to_owned(), 0)).into(),
        listeners: Some(vec![
            listener(9092, 4_096, "java", 812),
            listener(10_435, 1_024, "tcpwnd", 900),
        ]),
        unseen: Vec::new(),
    }
}

/// Backlog 50, SO_RCVBUF 102400, after a restart.
fn kafka() -> Host {
    let mut host = good();
    for broker in host.listeners.iter_mut().flatten().take(1) {
        broker.queue_limit = 50;
        broker.rcvbuf = Some(204_800);
    }
    for (name, count) in [("SyncookiesSent", 1_950), ("SyncookiesRecv", 1_948)] {
        host.counters.insert(name.to_owned(), count);
    }
    host
}

fn golden(name: &str, host: &Host) -> Assessment {
    let assessment = assess(host);
    let json = serde_json::to_string_pretty(&assessment).unwrap() + "\n";
    for (file, said) in [
        (format!("{GOLDEN}/{name}.txt"), text(&assessment)),
        (format!("{GOLDEN}/{name}.json"), json),
    ] {
        if std::env::var_os("TCPWND_BLESS").is_some() {
            std::fs::write(&file, &said).unwrap();
        }
        assert_eq!(said, std::fs::read_to_string(&file).unwrap(), "{file}");
    }
    assessment
}

#[test]
fn a_good_host() {
    assert_eq!(golden("good_host", &good()).level, Level::Ok);
}

#[test]
fn kafkas_defaults() {
    assert_eq!(golden("kafka_defaults", &kafka()).level, Level::Risk);
}

/// What listens there is no broker: nothing is said of Kafka.
#[test]
fn another_application() {
    let mut host = kafka();
    for listener in host.listeners.iter_mut().flatten().take(1) {
        listener.process = Some(Process {
            pid: 812,
            name: "nginx".to_owned(),
            kafka: false,
        });
    }
    let assessment = golden("another_application", &host);
    assert!(!text(&assessment).contains("Kafka"));
}

#[test]
fn syncookies_off() {
    let mut host = kafka();
    host.settings.tcp_syncookies = Some(0);
    host.counters = good().counters;
    host.counters.insert("TCPReqQFullDrop".to_owned(), 214);
    assert_eq!(golden("syncookies_off", &host).level, Level::Notice);
}

#[test]
fn timestamps_off() {
    let mut host = good();
    host.settings.tcp_timestamps = Some(0);
    assert_eq!(golden("timestamps_off", &host).level, Level::Risk);
}

/// In a container of an older kernel, too: rmem_max is hidden there.
#[test]
fn without_root() {
    let mut host = kafka();
    host.settings.rmem_max = None;
    for listener in host.listeners.iter_mut().flatten() {
        listener.process = None;
    }
    host.unseen = crate::host::sysctls::unseen(&host.settings);
    host.unseen.extend(no_names(2, 1));
    let assessment = golden("without_root", &host);
    let broker = &assessment.listeners.unwrap()[0];
    assert_eq!(broker.scale.unwrap().factor, 64);
}

/// Without BTF it is not known how this kernel turns a receive buffer into a window.
#[test]
fn without_btf() {
    let mut host = kafka();
    host.unseen = vec![crate::host::sysctls::NO_BTF.to_owned()];
    let assessment = golden("without_btf", &host);
    let broker = &assessment.listeners.unwrap()[0];
    assert_eq!(broker.scale.unwrap().factor, 64);
}
