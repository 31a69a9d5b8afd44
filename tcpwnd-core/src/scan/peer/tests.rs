//! Peers of every kind against a receiver that behaves as the kernel does, packet by packet.

use super::tally::{SIZES, STOPS};
use super::wire::{RTT, START, Wire};
use super::*;

/// A window that grows by two segments with each that comes in, and then depends on what is in the
/// receive queue at the moment.
fn growing(start: u32, most: u32) -> impl FnMut(u32) -> u32 {
    let mut window = start;
    let mut round = 0;
    move |_| {
        window = (window + 2_896).min(most);
        round += 1;
        window - round % 5 * 640
    }
}

#[test]
fn a_small_window_is_confirmed_with_what_the_peer_was_told() {
    for (used, told) in [(7, 1), (7, 2), (9, 5), (13, 9), (7, 6)] {
        let settled = Wire::new(used, told).stream(400_000, u32::MAX, growing(65_536, 131_072));
        assert_eq!(
            settled.verdict,
            Outcome::Mismatch,
            "{used} {told}: {settled:?}"
        );
        assert_eq!(settled.advertised, Some(told), "{settled:?}");
        assert_eq!(settled.factor, Some(f64::from(1_u32 << (used - told))));
        assert!(settled.consistent.contains(&told), "{settled:?}");
        assert!(settled.stops_at_edge >= STOPS && settled.window_sizes >= SIZES);
        assert_eq!(settled.why, None);
    }
}

#[test]
fn the_ends_of_requests_do_not_hide_it() {
    let sizes = (0..20).map(|number| 20_000 + number * 1_117);
    let settled = Wire::new(7, 3).requests(sizes, 30_000, growing(65_536, 131_072));
    assert_eq!(
        (settled.verdict, settled.advertised),
        (Outcome::Mismatch, Some(3))
    );
    assert!(settled.other_stops > 0);
}

#[test]
fn a_peer_with_more_in_flight_than_any_small_window_is_cleared() {
    let settled = Wire::new(7, 7).stream(4_000_000, 14_480, growing(65_536, 2 << 20));
    assert_eq!(settled.verdict, Outcome::Cleared, "{settled:?}");
    assert!(!settled.consistent.contains(&6) && settled.consistent.contains(&7));
}

#[test]
fn without_timestamps_it_takes_a_burst_to_be_cleared() {
    let mut wire = Wire::new(7, 7);
    wire.timestamps = false;
    let settled = wire.stream(4_000_000, 14_480, growing(65_536, 2 << 20));
    assert_eq!(settled.verdict, Outcome::Undecided);
    // It is known of the smallest all the same.
    assert!(!settled.consistent.contains(&0), "{settled:?}");
    let mut wire = Wire::new(7, 7);
    wire.timestamps = false;
    let settled = wire.stream(4_000_000, 60_000, |_| 65_536);
    assert_eq!(settled.verdict, Outcome::Cleared, "{settled:?}");
}

#[test]
fn a_peer_that_fills_the_real_window_is_cleared() {
    let settled = Wire::new(7, 7).stream(2_000_000, u32::MAX, growing(65_536, 131_072));
    assert_eq!(settled.verdict, Outcome::Cleared, "{settled:?}");
}

#[test]
fn an_application_that_sends_little_settles_nothing() {
    for size in [1, 64, 100, 512, 1_000] {
        let sizes = std::iter::repeat_n(size, 400);
        let settled = Wire::new(7, 7).requests(sizes, 5_000, growing(65_536, 131_072));
        assert_eq!(settled.verdict, Outcome::Undecided, "{size}: {settled:?}");
    }
}

#[test]
fn requests_of_the_size_of_a_window_are_no_stall() {
    // Each is exactly what scale 1, 2, ... would leave of 65,536 bytes.
    for told in 0..7 {
        let size = 65_536 >> 7 << told;
        for window in [65_536, 131_072] {
            let sizes = std::iter::repeat_n(size, 200);
            let settled = Wire::new(7, 7).requests(sizes, 20_000, |_| window);
            assert_ne!(settled.verdict, Outcome::Mismatch, "{told}: {settled:?}");
        }
        let sizes = std::iter::repeat_n(size, 200);
        let settled = Wire::new(7, 7).requests(sizes, 20_000, growing(65_536, 4 << 20));
        assert_ne!(settled.verdict, Outcome::Mismatch, "{told}: {settled:?}");
        // Or of several such sizes, one after the other.
        let sizes = (0..400).map(|number| size << (number % 3));
        let settled = Wire::new(7, 7).requests(sizes, 20_000, growing(65_536, 131_072));
        assert_ne!(settled.verdict, Outcome::Mismatch, "{told}: {settled:?}");
    }
}

