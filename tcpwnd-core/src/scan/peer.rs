//! What a suspect's peer does with the windows that it is sent, and which shift count it was told
//! that goes with it.
//!
//! For each count that it can have been told, every window that went out has an edge: the first
//! byte that the peer must not send yet. Constraint: a count is refuted only by bytes beyond every
//! edge that the peer can have known of when it sent them, and accepted only if the peer stops at
//! exactly the edges, again and again, at windows of several sizes. A sender that has nothing to
//! send stops anywhere; one whose requests happen to have the size of a window stops at an edge
//! while the window keeps that size, and no longer.

use std::collections::VecDeque;
use std::ops::Range;

use tcpwnd_common::ProgressRecord;

use self::tally::Tally;
use super::settled::{Outcome, Settled};
use crate::tcp_options::MAX_SHIFT;

/// Shift counts that a peer can have been told: 0, which is also "no option", to 14.
const SHIFTS: usize = MAX_SHIFT as usize + 1;

/// Largest value of a header's window field.
const MAX_WINDOW_FIELD: u32 = 65_535;

/// Windows that are remembered until the peer can have known of them.
const WINDOWS: usize = 64;

/// The newest windows, at whose edge a peer that waits for the next one stops. Not more: in steps of
/// any size it comes to the edge of some window that went out long ago.
const RECENT: usize = 4;

/// Times that bytes beyond every edge were seen. For shift counts smaller than the one in use a
/// burst is enough; a peer that overran what this host really offers is rarer, and has to do it more
/// often.
const BEYOND: u32 = 2;
const BEYOND_ALL: u32 = 3;

/// Silence after which a peer has stopped: a part of the round-trip time, but never more than this
/// nor less than that, microseconds.
const LONGEST_PAUSE_US: u64 = 10_000;
const SHORTEST_PAUSE_US: u64 = 50;

/// Between two clocks of a millisecond each, milliseconds.
const CLOCK_SLACK_MS: u32 = 2;

/// Echoed timestamps that are older than this are in some other unit, milliseconds.
const OLDEST_ECHO_MS: u32 = 600_000;

/// A window that went out.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// Acknowledgment number of its segment.
    up: u32,
    /// The header's window field.
    field: u32,
    /// The window in bytes.
    bytes: u32,
    /// It cannot have gone out before this, milliseconds of CLOCK_MONOTONIC.
    not_before_ms: u32,
    /// The peer echoes its timestamp, or that of a later one, once it has it.
    echoed: bool,
    /// It may be the SYN+ACK's, which is never scaled.
    perhaps_unscaled: bool,
    /// The peer can have known of it.
    known: bool,
}

impl Sent {
    fn edge(&self, shift: usize) -> u32 {
        self.up.wrapping_add(self.field << shift)
    }
}

/// The last record.
#[derive(Clone, Copy, Debug)]
struct Last {
    record: ProgressRecord,
    /// When the record before the first one with this `rcv_nxt` was made, milliseconds.
    before_ms: u32,
}

/// Bytes came in up to here, and then nothing for a while, perhaps.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    ktime_ns: u64,
    /// For each shift count: the size of the window whose edge this is, bytes.
    sizes: [Option<u32>; SHIFTS],
}

/// A suspect under watch.
#[derive(Clone, Debug)]
pub struct Peer {
    used: Option<u8>,
    last: Option<Last>,
    sent: VecDeque<Sent>,
    arrival: Option<Arrival>,
    tallies: [Tally; SHIFTS],
    /// The newest timestamp of this host's that the peer echoed.
    newest_echo: Option<u32>,
    bytes: u64,
    contradicted: bool,
}

impl Peer {
    /// A suspect whose socket uses this shift count, or does not scale.
    #[must_use]
    pub fn new(used: Option<u8>) -> Self {
        Self {
            used: used.map(|used| used.min(MAX_SHIFT)),
            last: None,
            sent: VecDeque::new(),
            arrival: None,
            tallies: Default::default(),
            newest_echo: None,
            bytes: 0,
            contradicted: false,
        }
    }

    fn shift(&self) -> u8 {
        self.used.unwrap_or(0)
    }

