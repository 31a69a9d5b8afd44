//! TCP segments in IPv4 or IPv6 packets, built and parsed.
//!
//! Constraint: independent of the kernel's and of tcpwnd's own parsing, since it is the witness
//! for both. No IP options, no extension headers, no fragments: nothing here sends any.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// TCP flags (RFC 9293, section 3.1).
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment field is significant.
    pub const ACK: u8 = 0x10;
}

const IPPROTO_TCP: u8 = 6;

/// The TCP options of a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size, in bytes.
    pub mss: Option<u16>,
    /// Window scale: shift count (RFC 7323, section 2).
    pub window_scale: Option<u8>,
    /// Whether selective acknowledgments are permitted.
    pub sack_permitted: bool,
    /// Timestamp value and echo reply (RFC 7323, section 3).
    pub timestamps: Option<(u32, u32)>,
    /// Fast Open cookie; empty asks for one (RFC 7413, section 2.1).
    pub fast_open: Option<Vec<u8>>,
}

impl Options {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(mss) = self.mss {
            bytes.extend([2, 4]);
            bytes.extend(mss.to_be_bytes());
        }
        if self.sack_permitted {
            bytes.extend([4, 2]);
        }
        if let Some((value, echo)) = self.timestamps {
            bytes.extend([8, 10]);
            bytes.extend(value.to_be_bytes());
            bytes.extend(echo.to_be_bytes());
        }
        if let Some(scale) = self.window_scale {
            bytes.extend([3, 3, scale]);
        }
        if let Some(cookie) = &self.fast_open {
            bytes.extend([34, 2 + cookie.len() as u8]);
            bytes.extend(cookie);
        }
        bytes.resize(bytes.len().next_multiple_of(4), 1);
        bytes
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut options = Self::default();
        while let Some((&kind, rest)) = bytes.split_first() {
            match kind {
                0 => break,
                1 => bytes = rest,
                _ => {
                    let length = usize::from(*rest.first()?);
                    let body = bytes.get(2..length)?;
                    options.take(kind, body);
                    bytes = bytes.get(length..)?;
                }
            }
        }
        Some(options)
    }

    fn take(&mut self, kind: u8, body: &[u8]) {
        match (kind, body) {
            (2, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            (3, &[scale]) => self.window_scale = Some(scale),
            (4, &[]) => self.sack_permitted = true,
            (8, &[a, b, c, d, e, f, g, h]) => {
                self.timestamps = Some((
                    u32::from_be_bytes([a, b, c, d]),
                    u32::from_be_bytes([e, f, g, h]),
                ));
            }
            (34, cookie) => self.fast_open = Some(cookie.to_vec()),
            _ => {}
        }
    }
}

/// A TCP segment with its addresses. Numbers are in host byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// Flags, from [`flag`].
    pub flags: u8,
    /// Window as on the wire, not scaled.
    pub window: u16,
    /// Options.
    pub options: Options,
    /// Data.
    pub payload: Vec<u8>,
}

impl Segment {
    /// Whether all of `flags` are set.
    #[must_use]
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Length in sequence space: data, SYN and FIN count.
    #[must_use]
    pub fn sequence_length(&self) -> u32 {
        let marks = u32::from(self.has(flag::SYN)) + u32::from(self.has(flag::FIN));
        self.payload.len() as u32 + marks
    }

    /// The IP packet with this segment, checksums included.
    ///
    /// # Panics
    /// When one address is IPv4 and the other IPv6, or the packet would exceed 65,535 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let options = self.options.encode();
        let mut tcp = Vec::with_capacity(20 + options.len() + self.payload.len());
        tcp.extend(self.source.port().to_be_bytes());
        tcp.extend(self.destination.port().to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(self.acknowledgment.to_be_bytes());
        tcp.extend([((20 + options.len()) as u8 / 4) << 4, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(options);
        tcp.extend(&self.payload);
        let length = u16::try_from(tcp.len() + 20).expect("the packet is too large");
        let mut packet = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => header_v4(source, destination, length),
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                header_v6(source, destination, length - 20)
            }
            _ => panic!("a segment between IPv4 and IPv6"),
        };
        let sum = checksum(&[
            &pseudo(self.source.ip(), self.destination.ip(), tcp.len()),
            &tcp,
        ]);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        packet.extend(tcp);
        packet
    }

