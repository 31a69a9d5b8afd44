//! The MD5 signature option (RFC 2385).

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use anyhow::{Context, Result};

use crate::socket;

/// `struct tcp_md5sig` (include/uapi/linux/tcp.h).
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Signature {
    peer: libc::sockaddr_storage,
    flags: u8,
    prefix: u8,
    key_length: u16,
    ifindex: i32,
    key: [u8; 80],
}

/// Makes a socket sign what it sends to `peer` with the laboratory's key, and take nothing from there
/// that is not signed with it.
///
/// # Errors
/// What the kernel refuses, for one without it everything.
pub fn sign(socket: &impl AsFd, peer: Ipv4Addr) -> Result<()> {
    let key = b"laboratory";
    // SAFETY: integers and arrays of them: all zero is a value of each.
    let mut signature: Signature = unsafe { std::mem::zeroed() };
    socket::store_v4(&mut signature.peer, peer);
    signature.key_length = key.len() as u16;
    signature.key[..key.len()].copy_from_slice(key);
    socket::set(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, signature)
        .context("failed to set an MD5 key")
}
