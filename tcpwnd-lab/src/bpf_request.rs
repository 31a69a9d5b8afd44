//! A BPF program that stands in for the TCP stack's cookies: to each ACK that comes to a listener
//! it makes a request of its own, with shift counts of its own (`bpf_sk_assign_tcp_reqsk`,
//! net/core/filter.c, 6.9). Whoever sends that ACK need not have been sent a SYN+ACK.

use std::fs;

use anyhow::{Context, Result};
use btf_rs::{Btf, Type};

use crate::bpf_program::{
    BYTE, HALF, Insn, Program, TCX_INGRESS, WORD, add, copy, helper, if_zero, insn, load,
    look_up_listener, set, store_value, unless_equal,
};
use crate::net::Namespace;

/// Shift count of the server's windows, as the program sets it.
pub const SCALE: u8 = 5;

const FUNCTION: &str = "bpf_sk_assign_tcp_reqsk";
/// Port of the listener.
const PORT: u16 = 9092;

// From include/uapi/linux/bpf.h.
const SK_RELEASE: i32 = 86;
const SKC_TO_TCP_SOCK: i32 = 137;
/// `data` and `data_end` of `struct __sk_buff`.
const DATA: i16 = 76;
const DATA_END: i16 = 80;

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
    let lookup = look_up_listener(2, 6, 18);
    let body = [
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
            check.offset = (checks.len() - at - 1 + lookup.len() + body.len()) as i16;
        }
        all.push(check);
    }
    all.extend(lookup);
    all.extend(body);
    all.extend(end);
    all
}

/// The program, attached to a device. It goes with this value.
#[derive(Debug)]
pub struct BpfRequests(#[expect(dead_code, reason = "what counts is that it is there")] Program);

impl BpfRequests {
    /// Attaches to a device in a namespace; none where the kernel lacks the function.
    ///
    /// # Errors
    /// As [`Program::attach`].
    pub fn attach(at: &Namespace, device: &str) -> Result<Option<Self>> {
        let Some(function) = type_of(FUNCTION)? else {
            return Ok(None);
        };
        let program = program(function.try_into()?);
        Program::attach(at, device, TCX_INGRESS, &program).map(|program| Some(Self(program)))
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

#[cfg(test)]
mod tests {
    use super::program;

    #[test]
    fn every_jump_is_to_the_end_or_to_the_release_before_it() {
        let all = program(1);
        let targets: Vec<_> = all
            .iter()
            .enumerate()
            .filter(|(_, insn)| insn.is_jump())
            .map(|(at, insn)| at + 1 + insn.offset as usize)
            .collect();
        let (release, end) = (all.len() - 4, all.len() - 2);
        assert_eq!(targets, [end, end, end, end, end, release]);
    }
}