    /// Reads an IP packet; none when it is no TCP segment, or damaged.
    #[must_use]
    pub fn decode(packet: &[u8]) -> Option<Self> {
        let (source, destination, tcp) = match packet.first()? >> 4 {
            4 => split_v4(packet)?,
            6 => split_v6(packet)?,
            _ => return None,
        };
        let fixed = tcp.first_chunk::<20>()?;
        let data = usize::from(fixed[12] >> 4) * 4;
        Some(Self {
            source: SocketAddr::new(source, u16::from_be_bytes([fixed[0], fixed[1]])),
            destination: SocketAddr::new(destination, u16::from_be_bytes([fixed[2], fixed[3]])),
            sequence: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            acknowledgment: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            flags: fixed[13],
            window: u16::from_be_bytes([fixed[14], fixed[15]]),
            options: Options::decode(tcp.get(20..data)?)?,
            payload: tcp.get(data..)?.to_vec(),
        })
    }
}

fn header_v4(source: Ipv4Addr, destination: Ipv4Addr, length: u16) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend(length.to_be_bytes());
    // Identification 0, do not fragment, 64 hops, TCP, checksum still 0.
    header.extend([0, 0, 0x40, 0, 64, IPPROTO_TCP, 0, 0]);
    header.extend(source.octets());
    header.extend(destination.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn header_v6(source: Ipv6Addr, destination: Ipv6Addr, payload: u16) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(payload.to_be_bytes());
    header.extend([IPPROTO_TCP, 64]);
    header.extend(source.octets());
    header.extend(destination.octets());
    header
}

fn split_v4(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let fixed = packet.first_chunk::<20>()?;
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let header = usize::from(fixed[0] & 0xf) * 4;
    if fixed[9] != IPPROTO_TCP {
        return None;
    }
    let source = Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]);
    let destination = Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]);
    Some((
        source.into(),
        destination.into(),
        packet.get(header..length)?,
    ))
}

fn split_v6(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let (fixed, rest) = packet.split_first_chunk::<40>()?;
    if fixed[6] != IPPROTO_TCP {
        return None;
    }
    let source: [u8; 16] = fixed[8..24].try_into().ok()?;
    let destination: [u8; 16] = fixed[24..40].try_into().ok()?;
    let length = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    Some((
        Ipv6Addr::from(source).into(),
        Ipv6Addr::from(destination).into(),
        rest.get(..length)?,
    ))
}

/// The pseudo header of RFC 9293, section 3.1, and of RFC 8200, section 8.1: in the sum they
/// come to the same, whatever the order of their fields.
fn pseudo(source: IpAddr, destination: IpAddr, length: usize) -> Vec<u8> {
    let mut header = Vec::new();
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => header.extend(address.octets()),
            IpAddr::V6(address) => header.extend(address.octets()),
        }
    }
    header.extend((length as u32).to_be_bytes());
    header.extend([0, IPPROTO_TCP]);
    header
}

/// The Internet checksum (RFC 1071) over several pieces, each but the last of even length.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for word in pieces.iter().flat_map(|piece| piece.chunks(2)) {
        sum += u32::from(u16::from_be_bytes([
            word[0],
            word.get(1).copied().unwrap_or(0),
        ]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(source: &str, destination: &str) -> Segment {
        Segment {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            sequence: 0x0102_0304,
            acknowledgment: 0xfffe_fdfc,
            flags: flag::SYN | flag::ACK,
            window: 64_240,
            options: Options {
                mss: Some(1460),
                window_scale: Some(7),
                sack_permitted: true,
                timestamps: Some((1, 2)),
                fast_open: Some(vec![1, 2, 3, 4, 5, 6, 7, 8]),
            },
            payload: vec![9; 3],
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        for (source, destination) in [
            ("10.9.0.2:40000", "10.9.0.1:9092"),
            ("[fd09::2]:40000", "[fd09::1]:9092"),
        ] {
            let segment = segment(source, destination);
            assert_eq!(Segment::decode(&segment.encode()), Some(segment));
        }
    }

    #[test]
    fn checksums_come_out_as_zero_when_summed_again() {
        let packet = segment("10.9.0.2:40000", "10.9.0.1:9092").encode();
        assert_eq!(checksum(&[&packet[..20]]), 0);
        let ends = ("10.9.0.2".parse().unwrap(), "10.9.0.1".parse().unwrap());
        assert_eq!(
            checksum(&[&pseudo(ends.0, ends.1, packet.len() - 20), &packet[20..]]),
            0
        );
    }

    #[test]
    fn truncated_packets_are_refused() {
        let packet = segment("[fd09::2]:40000", "[fd09::1]:9092").encode();
        for length in 0..packet.len() {
            assert_eq!(Segment::decode(&packet[..length]), None, "{length} bytes");
        }
    }
}
