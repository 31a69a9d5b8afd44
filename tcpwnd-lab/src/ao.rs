//! The TCP authentication option (RFC 5925), where the kernel has it: from 6.7 on.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use anyhow::{Context, Result};

use crate::socket;

/// TCP_AO_ADD_KEY (include/uapi/linux/tcp.h, 6.7).
const ADD_KEY: i32 = 38;

/// `struct tcp_ao_add`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct AddKey {
    peer: libc::sockaddr_storage,
    algorithm: [u8; 64],
    ifindex: i32,
    flags: u32,
    reserved: u16,
    prefix: u8,
    send_id: u8,
    receive_id: u8,
    mac_length: u8,
    key_flags: u8,
    key_length: u8,
    key: [u8; 80],
}

/// Gives a socket the laboratory's key for segments to and from `peer`.
///
/// # Errors
/// What the kernel refuses, for one without TCP-AO everything.
pub fn add_key(socket: &impl AsFd, peer: Ipv4Addr) -> Result<()> {
    let key = b"laboratory";
    // SAFETY: integers and arrays of them: all zero is a value of each.
    let mut add: AddKey = unsafe { std::mem::zeroed() };
    socket::store_v4(&mut add.peer, peer);
    add.algorithm[..10].copy_from_slice(b"hmac(sha1)");
    add.prefix = 32;
    (add.send_id, add.receive_id) = (100, 100);
    add.mac_length = 12;
    add.key_length = key.len() as u8;
    add.key[..key.len()].copy_from_slice(key);
    socket::set(socket, libc::IPPROTO_TCP, ADD_KEY, add).context("failed to add a TCP-AO key")
}
