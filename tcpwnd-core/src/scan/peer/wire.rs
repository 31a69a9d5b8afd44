//! A peer and a receiver that behaves as the kernel does, packet by packet, for tests.

use super::{Peer, further};
use crate::scan::Settled;
use std::collections::VecDeque;
use tcpwnd_common::{FlowKey, Header, Kind, ProgressRecord};

/// Round-trip time, microseconds.
pub const RTT: u64 = 100_000;

/// When everything begins, milliseconds.
const BEGIN_MS: u32 = 1_000_000;

/// Where sequence numbers begin: they wrap in the midst of each test.
pub const START: u32 = u32::MAX - 40_000;

/// A peer, a receiver, and what is under way between them.
pub struct Wire {
    pub peer: Peer,
    /// Shift count that the receiver uses, and the one that the peer was told.
    pub used: u8,
    told: u8,
    pub now_us: u64,
    pub number: u32,
    /// The receiver.
    pub rcv_nxt: u32,
    pub rcv_wup: u32,
    pub rcv_wnd: u32,
    pub srtt_us: u64,
    pub timestamps: bool,
    /// The receiver has data under way, and the peer's echo is as old as that.
    pub busy: bool,
    /// Of two segments that are under way the second one comes in first.
    pub reorders: bool,
    /// The peer: what it has sent, the edge it knows, its last echo in milliseconds.
    sent: u32,
    pub edge: u32,
    echo: u32,
    /// Acknowledgments on their way: arrival, edge, milliseconds.
    acks: VecDeque<(u64, u32, u32)>,
    /// Data on its way: arrival, end, echo.
    pub data: VecDeque<(u64, u32, u32)>,
}

impl Wire {
    pub fn new(used: u8, told: u8) -> Self {
        Self {
            peer: Peer::new(Some(used)),
            used,
            told,
            now_us: u64::from(BEGIN_MS) * 1_000,
            number: 0,
            rcv_nxt: START,
            rcv_wup: START,
            rcv_wnd: 65_536,
            srtt_us: RTT,
            timestamps: true,
            busy: false,
            reorders: false,
            sent: START,
            edge: START.wrapping_add(65_536 >> used << told),
            echo: BEGIN_MS,
            acks: VecDeque::new(),
            data: VecDeque::new(),
        }
    }

    /// The receiver chooses a window.
    pub fn record(&mut self) {
        let record = ProgressRecord {
            header: Header {
                version: 2,
                kind: Kind::Progress as u16,
                len: 96,
                ktime_ns: self.now_us * 1_000,
            },
            flow: FlowKey::ZERO,
            rcv_nxt: self.rcv_nxt,
            rcv_wup: self.rcv_wup,
            rcv_wnd: self.rcv_wnd,
            rcv_tsecr: match (self.timestamps, self.busy) {
                (false, _) => 0,
                (true, true) => BEGIN_MS,
                (true, false) => self.echo,
            },
            snd_una: 7,
            snd_nxt: if self.busy { 8 } else { 7 },
            srtt_us8: (self.srtt_us * 8) as u32,
            number: self.number,
            rcv_wscale: self.used.into(),
        };
        self.number += 1;
        self.peer.observe(&record);
    }

    /// The peer sends as far as `want`, the window and `burst` let it, in one go.
    pub fn send(&mut self, want: u32, burst: u32) {
        let room = self.edge.wrapping_sub(self.sent).cast_signed().max(0) as u32;
        let amount = want.min(room).min(burst);
        if amount > 0 {
            self.sent = self.sent.wrapping_add(amount);
            self.data
                .push_back((self.now_us + RTT / 2, self.sent, self.echo));
        }
    }

    /// Time goes on to the next thing that arrives; false when nothing is under way. `window`
    /// says what the receiver offers once it has this much.
    pub fn step(&mut self, window: &mut impl FnMut(u32) -> u32) -> bool {
        let ack = self.acks.front().map(|at| at.0);
        let data = self.data.front().map(|at| at.0);
        match (ack, data) {
            (None, None) => return false,
            (Some(ack), data) if data.is_none_or(|data| ack <= data) => {
                let (at, edge, time) = self.acks.pop_front().unwrap();
                self.now_us = at;
                self.edge = further(self.edge, edge);
                self.echo = time;
            }
            _ => {
                let (mut at, mut end, echo) = self.data.pop_front().unwrap();
                let newest = self.echo;
                if self.reorders
                    && let Some((later, second, of_second)) = self.data.pop_front()
                {
                    // It is acknowledged at once, as far as the first one has come.
                    (at, end, self.now_us, self.echo) = (later, second, later, of_second);
                    self.record();
                }
                self.now_us = at;
                self.rcv_nxt = end;
                self.echo = echo;
                self.record();
                self.echo = newest;
                // What was offered is never taken back (tcp_select_window).
                let offered = self.rcv_wup.wrapping_add(self.rcv_wnd);
                let left = offered.wrapping_sub(end).cast_signed().max(0) as u32;
                let unit = 1_u32 << self.used;
                let chosen = window(end.wrapping_sub(START));
                self.rcv_wnd = if chosen < left {
                    left.next_multiple_of(unit)
                } else {
                    chosen
                };
                self.rcv_wup = end;
                let edge = end.wrapping_add(self.rcv_wnd >> self.used << self.told);
                let time = (self.now_us / 1_000) as u32;
                self.acks.push_back((at + RTT / 2, edge, time));
            }
        }
        true
    }

    /// A peer that always has something to send, until this many bytes are there.
    pub fn stream(
        &mut self,
        total: u32,
        burst: u32,
        mut window: impl FnMut(u32) -> u32,
    ) -> Settled {
        while self.rcv_nxt.wrapping_sub(START) < total {
            self.send(total, burst);
            assert!(self.step(&mut window), "the peer stalls for good");
        }
        self.settled()
    }

    /// A peer that sends requests, each when the one before has been acknowledged and some time
    /// later.
    pub fn requests(
        &mut self,
        sizes: impl Iterator<Item = u32>,
        think_us: u64,
        mut window: impl FnMut(u32) -> u32,
    ) -> Settled {
        for size in sizes {
            let end = self.sent.wrapping_add(size);
            while self.sent != end || !self.data.is_empty() {
                let left = end.wrapping_sub(self.sent);
                self.send(left, u32::MAX);
                assert!(self.step(&mut window), "the peer stalls for good");
            }
            while self.step(&mut window) {}
            self.now_us += think_us;
        }
        self.settled()
    }

    pub fn settled(&self) -> Settled {
        self.peer.settled(false)
    }
}
