//! A TCP client of our own behind a TUN device: each packet goes out when a scenario says so, with
//! the options that it chooses.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use crate::packet::{Options, Segment, flag};
use crate::tun::Tun;
use crate::wait::PATIENCE;

/// Window scale that a peer offers unless told otherwise: what Linux clients offer.
pub const OFFERED_SCALE: u8 = 7;

/// What a SYN offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Window scale: shift count, or no option.
    pub window_scale: Option<u8>,
    /// Whether timestamps are offered.
    pub timestamps: bool,
    /// Fast Open cookie and data that travel with the SYN.
    pub fast_open: Option<(Vec<u8>, Vec<u8>)>,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            window_scale: Some(OFFERED_SCALE),
            timestamps: true,
            fast_open: None,
        }
    }
}

/// A client whose every packet is under control.
#[derive(Debug)]
pub struct Peer<'t> {
    tun: &'t Tun,
    local: SocketAddr,
    remote: SocketAddr,
    offer: Offer,
    initial: u32,
    next: u32,
    expected: u32,
    clock: u32,
    /// Window of its segments as on the wire, not scaled.
    pub window: u16,
}

impl<'t> Peer<'t> {
    /// A client that offers what Linux offers.
    #[must_use]
    pub fn new(tun: &'t Tun, local: SocketAddr, remote: SocketAddr) -> Self {
        Self::offering(tun, local, remote, Offer::default())
    }

    /// A client that offers what `offer` says.
    #[must_use]
    pub fn offering(tun: &'t Tun, local: SocketAddr, remote: SocketAddr, offer: Offer) -> Self {
        // Different for each connection, so that a mix-up of connections would show.
        let initial = 0x1000_0000 + (u32::from(local.port()) << 12);
        Self {
            tun,
            local,
            remote,
            offer,
            initial,
            next: initial.wrapping_add(1),
            expected: 0,
            clock: 1_000,
            window: 64_240,
        }
    }

    /// The same client trying again: the same address, the `number`-th other sequence number.
    #[must_use]
    pub fn again(&self, number: u32) -> Self {
        let mut other = Self::offering(self.tun, self.local, self.remote, self.offer.clone());
        other.initial = self.initial.wrapping_add(number << 20);
        other.next = other.initial.wrapping_add(1);
        other.clock = self.clock + number;
        other
    }

    /// This client's address.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The server's address.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Goes on as if a SYN+ACK of this sequence number had come, from whomever.
    pub fn expects(&mut self, sequence: u32) {
        self.expected = sequence.wrapping_add(1);
    }

    /// Sends the SYN, or sends it again.
    ///
    /// # Errors
    /// As [`Tun::send`].
    pub fn syn(&mut self) -> Result<()> {
        let (cookie, data) = self.offer.fast_open.clone().unzip();
        self.clock += 1;
        let options = Options {
            mss: Some(1460),
            window_scale: self.offer.window_scale,
            sack_permitted: true,
            timestamps: self.offer.timestamps.then_some((self.clock, 0)),
            fast_open: cookie,
        };
        let payload = data.unwrap_or_default();
        self.next = self.initial.wrapping_add(1 + payload.len() as u32);
        self.send(self.initial, flag::SYN, options, payload)
    }

    /// Waits for a SYN+ACK, and remembers what has to be acknowledged.
    ///
    /// # Errors
    /// When none comes.
    pub fn synack(&mut self) -> Result<Segment> {
        let (local, remote) = (self.local, self.remote);
        let synack = self
            .tun
            .wait(PATIENCE, &format!("a SYN+ACK for {local}"), |segment| {
                segment.destination == local
                    && segment.source == remote
                    && segment.has(flag::SYN | flag::ACK)
            })?;
        // Of a SYN with data, the server may take only the SYN.
        let acknowledged = synack.acknowledgment;
        ensure!(
            acknowledged == self.next || acknowledged == self.initial.wrapping_add(1),
            "the SYN+ACK does not acknowledge the SYN: {synack:?}"
        );
        self.expected = synack.sequence.wrapping_add(1);
        Ok(synack)
    }

