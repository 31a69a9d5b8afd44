//! An XDP program that answers SYNs in the stack's place, with SYN cookies that the stack takes for
//! its own (`bpf_tcp_gen_syncookie`, net/core/filter.c, 5.10), and with a window scale that the stack
//! knows nothing of.
//!
//! Constraint: it answers only SYNs as the laboratory's peers send them: IPv4 without options, MSS,
//! SACK, timestamps and window scale in this order, no data.

use anyhow::Result;

use crate::bpf_program::{
    BYTE, HALF, Insn, Program, WORD, XDP, add, copy, helper, insn, load, look_up_listener, set,
    store, store_value, unless_equal,
};
use crate::net::Namespace;

/// Shift count that the program announces.
pub const ANNOUNCED: u8 = 3;

/// Port of the listener.
const PORT: u16 = 9092;

// From include/uapi/linux/bpf.h.
const KTIME_GET_NS: i32 = 5;
const CSUM_DIFF: i32 = 28;
const SK_RELEASE: i32 = 86;
const TCP_GEN_SYNCOOKIE: i32 = 110;
const XDP_PASS: i32 = 2;
const XDP_TX: i32 = 3;

// Offsets in the packet, in bytes.
const SOURCE: i16 = 12;
const DESTINATION: i16 = 16;
const TCP: i16 = 20;
const SEQUENCE: i16 = TCP + 4;
const ACKNOWLEDGMENT: i16 = TCP + 8;
const FLAGS: i16 = TCP + 13;
const CHECKSUM: i16 = TCP + 16;
const TIMESTAMP: i16 = TCP + 28;
const ECHO: i16 = TCP + 32;
const SHIFT: i16 = TCP + 38;
/// Of the TCP header, and of the packet.
const TCP_LENGTH: i32 = 40;
const LENGTH: i32 = 60;

const fn and(register: u8, value: i32) -> Insn {
    insn(0x57, register, 0, 0, value)
}

const fn or(register: u8, value: i32) -> Insn {
    insn(0x47, register, 0, 0, value)
}

const fn or_register(to: u8, from: u8) -> Insn {
    insn(0x4f, to, from, 0, 0)
}

const fn add_register(to: u8, from: u8) -> Insn {
    insn(0x0f, to, from, 0, 0)
}

const fn shift_right(register: u8, by: i32) -> Insn {
    insn(0x77, register, 0, 0, by)
}

const fn divide(register: u8, by: i32) -> Insn {
    insn(0x37, register, 0, 0, by)
}

const fn invert(register: u8) -> Insn {
    insn(0xa7, register, 0, 0, -1)
}

/// The lower 32 bits, from or to network byte order.
const fn network_order(register: u8) -> Insn {
    insn(0xdc, register, 0, 0, 32)
}

/// Adds up the parts of 16 bits, twice if the sum may be larger itself.
const fn fold(register: u8, spare: u8) -> [Insn; 4] {
    [
        copy(spare, register),
        shift_right(spare, 16),
        and(register, 0xffff),
        add_register(register, spare),
    ]
}

/// The sum of what lies in the packet, added to the fifth register, in the first.
const fn sum(offset: i16, length: i32) -> [Insn; 6] {
    [
        set(1, 0),
        set(2, 0),
        copy(3, 7),
        add(3, offset as i32),
        set(4, length),
        helper(CSUM_DIFF),
    ]
}

/// The program. A jump by nothing goes to its end, where the packet is passed on.
fn program() -> Vec<Insn> {
    let mut all = Vec::new();
    all.extend(is_syn());
    all.extend(cookie());
    all.extend(answer());
    for part in [
        &sum(SOURCE, 8)[..],
        &fold(0, 5),
        // Protocol and length, the rest of what is not in the TCP header.
        &[copy(5, 0), add(5, (6 + TCP_LENGTH) << 8)],
        &sum(TCP, TCP_LENGTH),
        &fold(0, 1),
        &fold(0, 1),
        &[invert(0), store(HALF, 7, CHECKSUM, 0)],
        &[set(0, XDP_TX), insn(0x95, 0, 0, 0, 0)],
    ] {
        all.extend(part);
    }
    let end = all.len();
    all.extend([set(0, XDP_PASS), insn(0x95, 0, 0, 0, 0)]);
    for (at, insn) in all.iter_mut().enumerate() {
        if insn.is_jump() {
            insn.offset = (end - at - 1) as i16;
        }
    }
    all
}

