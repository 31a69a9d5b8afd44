//! The outward schema, byte for byte: a change here is a change for whoever reads the output.

use super::*;
use crate::detect::window_scale::RmemMax;
use crate::engine::{Engine, Observation, Settings};
use crate::fixture::{
    PROXY_ISN, PROXY_TSVAL, SINCE, bare, bytes_of, closed, cookie, healthy, proxied, synack, window,
};
use tcpwnd_common::handshake_flags;

const TIME: &str = "2026-11-22T04:20:20.000000Z";

fn engine() -> Engine {
    Engine::new(Settings {
        watching_since_ktime_ns: SINCE,
        rcvbuf_sets_clamp: false,
        sees_synproxy: false,
        flow_limit: 10,
    })
}

fn line<T: Serialize>(kind: &'static str, body: T) -> serde_json::Value {
    let text = serde_json::to_string(&Line::new(kind, TIME, body)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn handshake(record: &tcpwnd_common::HandshakeRecord) -> serde_json::Value {
    match engine().ingest(&bytes_of(record)).unwrap() {
        Observation::Handshake(finding) => line(Finding::KIND, &*finding),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mismatch_as_json() {
    assert_eq!(
        handshake(&cookie(1, 7)),
        serde_json::json!({
            "schema": 1, "kind": "handshake", "time": TIME,
            "verdict": "mismatch", "cause": "unknown", "ignored": false, "role": "server",
            "path": "cookie", "outcome": "established",
            "flow": {
                "netns": 4_026_531_840_u32, "ifindex": 0,
                "local": {"addr": "10.9.0.1", "port": 9092},
                "remote": {"addr": "10.9.0.2", "port": 40000}
            },
            "listener": {
                "inode": 70_707, "netns_name": null, "process": null, "cgroup": null,
                "container": null, "pod": null, "unit": null
            },
            "receive": {
                "advertised": 1, "used": 7, "factor": 64.0, "damage": "too_small",
                "peer_window_bytes": 1024, "socket_window_bytes": 65536
            },
            "send": {"offered": 9, "used": 9, "factor": 1.0, "damage": "none"},
            "impact": {
                "srtt_us": null, "handshake_us": 200_000, "rtt_us": 200_000,
                "receive": {"window_bytes": 1024, "ceiling_bytes_per_second": 5120.0},
                "send": null, "ceiling_bytes_per_second": 5120.0,
                "segment": null
            },
            "evidence": {
                "synack": {
                    "seq": u32::MAX, "readable": true,
                    "window_scale": 1, "request_window_scale": 1,
                    "timestamps": true, "tsval": 0x1122_3344, "sack": true, "mss": 1460,
                    "cookie": true, "count": 1
                },
                "second_synack": null,
                "proxy_synack": null,
                "syn": {
                    "window_scale": 9, "timestamps": true, "sack": true, "mss": 1460, "ack": 0
                },
                "ack": {"timestamps": true, "tsecr": 0x1122_3344},
                "child": {
                    "window_scaling": true, "rcv_wscale": 7, "snd_wscale": 9,
                    "timestamps": true, "sack": true,
                    "rcv_wnd": 65536, "window_clamp": 3_145_728, "mss": 1448
                },
                "inputs": {
                    "listener": 70_707,
                    "rcvbuf": 204_800, "rcvbuf_locked": true, "rcvlowat": 1,
                    "window_clamp": 102_401, "full_space": 102_400,
                    "scaling_ratio": 128, "tcp_adv_win_scale": null,
                    "tcp_rmem_max": 6_291_456, "rmem_max": null, "route_window": 65535,
                    "tcp_window_scaling": 1, "tcp_timestamps": 1,
                    "accept_queue": {"len": 3, "limit": 50}, "syn_queue_len": 4,
                    "complete": true
                },
                "cookie_inputs": {
                    "listener": 70_707,
                    "rcvbuf": 204_800, "rcvbuf_locked": true, "rcvlowat": 1,
                    "window_clamp": 102_401, "full_space": 102_400,
                    "scaling_ratio": 128, "tcp_adv_win_scale": null,
                    "tcp_rmem_max": 6_291_456, "rmem_max": null, "route_window": 65535,
                    "tcp_window_scaling": 1, "tcp_timestamps": 1,
                    "accept_queue": {"len": 3, "limit": 50}, "syn_queue_len": 4,
                    "complete": true
                }
            }
        })
    );
}

/// Of what is not in the record.
#[test]
fn rmem_max_is_shown_as_it_was_at_each_moment() {
    let record = cookie(1, 7);
    let (then, now) = (record.handshake.first.ktime_ns, record.header.ktime_ns);
    let read = |ktime_ns, bytes| Some(RmemMax { ktime_ns, bytes });
    let shown = |first: Option<RmemMax>, last: Option<RmemMax>| {
        let mut engine = engine().with_rmem_max(first, move || last);
        engine.note_rmem_max();
        let Ok(Observation::Handshake(finding)) = engine.ingest(&bytes_of(&record)) else {
            panic!();
        };
        let line = line(Finding::KIND, &*finding);
        ["inputs", "cookie_inputs"].map(|at| line["evidence"][at]["rmem_max"].as_u64())
    };
    let same = shown(read(then, 212_992), read(now, 212_992));
    assert_eq!(same, [Some(212_992), Some(212_992)]);
    let changed = shown(read(then, 212_992), read(now, 425_984));
    assert_eq!(changed, [Some(212_992), Some(425_984)]);
    // It was changed some time between two readings, one before and one after the ACK.
    let between = shown(read(then, 212_992), read(now + 1, 425_984));
    assert_eq!(between, [Some(212_992), None]);
    // Nobody has read it since.
    assert_eq!(shown(read(then, 212_992), None), [Some(212_992), None]);
    assert_eq!(shown(None, None), [None, None]);
}

#[test]
fn how_much_of_a_buffer_becomes_window_is_said_as_the_kernel_says_it() {
    let mut record = cookie(1, 7);
    let inputs = &mut record.handshake.inputs;
    (inputs.scaling_ratio, inputs.adv_win_scale) = (0, 2);
    inputs.complete = 0;
    let shown = &handshake(&record)["evidence"]["inputs"];
    assert!(shown["scaling_ratio"].is_null());
    assert_eq!(shown["tcp_adv_win_scale"], 2);
    // All but a quarter.
    assert_eq!(shown["full_space"], 153_600);
    assert_eq!(shown["complete"], false);
}

#[test]
fn an_unverified_one_says_null_where_nothing_is_known() {
    let mut record = healthy();
    record.record_found = 0;
    record.handshake = crate::fixture::NO_HANDSHAKE;
    record.child.srtt_us8 = 0;
    let line = handshake(&record);
    assert_eq!(line["verdict"], "unverified");
    assert_eq!(line["cause"], "before_start");
    assert_eq!(line["path"], "unknown");
    for field in ["receive", "send"] {
        assert!(line[field].is_null(), "{field}");
    }
    for field in [
        "synack",
        "second_synack",
        "proxy_synack",
        "syn",
        "ack",
        "inputs",
        "cookie_inputs",
    ] {
        assert!(line["evidence"][field].is_null(), "{field}");
    }
    assert!(line["impact"]["ceiling_bytes_per_second"].is_null());
    assert_eq!(line["evidence"]["child"]["rcv_wscale"], 7);
}

#[test]
fn ok_has_no_cause() {
    let line = handshake(&healthy());
    assert_eq!(line["verdict"], "ok");
    assert!(line["cause"].is_null());
    assert_eq!(line["impact"]["srtt_us"], 200_000);
    assert!(line["evidence"]["cookie_inputs"].is_null());
}

#[test]
fn no_option_is_null() {
    let mut record = healthy();
    crate::fixture::unscaled(&mut record);
    let line = handshake(&record);
    assert_eq!(line["receive"]["advertised"], 7);
    assert!(line["receive"]["used"].is_null());
    assert_eq!(line["receive"]["factor"], 1.0 / 128.0);
    assert_eq!(line["receive"]["damage"], "overrun");
    assert_eq!(line["evidence"]["child"]["window_scaling"], false);
}

#[test]
fn a_second_synack_is_shown() {
    let mut record = cookie(7, 7);
    record.handshake.last = synack(Some(2), 0);
    record.handshake.flags |= handshake_flags::SYNACKS_DIFFER;
    record.handshake.synacks = 2;
    let line = handshake(&record);
    assert_eq!(line["evidence"]["synack"]["window_scale"], 7);
    assert_eq!(line["evidence"]["second_synack"]["window_scale"], 2);
    assert_eq!(line["evidence"]["second_synack"]["cookie"], false);
    assert_eq!(line["evidence"]["synack"]["count"], 2);
}

#[test]
fn what_a_syn_proxy_told_the_peer_stands_beside_what_the_stack_told_the_proxy() {
    let line = handshake(&proxied(Some(3), 7));
    assert_eq!(line["cause"], "synproxy_wscale");
    assert_eq!(line["path"], "synproxy");
    assert_eq!(line["receive"]["advertised"], 3);
    assert!(line["impact"]["srtt_us"].is_null());
    let evidence = &line["evidence"];
    assert_eq!(
        evidence["proxy_synack"],
        serde_json::json!({
            "seq": PROXY_ISN, "window_scale": 3, "tsval": PROXY_TSVAL, "sack": true, "mss": 1460,
            "count": 1
        })
    );
    assert_eq!(evidence["syn"]["ack"], PROXY_ISN);
    assert_eq!(evidence["synack"]["window_scale"], 7);
    // One that was sent for another connection is not shown.
    let mut record = proxied(Some(3), 7);
    record.proxy.isn = 4_711;
    assert!(handshake(&record)["evidence"]["proxy_synack"].is_null());
}

#[test]
fn a_mark_is_no_synack() {
    for flag in [
        handshake_flags::BPF_REQUEST,
        handshake_flags::FOREIGN_COOKIE,
    ] {
        let mut record = cookie(9, 7);
        record.handshake.flags = flag;
        let line = handshake(&record);
        assert_eq!(line["verdict"], "unverified");
        for field in ["synack", "syn", "inputs"] {
            assert!(line["evidence"][field].is_null(), "{field}");
        }
    }
}

#[test]
fn only_what_belongs_to_the_connection_is_shown() {
    // The peer answered the cookie before the last one.
    let mut record = cookie(9, 7);
    record.handshake.flags |= handshake_flags::PREVIOUS_KEPT;
    record.handshake.last = synack(Some(7), tcpwnd_common::synack_flags::COOKIE);
    record.handshake.first.isn = 4_711;
    let line = handshake(&record);
    assert_eq!(line["verdict"], "ok");
    let evidence = &line["evidence"];
    assert_eq!(evidence["synack"]["seq"], u32::MAX);
    assert_eq!(evidence["synack"]["window_scale"], 7);
    assert_eq!(evidence["ack"]["tsecr"], 0x1122_3344);
    assert!(evidence["cookie_inputs"].is_object());
    for field in ["second_synack", "syn", "inputs"] {
        assert!(evidence[field].is_null(), "{field}");
    }
    // It answered none that is known: what is known shows why.
    record.child.snd_una = 5;
    let line = handshake(&record);
    assert_eq!(line["cause"], "stale_record");
    assert_eq!(line["evidence"]["synack"]["seq"], 4_711);
    assert!(line["evidence"]["ack"].is_null());
}

#[test]
fn a_synack_that_was_not_read_says_so() {
    let mut record = healthy();
    record.handshake.first.options = crate::fixture::ABSENT;
    let line = handshake(&record);
    assert_eq!(line["cause"], "unreadable");
    let synack = &line["evidence"]["synack"];
    assert_eq!(synack["readable"], false);
    assert!(synack["window_scale"].is_null());
    assert_eq!(synack["request_window_scale"], 7);
}

#[test]
fn an_end_and_a_window_as_json() {
    let mut engine = engine();
    let mut record = cookie(1, 7);
    record.child.flags |= tcpwnd_common::child_flags::WATCHED;
    engine.ingest(&bytes_of(&record)).unwrap();
    let Ok(Observation::Window(seen)) = engine.ingest(&bytes_of(&window(&record, 0, 0))) else {
        panic!();
    };
    let flow = serde_json::json!({
        "netns": 4_026_531_840_u32, "ifindex": 0,
        "local": {"addr": "10.9.0.1", "port": 9092},
        "remote": {"addr": "10.9.0.2", "port": 40000}
    });
    assert_eq!(
        line(WindowSeen::KIND, seen),
        serde_json::json!({
            "schema": 1, "kind": "window", "time": TIME, "flow": flow,
            "window_bytes": 65536, "scale_used": 7, "on_wire": 512,
            "peer_window_bytes": 1024, "advertised": 1, "number": 0, "last": false,
            "confirmed": true
        })
    );
    let Ok(Observation::Closed(end)) = engine.ingest(&bytes_of(&closed(&record))) else {
        panic!();
    };
    assert_eq!(
        line(ClosedFlow::KIND, end),
        serde_json::json!({
            "schema": 1, "kind": "closed", "time": TIME, "role": "server",
            "flow": flow,
            "bytes_received": 123_456, "srtt_us": 200_000, "open_seconds": 2.5,
            "windows_seen": 1, "confirmed": true
        })
    );
}

#[test]
fn inputs_that_differ_stand_beside_the_cause() {
    let mut record = cookie(1, 7);
    record.handshake.cookie_inputs.rcvbuf = 8 << 20;
    record.handshake.cookie_inputs.listener = 70_708;
    assert_eq!(
        handshake(&record)["inputs"],
        serde_json::json!({
            "listener": {"synack": 70_707, "ack": 70_708},
            "rcvbuf": {"synack": 204_800, "ack": 8_388_608}
        })
    );
    assert!(handshake(&healthy()).get("inputs").is_none());
}

#[test]
fn a_server_that_granted_nothing_as_json() {
    let Ok(Observation::Handshake(finding)) = engine().ingest(&bytes_of(&bare())) else {
        panic!();
    };
    assert_eq!(
        line(Finding::KIND, &*finding),
        serde_json::json!({
            "schema": 1, "kind": "handshake", "time": TIME,
            "verdict": "scale_lost", "cause": "peer_did_not_grant", "ignored": false, "role": "client",
            "path": "normal", "outcome": "established",
            "flow": {
                "netns": 4_026_531_840_u32, "ifindex": 0,
                "local": {"addr": "10.9.0.1", "port": 40000},
                "remote": {"addr": "10.9.0.2", "port": 9092}
            },
            "listener": {
                "inode": null, "netns_name": null, "process": null, "cgroup": null,
                "container": null, "pod": null, "unit": null
            },
            "receive": {
                "advertised": 7, "used": null, "factor": 1.0, "damage": "none",
                "peer_window_bytes": 65535, "socket_window_bytes": 65536
            },
            "send": {"offered": null, "used": null, "factor": 1.0, "damage": "none"},
            "impact": {
                "srtt_us": 200_000, "handshake_us": null, "rtt_us": 200_000,
                "receive": {"window_bytes": 65535, "ceiling_bytes_per_second": 327_675.0},
                "send": {"window_bytes": 65535, "ceiling_bytes_per_second": 327_675.0},
                "ceiling_bytes_per_second": 327_675.0,
                "segment": null
            },
            "evidence": {
                "syn": {"window_scale": 7, "window_clamp": 3_145_728},
                "synack": {
                    "seq": u32::MAX, "readable": true, "window_scale": null,
                    "timestamps": false, "sack": false, "mss": 1460, "window": 502, "bare": true
                },
                "child": {
                    "window_scaling": false, "rcv_wscale": 0, "snd_wscale": 0,
                    "timestamps": false, "sack": false, "rcv_wnd": 65536,
                    "window_clamp": 65535, "mss": 1448
                },
                "tcp_window_scaling": {"begun": 1, "established": 1},
                "tcp_timestamps": {"begun": 1, "established": 1}
            }
        })
    );
}

#[test]
fn what_was_not_seen_of_an_opened_connection_is_null() {
    let mut record = bare();
    record.connect = tcpwnd_common::Connect::NONE;
    let Ok(Observation::Handshake(finding)) = engine().ingest(&bytes_of(&record)) else {
        panic!();
    };
    let line = line(Finding::KIND, &*finding);
    assert_eq!(line["cause"], "no_record");
    let evidence = &line["evidence"];
    assert!(evidence["syn"].is_null() && evidence["synack"].is_null());
    assert!(evidence["tcp_window_scaling"]["begun"].is_null());
    assert!(line["receive"].is_null());
}
