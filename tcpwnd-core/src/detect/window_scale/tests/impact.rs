use super::*;
use crate::fixture::{ABSENT, ISN, TSVAL, ack_options, cookie, healthy, options, synack, unscaled};
use tcpwnd_common::{child_flags, handshake_flags};

#[test]
fn the_window_that_the_peer_computes() {
    // LINE's figures: 65,536 bytes become 512 on the wire, which the peer takes for 1,024.
    assert_eq!(peer_window(65_536, Some(7), Some(1)), 1_024);
    assert_eq!(peer_window(65_536, Some(7), Some(7)), 65_536);
    // What the field cannot say is cut off before the shift.
    assert_eq!(peer_window(65_536, None, None), 65_535);
    assert_eq!(peer_window(65_536, None, Some(7)), 65_535 << 7);
    assert_eq!(peer_window(65_536, Some(0), Some(0)), 65_535);
    assert_eq!(peer_window(u32::MAX, Some(1), Some(1)), 131_070);
    // The shift loses the lowest bits.
    assert_eq!(peer_window(64_240, Some(7), Some(1)), 1_002);
    assert_eq!(peer_window(127, Some(7), Some(7)), 0);
    assert_eq!(peer_window(0, Some(14), Some(14)), 0);
    assert_eq!(peer_window(u32::MAX, Some(14), Some(14)), 65_535 << 14);
}

#[test]
fn a_window_that_is_too_small_over_the_round_trip_is_the_ceiling() {
    let mut record = cookie(1, 7);
    let impact = judged(&record).impact;
    assert_eq!(impact.peer_window_bytes, Some(1_024));
    // Without timestamps a cookie's round trip is not measured by then; the handshake's own 200 ms
    // has to do.
    assert_eq!(impact.srtt_us, None);
    assert_eq!(impact.handshake_us, Some(200_000));
    assert_eq!(impact.ceiling_bytes_per_second, Some(5_120.0));
    // With them it is, but 64 ms too long at worst.
    record.child.srtt_us8 = 264_000 * 8;
    let impact = judged(&record).impact;
    assert_eq!(impact.srtt_us, Some(264_000));
    assert_eq!(impact.ceiling_bytes_per_second, Some(5_120.0));
    // It has to do where it is not known which SYN+ACK was answered.
    record.handshake.synacks = 2;
    record.handshake.ack.options = ack_options(None);
    let impact = judged(&record).impact;
    assert_eq!(impact.handshake_us, None);
    assert_eq!(
        impact.ceiling_bytes_per_second,
        Some(1_024.0 * 1_000_000.0 / 264_000.0)
    );
}

/// Without a cookie what the kernel measured goes first, in eighths of a microsecond.
#[test]
fn the_smoothed_round_trip_goes_before_the_handshakes_where_nothing_is_kept_in_its_timestamp() {
    let mut record = healthy();
    record.child.rcv_wscale = 13;
    record.child.srtt_us8 = 800_000;
    let impact = judged(&record).impact;
    let window = peer_window(record.child.rcv_wnd, Some(13), Some(7));
    assert_eq!(impact.handshake_us, Some(200_000));
    assert_eq!(impact.ceiling_bytes_per_second, Some(window as f64 * 10.0));
}

#[test]
fn no_ceiling_where_nothing_holds_the_connection_back() {
    assert_eq!(judged(&healthy()).impact.ceiling_bytes_per_second, None);
    // An overrun loses packets; it is not a window that limits.
    let mut record = healthy();
    record.child.snd_wscale += 1;
    assert_eq!(judged(&record).impact.ceiling_bytes_per_second, None);
    assert_eq!(judged(&cookie(10, 8)).impact.ceiling_bytes_per_second, None);
}

#[test]
fn scale_lost_is_held_to_what_the_field_can_say() {
    let mut record = healthy();
    record.handshake.first = synack(None, 0);
    record.handshake.syn = options(None, None);
    unscaled(&mut record);
    let impact = judged(&record).impact;
    assert_eq!(impact.peer_window_bytes, Some(65_535));
    assert_eq!(impact.ceiling_bytes_per_second, Some(65_535.0 * 5.0));
    // Neither end scales.
    assert_eq!(impact.send, impact.receive);
}

/// The consumers' side: the window that this host takes the peer's for.
#[test]
fn the_send_direction_has_a_ceiling_too() {
    let mut record = cookie(7, 0);
    unscaled(&mut record);
    record.child.flags &= !child_flags::TSTAMP_OK;
    record.handshake.ack.options = ack_options(None);
    let impact = judged(&record).impact;
    // 502 in the ACK's header, taken as it is, though the peer meant 502 << 9; the receive
    // direction is an overrun.
    assert_eq!(impact.ceiling_bytes_per_second, Some(502.0 * 5.0));
    // Where that was not seen, nothing is made up.
    record.handshake.ack.options = ABSENT;
    assert_eq!(judged(&record).impact.ceiling_bytes_per_second, None);
}