    /// Takes in a record of it; they come in the order in which they were made.
    pub fn observe(&mut self, record: &ProgressRecord) {
        let goes_on = self.last.is_none_or(|last| follows(&last.record, record));
        let possible = !is_after(record.rcv_wup, record.rcv_nxt)
            && record.rcv_wnd <= MAX_WINDOW_FIELD << MAX_SHIFT
            && record.rcv_wscale == u32::from(self.shift());
        if !goes_on || !possible {
            self.contradicted = true;
        }
        if self.contradicted {
            return;
        }
        self.note_window(record);
        let is_late = self.note_echo(record.rcv_tsecr);
        let arrived = self
            .last
            .map_or(0, |last| record.rcv_nxt.wrapping_sub(last.record.rcv_nxt));
        if arrived > 0 {
            self.bytes += u64::from(arrived);
            self.end_pause(record);
            self.learn_known(record, is_late);
            self.compare_with_edges(record);
        }
        let before_ms = match self.last {
            Some(last) if arrived == 0 => last.before_ms,
            Some(last) => milliseconds(last.record.header.ktime_ns),
            None => 0,
        };
        self.last = Some(Last {
            record: *record,
            before_ms,
        });
    }

    /// Remembers the window that went out since the last record, if one did.
    fn note_window(&mut self, record: &ProgressRecord) {
        let last = self.last.map(|last| last.record);
        let is_new = last
            .is_none_or(|last| (last.rcv_wup, last.rcv_wnd) != (record.rcv_wup, record.rcv_wnd));
        if !is_new {
            return;
        }
        // The program runs when a window is chosen, and the peer had got just as far then. Where
        // the record of that is missing, windows may be missing too, and the time of this one is
        // not known.
        let chosen = self.last.filter(|last| {
            last.record.rcv_nxt == record.rcv_wup
                && last.record.number.wrapping_add(1) == record.number
        });
        // A timestamp is echoed for segments that begin where the peer's last acknowledgment
        // ended (RFC 7323, section 4.3): while data of ours is under way that is not so.
        let echoed = chosen.is_some_and(|last| {
            let before = last.record;
            before.snd_una == before.snd_nxt && before.snd_nxt == record.snd_nxt
        });
        if self.sent.len() == WINDOWS
            && let Some(oldest) = self.sent.pop_front()
        {
            self.make_known(&oldest, 0..usize::from(self.shift()));
        }
        let shift = self.shift();
        let window = Sent {
            up: record.rcv_wup,
            field: record.rcv_wnd.min(MAX_WINDOW_FIELD << shift) >> shift,
            bytes: record.rcv_wnd,
            not_before_ms: chosen.map_or(0, |last| last.before_ms),
            echoed,
            perhaps_unscaled: last.is_none(),
            known: false,
        };
        self.make_known(&window, usize::from(shift)..SHIFTS);
        self.sent.push_back(window);
    }

    fn make_known(&mut self, window: &Sent, shifts: Range<usize>) {
        for shift in shifts {
            let tally = &mut self.tallies[shift];
            let mut edge = window.edge(shift);
            if window.perhaps_unscaled {
                let unscaled = window.up.wrapping_add(window.bytes.min(MAX_WINDOW_FIELD));
                edge = further(edge, unscaled);
            }
            tally.known_edge = Some(match tally.known_edge {
                Some(known) => further(known, edge),
                None => edge,
            });
        }
    }

    /// Whether the segment with this echo was overtaken: what comes in with it may be more than it
    /// brought, namely what waited for it and was sent later.
    fn note_echo(&mut self, echo: u32) -> bool {
        let is_late = self
            .newest_echo
            .is_some_and(|newest| is_after(newest, echo));
        if echo != 0 && !is_late {
            self.newest_echo = Some(echo);
        }
        is_late
    }

    /// Which windows the peer can have known of when it sent what came in last: all but those whose
    /// timestamp it would have echoed, and has not. Of the count in use and larger ones it has known all
    /// at once: that a peer overran this host is an accusation, which no clock is to bear.
    fn learn_known(&mut self, record: &ProgressRecord, is_late: bool) {
        let now_ms = milliseconds(record.header.ktime_ns);
        let echo = record.rcv_tsecr;
        let usable = echo != 0 && !is_late && now_ms.wrapping_sub(echo) < OLDEST_ECHO_MS;
        let mut learned = Vec::new();
        for window in self.sent.iter_mut().filter(|window| !window.known) {
            let later = usable
                && window.echoed
                && is_after(window.not_before_ms, echo.wrapping_add(CLOCK_SLACK_MS));
            if !later {
                window.known = true;
                learned.push(*window);
            }
        }
        for window in &learned {
            self.make_known(window, 0..usize::from(self.shift()));
        }
    }

    fn compare_with_edges(&mut self, record: &ProgressRecord) {
        let mut sizes = [None; SHIFTS];
        for (shift, tally) in self.tallies.iter_mut().enumerate() {
            // What rounding a window down can take away, and the byte that some stacks probe a
            // closed window with.
            let slack = (1 << shift) + 1;
            if let Some(edge) = tally.known_edge
                && is_after(record.rcv_nxt, edge.wrapping_add(slack))
            {
                tally.beyond += 1;
            }
            sizes[shift] = self
                .sent
                .iter()
                .rev()
                .take(RECENT)
                .find(|window| {
                    let counts = !window.perhaps_unscaled && window.field > 0;
                    counts && window.edge(shift) == record.rcv_nxt
                })
                .map(|window| window.field << shift);
        }
        self.arrival = Some(Arrival {
            ktime_ns: record.header.ktime_ns,
            sizes,
        });
    }

