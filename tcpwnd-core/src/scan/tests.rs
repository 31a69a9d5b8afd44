//! Who is suspect, and who is not though it looks like it.

use super::*;
use tcpwnd_common::FlowKey;

const PORT: u16 = 9092;

/// Settings of a 5.10 with 6 MB of `tcp_rmem`: 7 without SO_RCVBUF, 1 with Kafka's.
fn settings() -> Settings {
    Settings {
        tcp_rmem_default: Some(131_072),
        tcp_rmem_max: Some(6_291_456),
        rmem_max: Some(212_992),
        tcp_adv_win_scale: Some(1),
        tcp_window_scaling: Some(1),
        ..Settings::default()
    }
}

fn listener(addr: &str, rcvbuf: u32) -> Listener {
    Listener {
        addr: addr.parse().unwrap(),
        port: PORT,
        ifindex: 0,
        only_v6: false,
        rcvbuf: Some(rcvbuf),
    }
}

fn mapped(addr: &str) -> [u8; 16] {
    match addr.parse().unwrap() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// A connection on a path of 1,500 bytes.
fn socket(remote_port: u16, used: u8) -> Socket {
    Socket {
        flow: Flow(FlowKey {
            local_addr: mapped("10.9.0.1"),
            remote_addr: mapped("10.9.0.2"),
            local_port: PORT,
            remote_port,
            ..FlowKey::ZERO
        }),
        cookie: u64::from(remote_port),
        info: TcpInfo {
            window_scaling: true,
            rcv_wscale: used,
            snd_wscale: 7,
            timestamps: true,
            sack: true,
            snd_mss: 1_448,
            rcv_mss: 1_448,
            advmss: 1_448,
            pmtu: 1_500,
            rcv_ssthresh: 64_088,
            srtt_us: Some(200_000),
            bytes_received: Some(1),
            rcv_wnd: None,
        },
    }
}

/// A Kafka broker with its defaults, and these connections.
fn broker(sockets: Vec<Socket>) -> Namespace {
    Namespace {
        settings: settings(),
        listeners: vec![listener("::", 204_800)],
        sockets,
    }
}

fn found(namespace: &Namespace) -> Scan {
    scan(namespace, |_| true)
}

fn reasons(suspect: &Suspect) -> Vec<Why> {
    suspect.reasons.iter().map(|one| one.reason).collect()
}

#[test]
fn one_that_differs_from_listener_and_siblings_comes_first() {
    let mut sockets: Vec<_> = (1..=20).map(|port| socket(port, 1)).collect();
    sockets[9].info.rcv_wscale = 7;
    // Not what any kernel is known to do: only different.
    sockets[4].info.rcv_wscale = 3;
    let scan = found(&broker(sockets));
    assert_eq!((scan.passive, scan.others), (20, 0));
    let ports: Vec<_> = scan.suspects.iter().map(|at| at.cookie).collect();
    assert_eq!(ports, [10, 5]);
    let first = &scan.suspects[0];
    assert_eq!(
        reasons(first),
        [Why::DiffersFromListener, Why::DiffersFromSiblings]
    );
    assert_eq!((first.used, first.listener), (Some(7), Some(1)));
    assert_eq!(first.factor, Some(64.0));
    assert!(first.score > scan.suspects[1].score);
    assert!(first.reasons[0].read.contains("ignores SO_RCVBUF"));
    assert!(
        !scan.suspects[1].reasons[0]
            .read
            .contains("ignores SO_RCVBUF")
    );
}

#[test]
fn a_storm_that_damaged_most_leaves_the_others_behind() {
    let mut sockets: Vec<_> = (1..=20).map(|port| socket(port, 7)).collect();
    sockets[3].info.rcv_wscale = 1;
    let scan = found(&broker(sockets));
    assert_eq!(scan.suspects.len(), 20);
    let last = scan.suspects.last().unwrap();
    assert_eq!(
        (last.cookie, reasons(last)),
        (4, vec![Why::DiffersFromSiblings])
    );
    assert!(scan.suspects[..19].iter().all(|at| at.score > last.score));
}

#[test]
fn sound_connections_are_not_suspect() {
    let sockets: Vec<_> = (1..=20).map(|port| socket(port, 1)).collect();
    assert_eq!(found(&broker(sockets)).suspects, []);
}

#[test]
fn one_that_scales_without_timestamps_cannot_have_come_by_cookie() {
    let mut sockets: Vec<_> = (1..=20).map(|port| socket(port, 1)).collect();
    sockets[0].info.rcv_wscale = 7;
    sockets[0].info.timestamps = false;
    sockets[0].info.snd_mss = 1_460;
    assert_eq!(found(&broker(sockets)).suspects, []);
}

#[test]
fn without_scaling_and_timestamps_it_is_suspect_and_with_timestamps_not() {
    let mut sockets: Vec<_> = (1..=20).map(|port| socket(port, 1)).collect();
    for (index, timestamps) in [(0, false), (1, true)] {
        sockets[index].info.window_scaling = false;
        sockets[index].info.rcv_wscale = 0;
        sockets[index].info.timestamps = timestamps;
    }
    let scan = found(&broker(sockets));
    assert_eq!(scan.suspects.len(), 1);
    let suspect = &scan.suspects[0];
    assert_eq!(suspect.cookie, 1);
    assert_eq!(reasons(suspect), [Why::NoScalingNoTimestamps]);
    assert_eq!((suspect.used, suspect.factor), (None, None));
}

#[test]
fn a_size_of_the_cookie_table_counts_where_the_path_takes_more() {
    let mut sockets: Vec<_> = (1..=20).map(|port| socket(port, 1)).collect();
    // 1,460 on a path of 9,000; 1,460 on one of 1,500; a peer behind a tunnel.
    sockets[0].info.pmtu = 9_000;
    sockets[2].info.snd_mss = 1_388;
    let scan = found(&broker(sockets));
    assert_eq!(scan.suspects.len(), 1);
    assert_eq!(scan.suspects[0].cookie, 1);
    assert_eq!(reasons(&scan.suspects[0]), [Why::MssOfCookieTable]);
}

#[test]
fn the_cookie_table_is_that_of_the_family() {
    let mut sockets = vec![socket(1, 1), socket(2, 1)];
    for socket in &mut sockets {
        socket.flow.0.local_addr = mapped("fd09::1");
        socket.flow.0.remote_addr = mapped("fd09::2");
        socket.info.pmtu = 9_000;
    }
    // 1,460 is in IPv4's alone; 8,940 fills the path.
    sockets[1].info.snd_mss = 8_940 - 12;
    assert_eq!(found(&broker(sockets.clone())).suspects, []);
    sockets[0].info.snd_mss = 1_440 - 12;
    assert_eq!(found(&broker(sockets)).suspects.len(), 1);
}

#[test]
fn few_siblings_and_no_majority_say_nothing() {
    let mut namespace = broker((1..=3).map(|port| socket(port, 7)).collect());
    namespace.listeners[0].rcvbuf = None;
    namespace.sockets[0].info.rcv_wscale = 1;
    assert_eq!(found(&namespace).suspects, []);
    namespace.sockets = (1..=10).map(|port| socket(port, port as u8 % 2)).collect();
    assert_eq!(found(&namespace).suspects, []);
}

#[test]
fn what_is_not_known_of_a_listener_makes_nobody_suspect() {
    let mut namespace = broker(vec![socket(1, 7)]);
    assert_eq!(found(&namespace).suspects[0].score, 5);
    // Hidden: with SO_RCVBUF it makes no difference to what is announced, without it does.
    namespace.settings.rmem_max = None;
    assert_eq!(found(&namespace).suspects[0].score, 4);
    namespace.listeners[0].rcvbuf = Some(131_072);
    namespace.sockets[0].info.rcv_wscale = 1;
    assert_eq!(found(&namespace).suspects, []);
    namespace.settings.rmem_max = Some(0);
    assert_eq!(found(&namespace).suspects.len(), 1);
    namespace = broker(vec![socket(1, 7)]);
    namespace.settings.tcp_rmem_default = None;
    assert_eq!(found(&namespace).suspects, []);
    namespace.settings = settings();
    namespace.settings.tcp_window_scaling = Some(0);
    assert_eq!(found(&namespace).suspects, []);
}

#[test]
fn listeners_that_share_a_port_and_differ_accuse_nobody() {
    let mut namespace = broker(vec![socket(1, 7)]);
    namespace.listeners.push(listener("::", 131_072));
    assert_eq!(found(&namespace).suspects, []);
    namespace.listeners[1].rcvbuf = Some(204_800);
    assert_eq!(found(&namespace).suspects.len(), 1);
}

#[test]
fn a_connection_belongs_to_the_listener_that_is_bound_most_closely() {
    let mut namespace = broker(vec![socket(1, 1)]);
    // 7, which would make it suspect; and one that takes no IPv4.
    namespace.listeners.insert(0, listener("0.0.0.0", 131_072));
    assert_eq!(found(&namespace).suspects.len(), 1);
    namespace.listeners.push(listener("10.9.0.1", 204_800));
    assert_eq!(found(&namespace).suspects, []);
    let mut only_v6 = broker(vec![socket(1, 7)]);
    only_v6.listeners[0].only_v6 = true;
    assert_eq!((found(&only_v6).passive, found(&only_v6).others), (0, 1));
    only_v6.listeners[0].only_v6 = false;
    only_v6.listeners[0].ifindex = 3;
    assert_eq!(found(&only_v6).others, 1);
}

#[test]
fn what_this_host_opened_is_left_out_and_counted() {
    let mut opened = socket(PORT, 7);
    opened.flow.0.local_port = 40_000;
    let scan = found(&broker(vec![opened]));
    assert_eq!((scan.passive, scan.others, scan.suspects.len()), (0, 1, 0));
}

#[test]
fn the_filter_leaves_out_without_changing_who_the_siblings_are() {
    let mut sockets: Vec<_> = (1..=20).map(|port| socket(port, 1)).collect();
    sockets[9].info.rcv_wscale = 7;
    let scan = scan(&broker(sockets), |flow| flow.0.remote_port == 10);
    assert_eq!((scan.passive, scan.suspects.len()), (1, 1));
    let siblings = scan.suspects[0].siblings.unwrap();
    assert_eq!((siblings.scale, siblings.agree, siblings.of), (1, 19, 20));
}

#[test]
fn a_suspect_as_json() {
    let mut sockets: Vec<_> = (1..=4).map(|port| socket(port, 1)).collect();
    sockets[3].info.rcv_wscale = 7;
    let scan = found(&broker(sockets));
    assert_eq!(
        serde_json::to_value(&scan.suspects[0]).unwrap(),
        serde_json::json!({
            "flow": {
                "netns": 0, "ifindex": 0,
                "local": {"addr": "10.9.0.1", "port": 9092},
                "remote": {"addr": "10.9.0.2", "port": 4}
            },
            "settled": null, "ended": false,
            "score": 7, "used": 7, "listener": 1, "factor": 64.0,
            "siblings": {"scale": 1, "agree": 3, "of": 4},
            "reasons": [
                {
                    "reason": "differs_from_listener",
                    "read": "uses scale 7, and its listener (receive buffer 204800, by SO_RCVBUF, \
                             inferred) would announce 1 now; it is the one that a cookie path comes \
                             to which ignores SO_RCVBUF"
                },
                {
                    "reason": "differs_from_siblings",
                    "read": "uses scale 7, and 3 of the 4 connections of its listener use 1"
                }
            ],
            "socket": {
                "window_scaling": true, "rcv_wscale": 7, "snd_wscale": 7, "timestamps": true,
                "sack": true, "snd_mss": 1448, "rcv_mss": 1448, "advmss": 1448, "pmtu": 1500,
                "rcv_ssthresh": 64088, "srtt_us": 200_000, "bytes_received": 1, "rcv_wnd": null
            }
        })
    );
}