#[test]
fn the_smaller_window_of_both_directions_is_the_ceiling() {
    let mut record = cookie(1, 7);
    record.child.snd_wscale = 0;
    // 502 bytes of the peer's window against 1,024 of this host's.
    let impact = judged(&record).impact;
    assert_eq!(impact.ceiling_bytes_per_second, Some(502.0 * 5.0));
    record.child.snd_wscale = 8;
    let impact = judged(&record).impact;
    assert_eq!(impact.ceiling_bytes_per_second, Some(1_024.0 * 5.0));
}

#[test]
fn each_damaged_direction_has_its_own_window_and_ceiling() {
    let held = |window_bytes, ceiling| {
        Some(Held {
            window_bytes,
            ceiling_bytes_per_second: ceiling,
        })
    };
    let mut record = cookie(1, 7);
    let impact = judged(&record).impact;
    assert_eq!(impact.rtt_us, Some(200_000));
    assert_eq!(
        (impact.receive, impact.send),
        (held(1_024, Some(5_120.0)), None)
    );
    record.child.snd_wscale = 0;
    let impact = judged(&record).impact;
    assert_eq!(impact.receive, held(1_024, Some(5_120.0)));
    assert_eq!(impact.send, held(502, Some(2_510.0)));
    // No time is known: the windows still are.
    record.handshake.synacks = 2;
    record.handshake.ack.options = ack_options(None);
    let impact = judged(&record).impact;
    assert_eq!((impact.rtt_us, impact.receive), (None, held(1_024, None)));
    assert_eq!(impact.ceiling_bytes_per_second, None);
    let sound = judged(&healthy()).impact;
    assert_eq!((sound.receive, sound.send), (None, None));
}

#[test]
fn the_time_of_a_handshake_is_known_only_with_its_synack() {
    let mut record = healthy();
    record.handshake.synacks = 2;
    assert_eq!(judged(&record).impact.handshake_us, Some(200_000));
    record.handshake.ack.options = ack_options(None);
    assert_eq!(judged(&record).impact.handshake_us, None);
    record.handshake.synacks = 1;
    assert_eq!(judged(&record).impact.handshake_us, Some(200_000));

    // Two that differ: the echoed one counts.
    let mut record = healthy();
    record.handshake.synacks = 2;
    record.handshake.flags |= handshake_flags::SYNACKS_DIFFER;
    record.handshake.last = synack(Some(7), 0);
    record.handshake.last.options = options(Some(7), Some((TSVAL + 5, 77)));
    record.handshake.last.ktime_ns += 150_000_000;
    record.handshake.ack.options = ack_options(Some((78, TSVAL + 5)));
    assert_eq!(judged(&record).impact.handshake_us, Some(50_000));
}

#[test]
fn unverified_has_only_what_was_measured() {
    let mut record = cookie(1, 7);
    record.child.snd_una = ISN;
    record.child.srtt_us8 = 80;
    assert_eq!(
        judged(&record).impact,
        Impact {
            srtt_us: Some(10),
            ..Impact::default()
        }
    );
}

/// The first option of the SYN is the MSS.
fn offer(record: &mut HandshakeRecord, mss: u16) {
    record.handshake.syn.bytes[2..4].copy_from_slice(&mss.to_be_bytes());
}

#[test]
fn a_cookie_makes_large_segments_small() {
    let large = |mut record: HandshakeRecord| {
        offer(&mut record, 8_960);
        record.child.advmss = 8_948;
        record.child.mss_clamp = 1_460;
        record
    };
    let segment = Some(Segment {
        possible: 8_960,
        used: 1_460,
    });
    let record = large(cookie(7, 7));
    let judgement = judged(&record);
    assert_eq!(judgement.verdict, Verdict::Ok);
    assert_eq!(judgement.impact.segment, segment);
    assert_eq!(judged(&large(cookie(1, 7))).impact.segment, segment);

    // Near misses. No cookie: a limit of this host's own, TCP_MAXSEG say.
    assert_eq!(judged(&large(healthy())).impact.segment, None);
    // Its route takes no more than that anyway.
    let mut narrow = record;
    narrow.child.advmss = 1_448;
    assert_eq!(judged(&narrow).impact.segment, None);
    // The peer takes no more.
    let mut ordinary = record;
    offer(&mut ordinary, 1_460);
    assert_eq!(judged(&ordinary).impact.segment, None);
    // The cookie had room for it, as IPv6's have for 8,940.
    let mut kept = record;
    kept.child.mss_clamp = 8_960;
    assert_eq!(judged(&kept).impact.segment, None);
    // The SYN was not seen.
    let mut unseen = record;
    unseen.handshake.syn.present = 0;
    assert_eq!(judged(&unseen).impact.segment, None);
}