/// Leaves to the end unless the packet is a SYN as described above. The sixth register is the
/// context then, the seventh the packet.
fn is_syn() -> Vec<Insn> {
    let mut all = vec![
        copy(6, 1),
        load(WORD, 7, 6, 0),
        load(WORD, 8, 6, 4),
        copy(2, 7),
        add(2, LENGTH),
        // r2 > r8
        insn(0x2d, 2, 8, 0, 0),
    ];
    let halves = [
        (2, (LENGTH as u16).to_be()),
        (TCP + 2, PORT.to_be()),
        // Length of the header, and flags.
        (TCP + 12, u16::from_le_bytes([(TCP_LENGTH << 2) as u8, 2])),
        // Timestamps, window scale.
        (TIMESTAMP - 2, u16::from_le_bytes([8, 10])),
        (SHIFT - 2, u16::from_le_bytes([3, 3])),
    ];
    for (offset, value) in [(0, 0x45), (9, libc::IPPROTO_TCP)] {
        all.extend([load(BYTE, 5, 7, offset), unless_equal(5, value, 0)]);
    }
    for (offset, value) in halves {
        let value = i32::from(value);
        all.extend([load(HALF, 5, 7, offset), unless_equal(5, value, 0)]);
    }
    all
}

/// The stack's cookie for it, in the ninth register; to the end if there is no listener, or it makes
/// none.
fn cookie() -> Vec<Insn> {
    let mut all = look_up_listener(7, 6, 0).to_vec();
    all.extend([
        copy(6, 0),
        copy(1, 6),
        copy(2, 7),
        set(3, TCP as i32),
        copy(4, 7),
        add(4, TCP as i32),
        set(5, TCP_LENGTH),
        helper(TCP_GEN_SYNCOOKIE),
        copy(9, 0),
        copy(1, 6),
        helper(SK_RELEASE),
        // An error.
        insn(0xc5, 9, 0, 0, 0),
        network_order(9),
    ]);
    all
}

/// Makes a SYN+ACK of the SYN, all but its checksum.
fn answer() -> Vec<Insn> {
    vec![
        // What a cookie remembers is in the low bits of the timestamp (cookie_init_timestamp,
        // net/ipv4/syncookies.c): the peer's shift count, and that SACK is permitted.
        helper(KTIME_GET_NS),
        divide(0, 1_000_000),
        add(0, -64),
        and(0, -64),
        load(BYTE, 1, 7, SHIFT),
        and(1, 0x0f),
        or_register(0, 1),
        or(0, 0x10),
        network_order(0),
        load(WORD, 1, 7, TIMESTAMP),
        store(WORD, 7, ECHO, 1),
        store(WORD, 7, TIMESTAMP, 0),
        store_value(BYTE, 7, SHIFT, ANNOUNCED as i32),
        load(WORD, 1, 7, SOURCE),
        load(WORD, 2, 7, DESTINATION),
        store(WORD, 7, SOURCE, 2),
        store(WORD, 7, DESTINATION, 1),
        load(HALF, 1, 7, TCP),
        load(HALF, 2, 7, TCP + 2),
        store(HALF, 7, TCP, 2),
        store(HALF, 7, TCP + 2, 1),
        load(WORD, 1, 7, SEQUENCE),
        network_order(1),
        add(1, 1),
        network_order(1),
        store(WORD, 7, ACKNOWLEDGMENT, 1),
        store(WORD, 7, SEQUENCE, 9),
        store_value(BYTE, 7, FLAGS, 0x12),
        store_value(HALF, 7, CHECKSUM, 0),
        // What the first sum begins with.
        set(5, 0),
    ]
}

/// The program, attached to a device. It goes with this value.
#[derive(Debug)]
pub struct XdpCookies(#[expect(dead_code, reason = "what counts is that it is there")] Program);

impl XdpCookies {
    /// Attaches to a device without link layer in a namespace.
    ///
    /// # Errors
    /// As [`Program::attach`].
    pub fn attach(at: &Namespace, device: &str) -> Result<Self> {
        Program::attach(at, device, XDP, &program()).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::program;

    #[test]
    fn every_jump_is_to_where_the_packet_is_passed_on() {
        let all = program();
        let jumps = all.iter().enumerate().filter(|(_, insn)| insn.is_jump());
        let targets: Vec<_> = jumps
            .map(|(at, insn)| at + 1 + insn.offset as usize)
            .collect();
        assert_eq!(targets, [all.len() - 2; 10]);
    }
}
