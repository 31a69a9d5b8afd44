//! What the damage comes to: the window as the other side computes it, and the throughput that
//! it allows.

use super::Verdict;
use super::evidence::Told;
use super::paired::Paired;
use super::verdict::{Comparison, Damage, Direction};
use serde::Serialize;
use tcpwnd_common::{Child, HandshakeRecord, child_flags};

/// What timestamps take in each segment, bytes (TCPOLEN_TSTAMP_ALIGNED, include/net/tcp.h).
const TIMESTAMPS_LEN: u16 = 12;

/// Largest value of a header's window field.
const MAX_WINDOW_FIELD: u64 = 65_535;

/// What holds back whoever sends in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Held {
    /// The window that the sender of the data is held to, bytes.
    pub window_bytes: u64,
    /// That window per round-trip time, bytes per second; `None` where no time is known.
    pub ceiling_bytes_per_second: Option<f64>,
}

/// What a connection can do as it left the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impact {
    /// This host's window as the peer computes it, bytes; `None` when unverified.
    pub peer_window_bytes: Option<u64>,
    /// Smoothed round-trip time, microseconds; `None` when the kernel has not measured it. That of
    /// a SYN cookie is up to 64 ms too long at first.
    pub srtt_us: Option<u32>,
    /// Time from the SYN+ACK to the ACK, microseconds: the round-trip time as far as the
    /// handshake tells; `None` where it is not known which SYN+ACK was answered.
    pub handshake_us: Option<u64>,
    /// The round-trip time that ceilings are computed with, microseconds: the smoothed one if
    /// known, else the handshake's; for a SYN cookie the other way round.
    pub rtt_us: Option<u64>,
    /// What holds back the peer; `None` where nothing does, or where it is not known what.
    pub receive: Option<Held>,
    /// What holds back this host, likewise.
    pub send: Option<Held>,
    /// The lower ceiling of both directions, bytes per second; `None` where nothing holds the
    /// connection back or no time is known.
    pub ceiling_bytes_per_second: Option<f64>,
    /// Segments that a SYN cookie made smaller; `None` where it did not, or the SYN was not seen.
    pub segment: Option<Segment>,
}

/// The largest segment that this host may send. A SYN cookie has room for one of four values
/// (`msstab`, net/ipv4/syncookies.c), of which the kernel takes the largest that is not larger than
/// the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// What both ends could take: the MSS of the SYN, or that of this host's route, bytes.
    pub possible: u16,
    /// What the socket keeps to (`rx_opt.mss_clamp`), bytes.
    pub used: u16,
}

impl Impact {
    /// What is known whatever the verdict. Behind a SYN proxy the socket has so far measured the
    /// time to that.
    pub(super) fn measured(record: &HandshakeRecord, paired: Option<&Paired<'_>>) -> Self {
        let proxied = paired.is_some_and(|paired| paired.proxied.is_some());
        if proxied {
            Self::default()
        } else {
            Self::of_socket(&record.child)
        }
    }

    /// What a socket has measured.
    pub(super) fn of_socket(child: &Child) -> Self {
        Self {
            srtt_us: srtt_us(child.srtt_us8),
            ..Self::default()
        }
    }

    /// The same, with the windows that the directions are held to, bytes, in a round trip of
    /// `rtt_us` microseconds.
    pub(super) fn held_to(
        self,
        receive: Option<u64>,
        send: Option<u64>,
        rtt_us: Option<u64>,
    ) -> Self {
        let rtt_us = rtt_us.filter(|rtt| *rtt != 0);
        let held = |window_bytes| Held {
            window_bytes,
            ceiling_bytes_per_second: rtt_us.and_then(|rtt| ceiling(window_bytes, rtt)),
        };
        let (receive, send) = (receive.map(held), send.map(held));
        let ceilings = [receive, send].into_iter().flatten();
        Self {
            rtt_us,
            receive,
            send,
            ceiling_bytes_per_second: ceilings
                .filter_map(|held| held.ceiling_bytes_per_second)
                .reduce(f64::min),
            ..self
        }
    }
}

/// Smoothed round-trip time in microseconds, from the kernel's eighths.
pub(crate) fn srtt_us(eighths: u32) -> Option<u32> {
    (eighths != 0).then_some(eighths / 8)
}

