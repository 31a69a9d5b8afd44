//! `struct tcp_info` (include/uapi/linux/tcp.h) as sock_diag and TCP_INFO give it.
//!
//! Constraint: total. The structure only ever grows at its end, so what an older kernel does not
//! give is `None`, and what ends before the scales is no answer at all.

use serde::Serialize;

/// Bits of `tcpi_options`.
const TIMESTAMPS: u8 = 1;
const SACK: u8 = 2;
const WSCALE: u8 = 4;

/// What a socket says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TcpInfo {
    /// Windows are scaled.
    pub window_scaling: bool,
    /// Shift count of this host's windows; 0 without scaling.
    pub rcv_wscale: u8,
    /// Shift count of the peer's windows; 0 without scaling.
    pub snd_wscale: u8,
    /// Segments carry timestamps.
    pub timestamps: bool,
    /// Selective acknowledgements were agreed on.
    pub sack: bool,
    /// Largest segment that is sent, bytes of data.
    pub snd_mss: u32,
    /// Largest segment that the peer seems to send, bytes of data.
    pub rcv_mss: u32,
    /// MSS that this host announced, bytes, less the room for timestamps.
    pub advmss: u32,
    /// MTU of the path as far as it is known, bytes.
    pub pmtu: u32,
    /// Limit of the receive window at present, bytes.
    pub rcv_ssthresh: u32,
    /// Smoothed round-trip time, microseconds; `None` when never measured.
    pub srtt_us: Option<u32>,
    /// Received in all, bytes; from 4.1 on.
    pub bytes_received: Option<u64>,
    /// The window of the last segment that was sent, bytes; from 6.2 on.
    pub rcv_wnd: Option<u32>,
}

impl TcpInfo {
    /// Reads it; `None` where it is too short to be one.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let options = *bytes.get(5)?;
        // tcpi_snd_wscale : 4, tcpi_rcv_wscale : 4, the first in the low half.
        let scales = *bytes.get(6)?;
        let (snd_wscale, rcv_wscale) = if cfg!(target_endian = "little") {
            (scales & 0xf, scales >> 4)
        } else {
            (scales >> 4, scales & 0xf)
        };
        Some(Self {
            window_scaling: options & WSCALE != 0,
            rcv_wscale,
            snd_wscale,
            timestamps: options & TIMESTAMPS != 0,
            sack: options & SACK != 0,
            snd_mss: u32_at(bytes, 16)?,
            rcv_mss: u32_at(bytes, 20)?,
            advmss: u32_at(bytes, 84)?,
            pmtu: u32_at(bytes, 60)?,
            rcv_ssthresh: u32_at(bytes, 64)?,
            srtt_us: u32_at(bytes, 68).filter(|srtt| *srtt != 0),
            bytes_received: bytes
                .get(128..136)
                .and_then(|word| Some(u64::from_ne_bytes(word.try_into().ok()?))),
            rcv_wnd: u32_at(bytes, 232),
        })
    }

    /// Shift count of this host's windows, if there is one.
    #[must_use]
    pub fn used(&self) -> Option<u8> {
        self.window_scaling.then_some(self.rcv_wscale)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::TcpInfo;

    /// A socket of 6.12, from its TCP_INFO.
    fn bytes() -> Vec<u8> {
        let mut bytes = vec![0; 248];
        bytes[0] = 1;
        bytes[5] = 7;
        bytes[6] = 0x79;
        for (at, value) in [
            (16, 1_448_u32),
            (20, 1_024),
            (60, 1_500),
            (64, 64_088),
            (68, 200_123),
            (84, 1_448),
            (228, 99),
            (232, 65_536),
        ] {
            bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        bytes[128..136].copy_from_slice(&(1_u64 << 33).to_ne_bytes());
        bytes
    }

    #[test]
    fn every_field_is_read() {
        let info = TcpInfo::parse(&bytes()).unwrap();
        let expected = TcpInfo {
            window_scaling: true,
            rcv_wscale: 7,
            snd_wscale: 9,
            timestamps: true,
            sack: true,
            snd_mss: 1_448,
            rcv_mss: 1_024,
            advmss: 1_448,
            pmtu: 1_500,
            rcv_ssthresh: 64_088,
            srtt_us: Some(200_123),
            bytes_received: Some(1 << 33),
            rcv_wnd: Some(65_536),
        };
        assert_eq!(info, expected);
        assert_eq!(info.used(), Some(7));
    }

    #[test]
    fn what_an_older_kernel_does_not_tell_is_not_known() {
        // 5.10 ends before tcpi_rcv_wnd, 4.0 before tcpi_bytes_received.
        let info = TcpInfo::parse(&bytes()[..232]).unwrap();
        assert_eq!((info.rcv_wnd, info.bytes_received), (None, Some(1 << 33)));
        let info = TcpInfo::parse(&bytes()[..104]).unwrap();
        assert_eq!((info.rcv_wnd, info.bytes_received), (None, None));
    }

    #[test]
    fn what_is_too_short_is_no_answer() {
        for length in 0..88 {
            assert_eq!(TcpInfo::parse(&bytes()[..length]), None, "{length}");
        }
        for length in 88..bytes().len() {
            assert!(TcpInfo::parse(&bytes()[..length]).is_some(), "{length}");
        }
    }

    #[test]
    fn without_the_option_no_scale_is_used() {
        let mut bytes = bytes();
        bytes[5] = 0;
        bytes[6] = 0;
        assert_eq!(TcpInfo::parse(&bytes).unwrap().used(), None);
    }
}