#[test]
fn records_of_one_size_come_to_the_edges_of_old_windows_only() {
    // 64 divides every window that scale 6 would leave.
    for size in [64, 128, 640, 1_280] {
        let mut wire = Wire::new(7, 7);
        let mut window = growing(65_536, 131_072);
        for _ in 0..600 {
            wire.send(size, size);
            wire.now_us += 3_000;
            while wire.data.front().is_some_and(|at| at.0 <= wire.now_us) {
                let now = wire.now_us;
                wire.step(&mut window);
                wire.now_us = now;
            }
        }
        assert_ne!(wire.settled().verdict, Outcome::Mismatch, "{size}");
    }
}

#[test]
fn a_congestion_window_is_no_receive_window() {
    for segments in [4_u32, 10, 20, 40] {
        let mut wire = Wire::new(7, 7);
        let sizes = std::iter::repeat_n(segments * 1_448, 300);
        let settled = wire.requests(sizes, 0, growing(65_536, 131_072));
        assert_ne!(
            settled.verdict,
            Outcome::Mismatch,
            "{segments}: {settled:?}"
        );
    }
}

#[test]
fn random_requests_settle_nothing_wrongly() {
    let mut state = 1_u64;
    for (used, told) in [(7, 7), (9, 9), (10, 10), (1, 1)] {
        let sizes: Vec<u32> = (0..2_000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                1 + (state >> 33) as u32 % 9_000
            })
            .collect();
        let settled =
            Wire::new(used, told).requests(sizes.into_iter(), 1_000, growing(65_536, 262_144));
        assert_ne!(settled.verdict, Outcome::Mismatch, "{used}: {settled:?}");
    }
}

#[test]
fn a_damaged_peer_is_never_cleared() {
    for (used, told) in [(7, 1), (7, 6), (9, 2), (10, 9)] {
        for burst in [1_448, 14_480, u32::MAX] {
            for timestamps in [true, false] {
                let mut wire = Wire::new(used, told);
                wire.timestamps = timestamps;
                let settled = wire.stream(600_000, burst, growing(65_536, 262_144));
                assert_ne!(
                    settled.verdict,
                    Outcome::Cleared,
                    "{used} {told} {settled:?}"
                );
                assert!(settled.consistent.contains(&told), "{settled:?}");
            }
        }
    }
}

#[test]
fn an_echo_that_is_late_clears_nobody() {
    for told in [1, 4, 6] {
        let mut wire = Wire::new(7, told);
        wire.busy = true;
        let settled = wire.stream(600_000, 14_480, growing(65_536, 262_144));
        assert_ne!(settled.verdict, Outcome::Cleared, "{told}: {settled:?}");
        assert!(settled.consistent.contains(&told), "{settled:?}");
    }
}

#[test]
fn what_came_by_the_window_of_the_handshake_refutes_nothing() {
    // The SYN+ACK's window is not scaled: ten segments are on their way before the first small one
    // is known, and come in one after the other.
    let mut wire = Wire::new(7, 1);
    let mut window = growing(65_536, 131_072);
    wire.edge = START.wrapping_add(14_480);
    for _ in 0..10 {
        wire.send(1_448, 1_448);
    }
    while wire.step(&mut window) {}
    let settled = wire.stream(100_000, u32::MAX, window);
    assert_eq!(
        (settled.verdict, settled.advertised),
        (Outcome::Mismatch, Some(1)),
        "{settled:?}"
    );
}

#[test]
fn what_a_peer_did_before_does_not_hide_it() {
    let mut wire = Wire::new(7, 1);
    let mut window = growing(65_536, 131_072);
    let before = wire.requests(std::iter::repeat_n(777, 200), 20_000, &mut window);
    assert_eq!(before.verdict, Outcome::Undecided, "{before:?}");
    assert!(before.other_stops > 0 && before.stops_at_edge == 0);
    let settled = wire.stream(400_000, u32::MAX, &mut window);
    assert_eq!(
        (settled.verdict, settled.advertised),
        (Outcome::Mismatch, Some(1)),
        "{settled:?}"
    );
}

#[test]
fn now_and_then_at_an_edge_is_no_stall() {
    let mut wire = Wire::new(7, 7);
    let mut window = growing(65_536, 1 << 20);
    for number in 0..200 {
        // What scale 2 would leave of the window, every fourth time.
        let like = wire.rcv_wnd >> 7 << 2;
        let size = if number % 4 == 0 { like } else { 777 };
        wire.requests(std::iter::once(size), 20_000, &mut window);
    }
    let settled = wire.settled();
    assert!(settled.stops_at_edge >= STOPS && settled.window_sizes >= SIZES);
    assert_ne!(settled.verdict, Outcome::Mismatch, "{settled:?}");
}

#[test]
fn a_round_trip_time_that_is_far_too_long_clears_nobody() {
    // The peer acknowledges late: 40 times the real time.
    let mut wire = Wire::new(7, 3);
    wire.srtt_us = 40 * RTT;
    let settled = wire.stream(400_000, u32::MAX, growing(65_536, 131_072));
    assert_ne!(settled.verdict, Outcome::Cleared, "{settled:?}");
}