    /// The timestamps that this client sends in answer to `synack`, if any were agreed.
    #[must_use]
    pub fn timestamps(&mut self, synack: &Segment) -> Option<(u32, u32)> {
        self.clock += 1;
        let (value, _) = synack.options.timestamps?;
        self.offer.timestamps.then_some((self.clock, value))
    }

    /// Acknowledges `synack` as it should be.
    ///
    /// # Errors
    /// As [`Tun::send`].
    pub fn ack(&mut self, synack: &Segment) -> Result<()> {
        let timestamps = self.timestamps(synack);
        self.ack_with(timestamps)
    }

    /// Acknowledges everything received, with these timestamps (value, echo) or none.
    ///
    /// # Errors
    /// As [`Tun::send`].
    pub fn ack_with(&mut self, timestamps: Option<(u32, u32)>) -> Result<()> {
        self.send(
            self.next,
            flag::ACK,
            Options {
                timestamps,
                ..Options::default()
            },
            Vec::new(),
        )
    }

    /// The ACK of everything received, with these timestamps or none, for somebody else to send.
    #[must_use]
    pub fn prepared(&self, timestamps: Option<(u32, u32)>) -> Segment {
        let options = Options {
            timestamps,
            ..Options::default()
        };
        self.segment(self.next, flag::ACK, options, Vec::new())
    }

    /// Sends data.
    ///
    /// # Errors
    /// As [`Tun::send`].
    pub fn data(&mut self, bytes: &[u8], timestamps: Option<(u32, u32)>) -> Result<()> {
        let options = Options {
            timestamps,
            ..Options::default()
        };
        let sequence = self.next;
        self.next = self.next.wrapping_add(bytes.len() as u32);
        self.send(sequence, flag::ACK | flag::PSH, options, bytes.to_vec())
    }

    /// Sends a segment without data that was acknowledged before, to which the server answers with
    /// an ACK.
    ///
    /// # Errors
    /// As [`Tun::send`].
    pub fn keep_alive(&self, timestamps: Option<(u32, u32)>) -> Result<()> {
        let options = Options {
            timestamps,
            ..Options::default()
        };
        self.send(self.next.wrapping_sub(1), flag::ACK, options, Vec::new())
    }

    /// Sends a RST.
    ///
    /// # Errors
    /// As [`Tun::send`].
    pub fn reset(&mut self) -> Result<()> {
        self.send(self.next, flag::RST, Options::default(), Vec::new())
    }

    /// Makes a whole handshake and returns the SYN+ACK.
    ///
    /// # Errors
    /// When no SYN+ACK comes.
    pub fn connect(&mut self) -> Result<Segment> {
        self.syn()?;
        let synack = self.synack()?;
        self.ack(&synack)?;
        Ok(synack)
    }

    /// Waits for the next segment that is no SYN+ACK and acknowledges its data for later sends.
    ///
    /// # Errors
    /// When none comes.
    pub fn receive(&mut self) -> Result<Segment> {
        let (local, remote) = (self.local, self.remote);
        let segment = self
            .tun
            .wait(PATIENCE, &format!("a segment for {local}"), |segment| {
                segment.destination == local && segment.source == remote && !segment.has(flag::SYN)
            })?;
        self.expected = segment.sequence.wrapping_add(segment.sequence_length());
        Ok(segment)
    }

    /// Sends a segment with everything chosen by the caller.
    ///
    /// # Errors
    /// As [`Tun::send`].
    pub fn send(&self, sequence: u32, flags: u8, options: Options, payload: Vec<u8>) -> Result<()> {
        self.tun
            .send(&self.segment(sequence, flags, options, payload))
            .with_context(|| format!("{} could not send", self.local))
    }

    fn segment(&self, sequence: u32, flags: u8, options: Options, payload: Vec<u8>) -> Segment {
        let acknowledgment = if flags & flag::ACK == 0 {
            0
        } else {
            self.expected
        };
        Segment {
            source: self.local,
            destination: self.remote,
            sequence,
            acknowledgment,
            flags,
            window: self.window,
            options,
            payload,
        }
    }
}
