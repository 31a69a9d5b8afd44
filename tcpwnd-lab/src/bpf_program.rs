//! BPF programs of the laboratory's own that act on packets of a device.
//!
//! Constraint: they are written out in instructions, so that the laboratory needs no compiler for
//! them and no loader.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

use crate::bpf::{call, lift_memlock_limit};
use crate::net::Namespace;

// From include/uapi/linux/bpf.h.
const PROG_LOAD: i64 = 5;
const LINK_CREATE: i64 = 28;

/// Where a program is attached, as the kernel numbers it (include/uapi/linux/bpf.h).
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Type of the program.
    kind: u32,
    attach_type: u32,
    flags: u32,
}

/// Behind the device, where packets have become the stack's own (6.6).
pub const TCX_INGRESS: Place = Place {
    kind: 3,
    attach_type: 46,
    flags: 0,
};

/// Before anything else of the stack, for any device (5.9).
pub const XDP: Place = Place {
    kind: 6,
    attach_type: 37,
    // XDP_FLAGS_SKB_MODE
    flags: 2,
};

/// One instruction (`struct bpf_insn`).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Insn {
    /// Operation.
    pub code: u8,
    /// Destination in the lower 4 bits, source in the upper.
    registers: u8,
    /// Of a jump, in instructions; of a load or store, in bytes.
    pub offset: i16,
    immediate: i32,
}

impl Insn {
    /// Whether it is one of the jumps that are used here.
    #[must_use]
    pub const fn is_jump(self) -> bool {
        // JEQ, JGT of registers, JNE, JSLT.
        matches!(self.code, 0x15 | 0x2d | 0x55 | 0xc5)
    }
}

/// Any instruction.
pub const fn insn(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Insn {
    Insn {
        code,
        registers: to | from << 4,
        offset,
        immediate,
    }
}

/// Loads what is at an offset from a register.
pub const fn load(size: u8, to: u8, from: u8, offset: i16) -> Insn {
    insn(0x61 | size, to, from, offset, 0)
}

/// Stores a register at an offset from another.
pub const fn store(size: u8, to: u8, offset: i16, from: u8) -> Insn {
    insn(0x63 | size, to, from, offset, 0)
}

/// Stores a value at an offset from a register.
pub const fn store_value(size: u8, to: u8, offset: i16, value: i32) -> Insn {
    insn(0x62 | size, to, 0, offset, value)
}

/// Copies a register.
pub const fn copy(to: u8, from: u8) -> Insn {
    insn(0xbf, to, from, 0, 0)
}

/// Sets a register.
pub const fn set(to: u8, value: i32) -> Insn {
    insn(0xb7, to, 0, 0, value)
}

/// Adds to a register.
pub const fn add(to: u8, value: i32) -> Insn {
    insn(0x07, to, 0, 0, value)
}

/// Calls a helper.
pub const fn helper(number: i32) -> Insn {
    insn(0x85, 0, 0, 0, number)
}

/// Sizes of what is loaded and stored: 4, 2 and 1 bytes.
pub const WORD: u8 = 0x00;
/// See [`WORD`].
pub const HALF: u8 = 0x08;
/// See [`WORD`].
pub const BYTE: u8 = 0x10;

/// Jumps to the end, by so many instructions, unless a register equals a value.
pub const fn unless_equal(register: u8, value: i32, end: i16) -> Insn {
    insn(0x55, register, 0, end, value)
}

/// Jumps, by so many instructions, if a register is 0.
pub const fn if_zero(register: u8, by: i16) -> Insn {
    insn(0x15, register, 0, by, 0)
}

// From include/uapi/linux/bpf.h.
const SKC_LOOKUP_TCP: i32 = 99;
const CURRENT_NETNS: i32 = -1;

/// Puts the socket that a packet is for, IPv4 without options, into the first register; jumps by so many
/// instructions if there is none. `packet` and `context` are the registers that point there. The first six
/// registers are used up, and 12 bytes of the stack.
pub const fn look_up_listener(packet: u8, context: u8, by: i16) -> [Insn; 14] {
    [
        // struct bpf_sock_tuple: both addresses, both ports.
        load(WORD, 5, packet, 12),
        store(WORD, 10, -12, 5),
        load(WORD, 5, packet, 16),
        store(WORD, 10, -8, 5),
        load(WORD, 5, packet, 20),
        store(WORD, 10, -4, 5),
        copy(1, context),
        copy(2, 10),
        add(2, -12),
        set(3, 12),
        set(4, CURRENT_NETNS),
        set(5, 0),
        helper(SKC_LOOKUP_TCP),
        if_zero(0, by),
    ]
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

/// A program that is attached to a device. It goes with this value.
#[derive(Debug)]
pub struct Program {
    _link: OwnedFd,
    _program: OwnedFd,
}

impl Program {
    /// Loads a program and attaches it to a device in a namespace.
    ///
    /// # Errors
    /// Without CAP_BPF; the message has the verifier's last words.
    pub fn attach(
        at: &Namespace,
        device: &str,
        place: Place,
        instructions: &[Insn],
    ) -> Result<Self> {
        let program = load_program(place, instructions)?;
        let link = at.enter(|| {
            // Not /sys/class/net, which may show another namespace.
            let index = ifindex(device).with_context(|| format!("no device {device}"))?;
            let link = Link {
                program: program.as_raw_fd() as u32,
                ifindex: index,
                attach_type: place.attach_type,
                flags: place.flags,
                rest: [0; 6],
            };
            let descriptor = call(LINK_CREATE, &link).context("failed to attach a program")?;
            // SAFETY: the descriptor is new and nobody else's.
            Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
        })?;
        Ok(Self {
            _link: link,
            _program: program,
        })
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

fn load_program(place: Place, instructions: &[Insn]) -> Result<OwnedFd> {
    lift_memlock_limit();
    let mut log = vec![0_u8; 1 << 16];
    let attributes = Load {
        kind: place.kind,
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
        expected_attach_type: place.attach_type,
    };
    let descriptor = call(PROG_LOAD, &attributes).with_context(|| {
        let log = String::from_utf8_lossy(&log);
        let last: Vec<_> = log.trim_end_matches('\0').lines().rev().take(3).collect();
        format!("failed to load a program: {last:?}")
    })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}
