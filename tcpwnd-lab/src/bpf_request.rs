//! A BPF program that stands in for the TCP stack's cookies: to each ACK that comes to a listener
//! it makes a request of its own, with shift counts of its own (`bpf_sk_assign_tcp_reqsk`,
//! net/core/filter.c, 6.9). Whoever sends that ACK need not have been sent a SYN+ACK.
//!
//! Constraint: the program is written out in instructions, so that the laboratory needs no
//! compiler for it and no loader.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use btf_rs::{Btf, Type};

use crate::bpf::call;
use crate::net::Namespace;

/// Shift count of the server's windows, as the program sets it.
pub const SCALE: u8 = 5;

const FUNCTION: &str = "bpf_sk_assign_tcp_reqsk";
/// Port of the listener.
const PORT: u16 = 9092;

// From include/uapi/linux/bpf.h.
const PROG_LOAD: i64 = 5;
const LINK_CREATE: i64 = 28;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const TCX_INGRESS: u32 = 46;
const SKC_LOOKUP_TCP: i32 = 99;
const SK_RELEASE: i32 = 86;
const SKC_TO_TCP_SOCK: i32 = 137;
/// `data` and `data_end` of `struct __sk_buff`.
const DATA: i16 = 76;
const DATA_END: i16 = 80;

/// One instruction (`struct bpf_insn`).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Insn {
    code: u8,
    /// Destination in the lower 4 bits, source in the upper.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const fn insn(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Insn {
    Insn {
        code,
        registers: to | from << 4,
        offset,
        immediate,
    }
}

const fn load(size: u8, to: u8, from: u8, offset: i16) -> Insn {
    insn(0x61 | size, to, from, offset, 0)
}

const fn store(size: u8, to: u8, offset: i16, from: u8) -> Insn {
    insn(0x63 | size, to, from, offset, 0)
}

const fn store_value(size: u8, to: u8, offset: i16, value: i32) -> Insn {
    insn(0x62 | size, to, 0, offset, value)
}

const fn copy(to: u8, from: u8) -> Insn {
    insn(0xbf, to, from, 0, 0)
}

const fn set(to: u8, value: i32) -> Insn {
    insn(0xb7, to, 0, 0, value)
}

const fn add(to: u8, value: i32) -> Insn {
    insn(0x07, to, 0, 0, value)
}

const fn helper(number: i32) -> Insn {
    insn(0x85, 0, 0, 0, number)
}

const WORD: u8 = 0x00;
const HALF: u8 = 0x08;
const BYTE: u8 = 0x10;

/// Jumps to the end, by so many instructions, unless a register equals a value.
const fn unless_equal(register: u8, value: i32, end: i16) -> Insn {
    insn(0x55, register, 0, end, value)
}

/// Jumps, by so many instructions, if a register is 0.
const fn if_zero(register: u8, by: i16) -> Insn {
    insn(0x15, register, 0, by, 0)
}

/// The program, for IPv4 on a device without link layer. `function` is the kernel function's type.
fn program(function: i32) -> Vec<Insn> {
    let mut all = vec![
        copy(6, 1),
        load(WORD, 2, 6, DATA),
        load(WORD, 3, 6, DATA_END),
        copy(4, 2),
        add(4, 40),
    ];
    // Each of these leaves to the end, which is put in below.
    let checks = [
        // r4 > r3: not even two headers.
        insn(0x2d, 4, 3, 0, 0),
        load(BYTE, 5, 2, 9),
        unless_equal(5, libc::IPPROTO_TCP, 0),
        // Just an ACK.
        load(BYTE, 5, 2, 33),
        unless_equal(5, 0x10, 0),
        load(HALF, 5, 2, 22),
        unless_equal(5, i32::from(PORT.to_be()), 0),
    ];
    let body = [
        // struct bpf_sock_tuple: both addresses, both ports.
        load(WORD, 5, 2, 12),
        store(WORD, 10, -12, 5),
        load(WORD, 5, 2, 16),
        store(WORD, 10, -8, 5),
        load(WORD, 5, 2, 20),
        store(WORD, 10, -4, 5),
        copy(1, 6),
        copy(2, 10),
        add(2, -12),
        set(3, 12),
        // BPF_F_CURRENT_NETNS
        set(4, -1),
        set(5, 0),
        helper(SKC_LOOKUP_TCP),
        if_zero(0, 18),
        copy(7, 0),
        copy(1, 7),
        // NULL for what is no full socket, a request for instance.
        helper(SKC_TO_TCP_SOCK),
        if_zero(0, 12),
        copy(2, 0),
        // struct bpf_tcp_req_attrs: no timestamps; MSS and shift counts; window scale and SACK.
        store_value(WORD, 10, -32, 0),
        store_value(WORD, 10, -28, 0),
        store_value(HALF, 10, -24, 1460),
        store_value(HALF, 10, -22, i32::from(SCALE) | 7 << 8),
        store_value(WORD, 10, -20, 0x0001_0100),
        store_value(WORD, 10, -16, 0),
        copy(1, 6),
        copy(3, 10),
        add(3, -32),
        set(4, 20),
        // A function of the kernel, not a helper.
        insn(0x85, 0, 2, 0, function),
        copy(1, 7),
        helper(SK_RELEASE),
    ];
    let end = [set(0, 0), insn(0x95, 0, 0, 0, 0)];
    for (at, mut check) in checks.into_iter().enumerate() {
        if check.code == 0x2d || check.code == 0x55 {
            check.offset = (checks.len() - at - 1 + body.len()) as i16;
        }
        all.push(check);
    }
    all.extend(body);
    all.extend(end);
    all
}

