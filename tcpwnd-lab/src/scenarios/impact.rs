//! What damage comes to, against a witness on the other side of the wire: the window that it
//! computed, and the time that passed for it between SYN+ACK and ACK.
//!
//! Constraint: a window may differ by one step of its field and no more. The kernel rounds windows
//! up to whole steps (`__tcp_select_window`, net/ipv4/tcp_output.c, 5.10), the first one it does not.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::findings::Handshake;
use crate::packet::Segment;
use crate::peer::Peer;

/// Time that a peer takes between SYN+ACK and ACK, as if it was so far away.
const PATH: Duration = Duration::from_millis(100);

/// What the other side saw of a connection.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Scale in the SYN+ACK that it got.
    pub told: Option<u8>,
    /// The first window after the handshake as it computes it, in bytes.
    pub window: u64,
    /// Time from SYN+ACK to ACK: at least, at most.
    pub round_trip: RangeInclusive<Duration>,
}

/// Windows by which the sender of data is held back, as the other side sees them.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// In bytes.
    pub window: u64,
    /// What one step of the header's field stands for, in bytes.
    pub step: u64,
}

/// A handshake that takes its time.
#[derive(Debug)]
pub struct Slow {
    begin: Instant,
    least: Duration,
    synack: Segment,
}

impl Slow {
    /// Asks for a connection, and does not answer at once.
    ///
    /// # Errors
    /// When there is no SYN+ACK.
    pub fn begin(peer: &mut Peer<'_>) -> Result<Self> {
        let begin = Instant::now();
        peer.syn()?;
        let synack = peer.synack()?;
        let told = Instant::now();
        std::thread::sleep(PATH);
        Ok(Self {
            begin,
            least: told.elapsed(),
            synack,
        })
    }

    /// What was answered.
    #[must_use]
    pub fn synack(&self) -> &Segment {
        &self.synack
    }

    /// Asks for a sign of life, as a client does whose connection is idle (RFC 9293, section
    /// 3.8.4), and says what window comes with it. The server must have accepted by then.
    ///
    /// # Errors
    /// When nothing comes back.
    pub fn seen(&self, peer: &mut Peer<'_>, timestamps: Option<(u32, u32)>) -> Result<Seen> {
        let most = self.begin.elapsed();
        peer.keep_alive(timestamps)?;
        let answer = peer.receive()?;
        ensure!(answer.payload.is_empty(), "no sign of life: {answer:?}");
        let told = self.synack.options.window_scale;
        Ok(Seen {
            told,
            window: u64::from(answer.window) << told.unwrap_or(0),
            round_trip: self.least..=most,
        })
    }
}

impl Seen {
    /// The window in which the other side sends.
    #[must_use]
    pub fn held(&self) -> Held {
        Held {
            window: self.window,
            step: 1 << self.told.unwrap_or(0),
        }
    }

    /// Checks what was reported of the direction in which the server receives, and of the
    /// connection's ceiling: `held` is the window that limits it, if one does.
    ///
    /// # Errors
    /// When the witness disagrees.
    pub fn check(&self, finding: &Handshake, used: Option<u8>, held: Option<Held>) -> Result<()> {
        let receive = finding.receive.as_ref();
        let receive = receive.context("nothing is said about receiving")?;
        let steps = i32::from(used.unwrap_or(0)) - i32::from(self.told.unwrap_or(0));
        ensure!(
            receive.factor == f64::from(steps).exp2(),
            "by the sockets the factor is 2^{steps}, but reported was {finding:?}"
        );
        let step = self.held().step;
        ensure!(
            receive.peer_window_bytes.abs_diff(self.window) <= step,
            "the client computed a window of {}, but reported was {finding:?}",
            self.window
        );
        let round_trip = finding.round_trip();
        let round_trip = round_trip.context("no round-trip time is reported")?;
        ensure!(
            self.round_trip.contains(&round_trip),
            "the handshake took {:?}, but reported was {finding:?}",
            self.round_trip
        );
        let ceiling = finding.impact.ceiling_bytes_per_second;
        let Some(Held { window, step }) = held else {
            ensure!(ceiling.is_none(), "nothing holds it back: {finding:?}");
            return Ok(());
        };
        let ceiling = ceiling.context("no ceiling is reported")?;
        let a_round_trip = (ceiling * round_trip.as_secs_f64()).round();
        ensure!(
            (a_round_trip - window as f64).abs() <= step as f64,
            "{window} bytes a round trip fit, but reported was {finding:?}"
        );
        Ok(())
    }
}
