//! What damage comes to, in the units that people say aloud.
//!
//! Constraint: only the words are made here; windows, times and ceilings are core's.

use serde::Serialize;
use tcpwnd_core::Flow;
use tcpwnd_core::detect::window_scale::{Held, Segment};
use tcpwnd_core::findings::{Finding, Impact};

use super::summary::grouped;

/// The damaged direction that is held back most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Worst {
    /// Of which connection.
    flow: Flow,
    /// `receive`: what the peer sends; `send`: what this host sends.
    direction: &'static str,
    /// The window that the sender is held to, bytes.
    window_bytes: u64,
    /// Round-trip time, microseconds; `None` where none is known.
    rtt_us: Option<u64>,
    /// Window per round-trip time, bytes per second; `None` where no time is known.
    ceiling_bytes_per_second: Option<f64>,
}

impl Worst {
    /// The direction of this connection that is held back more, if one is at all.
    #[must_use]
    pub fn of(finding: &Finding) -> Option<Self> {
        let impact = &finding.impact;
        let worst = |direction, held: Option<Held>| {
            held.map(|held| Self {
                flow: finding.flow,
                direction,
                window_bytes: held.window_bytes,
                rtt_us: impact.rtt_us,
                ceiling_bytes_per_second: held.ceiling_bytes_per_second,
            })
        };
        let receive = worst("receive", impact.receive);
        let send = worst("send", impact.send);
        receive.into_iter().chain(send).reduce(Self::or)
    }

    /// The one that is held back more. A ceiling says more than a window of which no time is known.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let ceilings = (
            self.ceiling_bytes_per_second,
            other.ceiling_bytes_per_second,
        );
        let other_is_worse = match ceilings {
            (Some(this), Some(that)) => that < this,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (None, None) => other.window_bytes < self.window_bytes,
        };
        if other_is_worse { other } else { self }
    }

    /// In one line: from where to where, and how much.
    #[must_use]
    pub fn text(&self) -> String {
        let (local, remote) = (self.flow.local(), self.flow.remote());
        let (from, to) = if self.direction == "send" {
            (local, remote)
        } else {
            (remote, local)
        };
        let held = Held {
            window_bytes: self.window_bytes,
            ceiling_bytes_per_second: self.ceiling_bytes_per_second,
        };
        let (amount, per) = (amount(held), round_trip(self.rtt_us));
        format!("worst: at most {amount} {per}, from {from} to {to}")
    }
}