#[test]
fn a_window_of_one_size_is_not_enough() {
    let settled = Wire::new(7, 1).stream(100_000, u32::MAX, |_| 65_536);
    assert_eq!(settled.verdict, Outcome::Undecided);
    assert!(
        settled.why.unwrap().contains("keeps its size"),
        "{settled:?}"
    );
    assert!(settled.consistent.contains(&1) && !settled.consistent.contains(&0));
}

#[test]
fn an_overrun_shows_where_the_kernel_lets_it_in() {
    let settled = Wire::new(7, 9).stream(2_000_000, u32::MAX, growing(65_536, 65_536));
    assert_eq!(settled.verdict, Outcome::Mismatch, "{settled:?}");
    assert!(settled.consistent.iter().all(|at| *at > 7), "{settled:?}");
}

#[test]
fn segments_that_overtake_each_other_overrun_nothing() {
    for (used, start) in [(0, 40_000), (7, 65_536)] {
        let mut wire = Wire::new(used, used);
        wire.reorders = true;
        let settled = wire.stream(4_000_000, 7_240, growing(start, start));
        assert_ne!(settled.verdict, Outcome::Mismatch, "{settled:?}");
        assert!(settled.consistent.contains(&used), "{settled:?}");
    }
    for told in [1, 3, 6] {
        let mut wire = Wire::new(7, told);
        wire.reorders = true;
        let settled = wire.stream(400_000, 7_240, growing(65_536, 131_072));
        assert_ne!(settled.verdict, Outcome::Cleared, "{told}: {settled:?}");
        assert!(settled.consistent.contains(&told), "{settled:?}");
    }
}

#[test]
fn a_larger_scale_that_is_suspected_is_not_cleared_by_more_in_flight() {
    let mut wire = Wire::new(7, 7);
    wire.stream(4_000_000, 14_480, growing(65_536, 2 << 20));
    assert_eq!(wire.peer.settled(false).verdict, Outcome::Cleared);
    assert_eq!(wire.peer.settled(true).verdict, Outcome::Undecided);
}

#[test]
fn without_scaling_a_stall_at_the_real_window_is_lost_scaling() {
    let mut wire = Wire::new(0, 0);
    wire.peer = Peer::new(None);
    wire.rcv_wnd = 40_000;
    wire.edge = START.wrapping_add(40_000);
    let settled = wire.stream(900_000, u32::MAX, growing(40_000, 65_535));
    assert_eq!(settled.verdict, Outcome::ScaleLost, "{settled:?}");
}

#[test]
fn nothing_that_comes_in_is_nothing_that_is_known() {
    let wire = Wire::new(7, 1);
    assert_eq!(wire.settled().verdict, Outcome::Undecided);
    assert_eq!(wire.settled().why, Some("nothing came in"));
    assert_eq!(wire.settled().consistent.len(), SHIFTS);
}

#[test]
fn another_connection_at_the_same_addresses_is_not_mixed_up() {
    let mut wire = Wire::new(7, 7);
    wire.stream(100_000, 14_480, growing(65_536, 131_072));
    wire.rcv_nxt = wire.rcv_nxt.wrapping_sub(500_000);
    wire.rcv_wup = wire.rcv_nxt;
    wire.record();
    let settled = wire.settled();
    assert_eq!(settled.verdict, Outcome::Undecided);
    assert!(settled.why.unwrap().contains("another connection"));
    let mut wire = Wire::new(7, 7);
    wire.used = 5;
    wire.record();
    assert!(wire.settled().why.unwrap().contains("another connection"));
}

/// Every second record is missing: windows went out that nobody saw.
#[test]
fn what_was_missed_clears_nobody() {
    for told in [1, 3, 6] {
        let mut wire = Wire::new(7, told);
        let mut window = growing(65_536, 131_072);
        let mut skipped = 0;
        while wire.rcv_nxt.wrapping_sub(START) < 400_000 {
            wire.send(400_000, u32::MAX);
            let kept = wire.peer.clone();
            assert!(wire.step(&mut window));
            if wire.number % 2 == 1 {
                wire.peer = kept;
                skipped += 1;
            }
        }
        assert!(skipped > 4);
        let settled = wire.settled();
        assert_ne!(settled.verdict, Outcome::Cleared, "{settled:?}");
        assert!(settled.consistent.contains(&told), "{settled:?}");
    }
}

#[test]
fn a_verdict_as_json() {
    let settled = Wire::new(7, 1).stream(100_000, u32::MAX, growing(65_536, 131_072));
    let json = serde_json::to_value(&settled).unwrap();
    assert_eq!(
        (&json["verdict"], &json["advertised"]),
        (&"mismatch".into(), &1.into())
    );
    assert_eq!(json["factor"], 64.0);
    assert!(json["why"].is_null());
    for field in [
        "consistent",
        "stops_at_edge",
        "window_sizes",
        "other_stops",
        "bytes",
    ] {
        assert!(!json[field].is_null(), "{field}");
    }
}