    /// More came in: was there a pause before?
    fn end_pause(&mut self, record: &ProgressRecord) {
        let Some(arrival) = self.arrival.take() else {
            return;
        };
        let srtt_us = u64::from(record.srtt_us8) / 8;
        let pause_us = match srtt_us {
            0 => LONGEST_PAUSE_US,
            srtt => (srtt / 4).clamp(SHORTEST_PAUSE_US, LONGEST_PAUSE_US),
        };
        let silent_ns = record.header.ktime_ns.saturating_sub(arrival.ktime_ns);
        if silent_ns < pause_us * 1_000 {
            return;
        }
        for (tally, size) in self.tallies.iter_mut().zip(arrival.sizes) {
            tally.stopped(size);
        }
    }

    fn refuted(&self, shift: u8) -> bool {
        let needed = if shift < self.shift() {
            BEYOND
        } else {
            BEYOND_ALL
        };
        self.tallies[usize::from(shift)].beyond >= needed
    }

    /// Whether the peer stops at the edges that go with a shift count.
    fn obeys(&self, shift: u8) -> bool {
        let tally = &self.tallies[usize::from(shift)];
        !self.refuted(shift) && tally.stops_at_edges()
    }

    /// What can be said by now. `larger`: the suspicion is that the peer was told a larger shift
    /// count than is used.
    #[must_use]
    pub fn settled(&self, larger: bool) -> Settled {
        let shift = self.shift();
        let obeyed = (0..=MAX_SHIFT).find(|at| self.obeys(*at));
        let smaller_refuted = (0..shift).all(|at| self.refuted(at));
        let (verdict, advertised) = match (obeyed, self.used) {
            _ if self.contradicted => (Outcome::Undecided, None),
            (Some(at), None) if at == shift => (Outcome::ScaleLost, None),
            (Some(at), Some(_)) if at == shift => (Outcome::Cleared, None),
            (Some(at), _) => (Outcome::Mismatch, Some(at)),
            (None, _) if smaller_refuted && self.refuted(shift) => (Outcome::Mismatch, None),
            (None, Some(1..)) if smaller_refuted && !larger => (Outcome::Cleared, None),
            (None, _) => (Outcome::Undecided, None),
        };
        let best = obeyed.map_or_else(
            || self.tallies.iter().max_by_key(|tally| tally.at_edge()),
            |at| Some(&self.tallies[usize::from(at)]),
        );
        let best = best.cloned().unwrap_or_default();
        Settled {
            verdict,
            advertised,
            factor: advertised.map(|at| 2_f64.powi(i32::from(shift) - i32::from(at))),
            consistent: (0..=MAX_SHIFT).filter(|at| !self.refuted(*at)).collect(),
            stops_at_edge: best.at_edge(),
            window_sizes: best.sizes(),
            other_stops: best.elsewhere(),
            bytes: self.bytes,
            why: (verdict == Outcome::Undecided).then(|| self.why(&best)),
        }
    }

    fn why(&self, best: &Tally) -> &'static str {
        if self.contradicted {
            "another connection took its place while it was watched"
        } else if self.bytes == 0 {
            "nothing came in"
        } else if best.is_of_one_size() {
            "the peer stops at the edge of a window, but the window keeps its size"
        } else {
            "the peer had never enough to send to come to the edge of a window"
        }
    }
}

/// Whether a record can be of the same connection as the one before it.
fn follows(last: &ProgressRecord, record: &ProgressRecord) -> bool {
    let grown = |from: u32, to: u32| !is_after(from, to);
    // The peer acknowledges, and this host sends, no further than that either way.
    grown(last.rcv_nxt, record.rcv_nxt)
        && grown(last.rcv_wup, record.rcv_wup)
        && record.rcv_nxt.wrapping_sub(last.rcv_nxt) <= 2 * (MAX_WINDOW_FIELD << MAX_SHIFT)
        && is_after(record.number, last.number)
}

/// Whether one sequence number or time is after another, modulo 2^32.
fn is_after(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() > 0
}

fn further(one: u32, other: u32) -> u32 {
    if is_after(one, other) { one } else { other }
}

/// Nanoseconds as milliseconds, modulo 2^32, which is how timestamps count.
fn milliseconds(ktime_ns: u64) -> u32 {
    (ktime_ns / 1_000_000) as u32
}

mod tally;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire;
