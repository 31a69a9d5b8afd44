//! Copies the option area of a TCP header as it is; user space parses it.

use crate::read::{Object, Result};
use tcpwnd_common::{Field, MAX_TCP_OPTIONS, TcpOptions};

/// Length of a TCP header without options, bytes (RFC 9293, section 3.1).
const HEADER: usize = 20;

/// The TCP header of a packet: `head + transport_header`.
#[inline(always)]
pub fn tcp_header(skb: Object) -> Result<Object> {
    let head = skb.follow(Field::SkbHead)?;
    let offset: u16 = skb.get(Field::SkbTransportHeader)?;
    Ok(head.beyond(offset as usize))
}

/// Sequence number of a TCP header, host byte order.
#[inline(always)]
pub fn sequence(header: Object) -> Result<u32> {
    Ok(u32::from_be(header.at(4)?))
}

/// Acknowledgement number of a TCP header, whether it means anything or not, host byte order.
#[inline(always)]
pub fn acknowledgement(header: Object) -> Result<u32> {
    Ok(u32::from_be(header.at(8)?))
}

/// Flags of a TCP header, the eight lowest.
#[inline(always)]
pub fn flags(header: Object) -> Result<u8> {
    header.at(13)
}

/// Copies window and options of `header`; `into` must be zero.
#[inline(always)]
pub fn copy(header: Object, into: &mut TcpOptions) -> Result<()> {
    // Data offset (upper 4 bits of byte 12), flags, window.
    let [offset, _flags, window_high, window_low]: [u8; 4] = header.at(12)?;
    let words = (offset >> 4) as usize;
    let len = (words * 4).wrapping_sub(HEADER) & 63;
    let len = if len > MAX_TCP_OPTIONS { 0 } else { len };
    into.window = u16::from_be_bytes([window_high, window_low]);
    header.copy(HEADER, &mut into.bytes, len)?;
    into.len = len as u8;
    into.present = 1;
    Ok(())
}