/// The window that the peer computes, bytes: what fits the header's field after this host's
/// shift, shifted back by what the peer was told.
///
/// `tcp_select_window` (net/ipv4/tcp_output.c, 5.10) limits the window to what the field can say
/// before it shifts; no option is a shift of 0.
#[must_use]
pub fn peer_window(window_bytes: u32, used: Option<u8>, advertised: Option<u8>) -> u64 {
    on_wire(window_bytes, used) << advertised.unwrap_or(0)
}

/// The header's window field for a window in bytes.
pub(crate) fn on_wire(window_bytes: u32, used: Option<u8>) -> u64 {
    let shift = used.unwrap_or(0);
    u64::from(window_bytes).min(MAX_WINDOW_FIELD << shift) >> shift
}

/// Bytes per second that one window a round trip comes to.
pub(crate) fn ceiling(window_bytes: u64, rtt_us: u64) -> Option<f64> {
    // Windows have at most 30 bits: no precision is lost.
    (rtt_us != 0).then(|| window_bytes as f64 * 1e6 / rtt_us as f64)
}

pub(super) fn of(
    record: &HandshakeRecord,
    paired: &Paired<'_>,
    told: &Told,
    verdict: Verdict,
    comparison: &Comparison,
) -> Impact {
    let Comparison { receive, send, .. } = comparison;
    let measured = Impact::measured(record, Some(paired));
    let peer_window = peer_window(record.child.rcv_wnd, receive.used, receive.announced);
    let lost = matches!(verdict, Verdict::ScaleLost(_));
    let received = (lost || receive.damage() == Damage::TooSmall).then_some(peer_window);
    let sent = if lost {
        // Nor does the peer scale its own.
        Some(MAX_WINDOW_FIELD)
    } else if send.damage() == Damage::TooSmall {
        first_window(paired, send)
    } else {
        None
    };
    let handshake_us = handshake_us(record, paired, told);
    let srtt_us = measured.srtt_us.map(u64::from);
    // A cookie's is measured by its timestamp, which keeps options in its low 6 bits and is up to
    // 64 ticks older than its SYN+ACK (cookie_init_timestamp, net/ipv4/syncookies.c, 5.10).
    let rtt_us = if told.cookie {
        handshake_us.or(srtt_us)
    } else {
        srtt_us.or(handshake_us)
    };
    Impact {
        peer_window_bytes: Some(peer_window),
        handshake_us,
        segment: if told.cookie {
            segment(&record.child, paired)
        } else {
            None
        },
        ..measured.held_to(received, sent, rtt_us)
    }
}

fn segment(child: &Child, paired: &Paired<'_>) -> Option<Segment> {
    if paired.proxied.is_some() {
        return None;
    }
    let offered = paired.syn?.mss?;
    // Of the route's the socket takes the timestamps off, of the peer's it does not
    // (tcp_create_openreq_child, net/ipv4/tcp_minisocks.c, 5.10).
    let timestamps = child.flags & child_flags::TSTAMP_OK != 0;
    let options = if timestamps { TIMESTAMPS_LEN } else { 0 };
    let route = child.advmss.saturating_add(options);
    let segment = Segment {
        possible: offered.min(route),
        used: child.mss_clamp,
    };
    (segment.used < segment.possible).then_some(segment)
}

/// The peer's first scaled window as this host computes it, bytes: the ACK's.
fn first_window(paired: &Paired<'_>, send: &Direction) -> Option<u64> {
    // Behind a SYN proxy the ACK is that one's.
    if paired.ack.is_none() || paired.proxied.is_some() {
        return None;
    }
    Some(u64::from(paired.ack_window) << send.used.unwrap_or(0))
}

/// Time from the SYN+ACK that the peer acted on to now, if there was but one that it could be,
/// or its timestamp says so.
fn handshake_us(record: &HandshakeRecord, paired: &Paired<'_>, told: &Told) -> Option<u64> {
    let answer = paired.answer();
    let echoed = answer.echo.is_some() && told.tsval() == answer.echo;
    if !echoed && answer.synacks != Some(1) {
        return None;
    }
    let took_ns = record.header.ktime_ns.checked_sub(told.ktime_ns)?;
    Some(took_ns / 1_000)
}