/// The beginning of `union bpf_attr` as BPF_PROG_LOAD reads it.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    expected_attach_type: u32,
}

/// The beginning of `union bpf_attr` as BPF_LINK_CREATE reads it.
#[repr(C)]
struct Link {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
    /// What else a TCX link takes: none of it.
    rest: [u64; 6],
}

/// The program, attached to a device. It goes with this value.
#[derive(Debug)]
pub struct BpfRequests {
    _link: OwnedFd,
    _program: OwnedFd,
}

impl BpfRequests {
    /// Attaches to a device in a namespace; none where the kernel lacks the function.
    ///
    /// # Errors
    /// Without CAP_BPF; the message has the verifier's last words.
    pub fn attach(at: &Namespace, device: &str) -> Result<Option<Self>> {
        let Some(function) = type_of(FUNCTION)? else {
            return Ok(None);
        };
        let program = load_program(&program(function.try_into()?))?;
        let link = at.enter(|| {
            // Not /sys/class/net, which may show another namespace.
            let index = ifindex(device).with_context(|| format!("no device {device}"))?;
            let link = Link {
                program: program.as_raw_fd() as u32,
                ifindex: index,
                attach_type: TCX_INGRESS,
                flags: 0,
                rest: [0; 6],
            };
            let descriptor = call(LINK_CREATE, &link).context("failed to attach a program")?;
            // SAFETY: the descriptor is new and nobody else's.
            Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
        })?;
        Ok(Some(Self {
            _link: link,
            _program: program,
        }))
    }
}

fn ifindex(device: &str) -> Option<u32> {
    let name = std::ffi::CString::new(device).ok()?;
    // SAFETY: the name is a string that ends with 0 and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => None,
        index => Some(index),
    }
}

/// Number of a kernel function in the kernel's BTF; none where there is no such function.
fn type_of(function: &str) -> Result<Option<u32>> {
    let bytes = fs::read("/sys/kernel/btf/vmlinux").context("failed to read the kernel's BTF")?;
    let btf = Btf::from_bytes(&bytes).context("the kernel's BTF is not usable")?;
    let ids = btf.resolve_ids_by_name(function).unwrap_or_default();
    Ok(ids
        .into_iter()
        .find(|id| matches!(btf.resolve_type_by_id(*id), Ok(Type::Func(_)))))
}

fn load_program(instructions: &[Insn]) -> Result<OwnedFd> {
    let mut log = vec![0_u8; 1 << 16];
    let attributes = Load {
        kind: PROG_TYPE_SCHED_CLS,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 1,
        log_size: log.len() as u32,
        log: log.as_mut_ptr() as u64,
        kernel_version: 0,
        flags: 0,
        name: *b"tcpwnd_lab\0\0\0\0\0\0",
        ifindex: 0,
        expected_attach_type: TCX_INGRESS,
    };
    let descriptor = call(PROG_LOAD, &attributes).with_context(|| {
        let log = String::from_utf8_lossy(&log);
        let last: Vec<_> = log.trim_end_matches('\0').lines().rev().take(3).collect();
        format!("failed to load a program: {last:?}")
    })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

#[cfg(test)]
mod tests {
    use super::program;

    #[test]
    fn every_jump_is_to_the_end_or_to_the_release_before_it() {
        let all = program(1);
        let jumps = |code: u8| matches!(code, 0x15 | 0x2d | 0x55);
        let targets: Vec<_> = all
            .iter()
            .enumerate()
            .filter(|(_, insn)| jumps(insn.code))
            .map(|(at, insn)| at + 1 + insn.offset as usize)
            .collect();
        let (release, end) = (all.len() - 4, all.len() - 2);
        assert_eq!(targets, [end, end, end, end, end, release]);
    }
}
