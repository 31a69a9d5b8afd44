//! A socket's own word: TCP_INFO.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result};

/// What a TCP socket of the kernel says about itself (`struct tcp_info`,
/// include/uapi/linux/tcp.h): the witness for what was really agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpInfo {
    /// State: 1 is ESTABLISHED (include/net/tcp_states.h).
    pub state: u8,
    /// Window scale that the peer announced, by which the socket reads the peer's windows.
    pub send_scale: u8,
    /// Window scale that the socket uses for its own windows.
    pub receive_scale: u8,
    /// Whether window scaling is on.
    pub scaling: bool,
    /// Whether timestamps are on.
    pub timestamps: bool,
    /// The peer's receive window as this socket understands it, in bytes (since Linux 5.4).
    pub send_window: u32,
    /// The largest segment that the socket sends, options not counted, in bytes.
    pub send_segment: u32,
}

impl TcpInfo {
    /// Asks a socket.
    ///
    /// # Errors
    /// When it is no TCP socket, or the kernel is too old to tell the window.
    pub fn of(socket: &impl AsFd) -> Result<Self> {
        let mut bytes = [0u8; 256];
        let mut length = bytes.len() as libc::socklen_t;
        // SAFETY: the pointer and the length describe `bytes`, which outlives the call.
        let done = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                bytes.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if done != 0 {
            return Err(io::Error::last_os_error()).context("failed to read TCP_INFO");
        }
        Self::parse(&bytes[..length as usize]).context("TCP_INFO is too short")
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        // Offsets of tcpi_options, of the two scales' byte (the low half is tcpi_snd_wscale), of
        // tcpi_snd_mss and of tcpi_snd_wnd: the structure only ever grows at its end.
        const OPTIONS: usize = 5;
        const SCALES: usize = 6;
        const SEND_SEGMENT: usize = 16;
        const SEND_WINDOW: usize = 228;
        // TCPI_OPT_TIMESTAMPS and TCPI_OPT_WSCALE.
        const TIMESTAMPS: u8 = 1;
        const SCALING: u8 = 4;
        let (options, scales) = (*bytes.get(OPTIONS)?, *bytes.get(SCALES)?);
        let word = |at: usize| {
            let word = bytes.get(at..at + 4)?;
            word.try_into().ok().map(u32::from_ne_bytes)
        };
        Some(Self {
            state: *bytes.first()?,
            send_scale: scales & 0xf,
            receive_scale: scales >> 4,
            scaling: options & SCALING != 0,
            timestamps: options & TIMESTAMPS != 0,
            send_window: word(SEND_WINDOW)?,
            send_segment: word(SEND_SEGMENT)?,
        })
    }

    /// Whether the connection is established.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.state == 1
    }

    /// The scale that the socket uses for its windows, or none without window scaling.
    #[must_use]
    pub fn used(&self) -> Option<u8> {
        self.scaling.then_some(self.receive_scale)
    }
}