/// What a connection can do at most, as in `at most 15.8 kB/s at 100 ms RTT`; `None` where nothing
/// holds it back.
#[must_use]
pub fn text(impact: &Impact) -> Option<String> {
    let parts: Vec<String> = [rate(impact), impact.segment.map(segments)]
        .into_iter()
        .flatten()
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn rate(impact: &Impact) -> Option<String> {
    let amount = match (impact.receive.map(amount), impact.send.map(amount)) {
        (None, None) => return None,
        (Some(received), None) => received,
        (None, Some(sent)) => format!("{sent} out"),
        (Some(received), Some(sent)) if received == sent => format!("{received} each way"),
        (Some(received), Some(sent)) => format!("{received} in, {sent} out"),
    };
    Some(format!("at most {amount} {}", round_trip(impact.rtt_us)))
}

fn segments(segment: Segment) -> String {
    let (used, possible) = (
        grouped(segment.used.into()),
        grouped(segment.possible.into()),
    );
    format!("segments out of at most {used} instead of {possible} bytes")
}

fn amount(held: Held) -> String {
    match held.ceiling_bytes_per_second {
        Some(ceiling) => with_unit(ceiling, &["B/s", "kB/s", "MB/s", "GB/s", "TB/s"]),
        None => format!("{} bytes", grouped(held.window_bytes)),
    }
}

fn round_trip(rtt_us: Option<u64>) -> String {
    match rtt_us {
        // Microseconds of any length of life are exact in it.
        Some(rtt) => format!("at {} RTT", with_unit(rtt as f64, &["µs", "ms", "s"])),
        None => "a round trip".to_owned(),
    }
}

/// Three digits and the unit that goes with them; each unit is 1,000 of the one before.
fn with_unit(mut value: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // What would be rounded up to 1000 is 1 of the next.
    while value >= 999.5
        && let Some(next) = units.next()
    {
        value /= 1_000.0;
        unit = next;
    }
    let decimals = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let digits = format!("{value:.decimals$}");
    let digits = match digits.split_once('.') {
        Some(_) => digits.trim_end_matches('0').trim_end_matches('.'),
        None => &digits,
    };
    format!("{digits} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const NOTHING: Impact = Impact {
        srtt_us: None,
        handshake_us: None,
        rtt_us: None,
        receive: None,
        send: None,
        ceiling_bytes_per_second: None,
        segment: None,
    };

    fn held(window_bytes: u64, rtt_us: Option<u64>) -> Option<Held> {
        Some(Held {
            window_bytes,
            ceiling_bytes_per_second: rtt_us.map(|rtt| window_bytes as f64 * 1e6 / rtt as f64),
        })
    }

    /// What is said where the directions are held to these windows.
    fn said(receive: Option<u64>, send: Option<u64>, rtt_us: Option<u64>) -> Option<String> {
        text(&Impact {
            rtt_us,
            receive: receive.and_then(|window| held(window, rtt_us)),
            send: send.and_then(|window| held(window, rtt_us)),
            ..NOTHING
        })
    }

    #[test]
    fn segments_that_a_cookie_made_smaller_are_said_too() {
        let mut impact = NOTHING;
        impact.segment = Some(Segment {
            possible: 8_960,
            used: 1_460,
        });
        let segments = "segments out of at most 1,460 instead of 8,960 bytes";
        assert_eq!(text(&impact).as_deref(), Some(segments));
        impact.receive = held(1_580, Some(100_000));
        impact.rtt_us = Some(100_000);
        let both = format!("at most 15.8 kB/s at 100 ms RTT; {segments}");
        assert_eq!(text(&impact), Some(both));
    }

    #[test]
    fn a_ceiling_is_said_in_the_units_of_people() {
        let of = |window, rtt| said(Some(window), None, Some(rtt)).unwrap();
        assert_eq!(of(1_580, 100_000), "at most 15.8 kB/s at 100 ms RTT");
        assert_eq!(of(1_024, 200_000), "at most 5.12 kB/s at 200 ms RTT");
        assert_eq!(of(65_535, 100_000), "at most 655 kB/s at 100 ms RTT");
        assert_eq!(of(65_535, 73_412), "at most 893 kB/s at 73.4 ms RTT");
        assert_eq!(of(65_535, 250), "at most 262 MB/s at 250 µs RTT");
        assert_eq!(of(65_535, 1_250), "at most 52.4 MB/s at 1.25 ms RTT");
        assert_eq!(of(1_024, 2_048_000), "at most 500 B/s at 2.05 s RTT");
        assert_eq!(of(0, 1_000), "at most 0 B/s at 1 ms RTT");
    }

    #[test]
    fn what_is_rounded_up_to_the_next_unit_is_said_in_it() {
        let units = ["B/s", "kB/s"];
        assert_eq!(with_unit(999.4, &units), "999 B/s");
        assert_eq!(with_unit(999.6, &units), "1 kB/s");
        assert_eq!(with_unit(9.996, &units), "10 B/s");
        assert_eq!(with_unit(99.96, &units), "100 B/s");
        assert_eq!(with_unit(12_345_678.0, &units), "12346 kB/s");
    }

    #[test]
    fn without_a_round_trip_time_it_is_bytes_a_round_trip() {
        let of = |receive, send| said(receive, send, None).unwrap();
        assert_eq!(of(Some(1_600), None), "at most 1,600 bytes a round trip");
        assert_eq!(
            of(Some(1_600), Some(502)),
            "at most 1,600 bytes in, 502 bytes out a round trip"
        );
    }

    #[test]
    fn each_damaged_direction_is_named() {
        let of = |receive, send| said(receive, send, Some(200_000));
        assert_eq!(of(None, None), None);
        assert_eq!(
            of(None, Some(502)).unwrap(),
            "at most 2.51 kB/s out at 200 ms RTT"
        );
        assert_eq!(
            of(Some(1_024), Some(502)).unwrap(),
            "at most 5.12 kB/s in, 2.51 kB/s out at 200 ms RTT"
        );
        assert_eq!(
            of(Some(65_535), Some(65_535)).unwrap(),
            "at most 328 kB/s each way at 200 ms RTT"
        );
    }

    #[test]
    fn the_worst_is_the_lowest_ceiling_and_says_which_way() {
        let mut finding = testing::finding(
            &mut testing::engine(),
            &testing::handshake(9092, 40_001, 1, 7),
        );
        let first = Worst::of(&finding).unwrap();
        assert_eq!(
            first.text(),
            "worst: at most 5.12 kB/s at 200 ms RTT, from 10.9.0.2:40001 to 10.9.0.1:9092"
        );
        finding.impact.send = held(502, Some(200_000));
        let sent = Worst::of(&finding).unwrap();
        assert_eq!(
            sent.text(),
            "worst: at most 2.51 kB/s at 200 ms RTT, from 10.9.0.1:9092 to 10.9.0.2:40001"
        );
        assert_eq!((first.or(sent), sent.or(first)), (sent, sent));
        // Of unknown times the window counts, but behind what is known.
        finding.impact.rtt_us = None;
        (finding.impact.receive, finding.impact.send) = (held(20, None), held(30, None));
        let unknown = Worst::of(&finding).unwrap();
        assert!(
            unknown
                .text()
                .starts_with("worst: at most 20 bytes a round trip, from 10.9.0.2")
        );
        assert_eq!((unknown.or(first), first.or(unknown)), (first, first));
        (finding.impact.receive, finding.impact.send) = (None, None);
        assert_eq!(Worst::of(&finding), None);
    }
}
