//! One socket out of the kernel's list: is the connection still there, and is it the same one?
//!
//! Constraint: asks for what it knows exactly, so that it costs the same however many sockets there
//! are, wants no privilege, and never waits. "Not there" and "nobody could say" are two answers.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

use tcpwnd_core::Flow;
use tcpwnd_core::scan::TcpInfo;

use super::{HEADER, LARGEST_ANSWER, SOCK_DIAG_BY_FAMILY, failed, netlink, request, socket};
use super::{u16_at, u32_at};

/// Of struct inet_diag_sockid in a request (include/uapi/linux/inet_diag.h).
const SOCKET_ID: usize = HEADER + 8;
/// INET_DIAG_NOCOOKIE, twice: any socket will do.
const ANY: u64 = u64::MAX;
/// Which states a lookup asks for is not looked at (`inet_diag_find_one_icsk`,
/// net/ipv4/inet_diag.c, 6.12). All but LISTEN, which would be another question.
const ALL: u32 = 0xfff & !super::LISTEN;

/// A connection as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The kernel's number for its socket, which no other ever has.
    pub cookie: u64,
    /// What the socket says of itself.
    pub info: TcpInfo,
}

/// Asks the kernel for single sockets of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Lookup {
    netlink: File,
    netns: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Lookup {
    /// Opens it in this process' namespace, whose inode number is `netns`.
    ///
    /// # Errors
    /// When the kernel answers no such questions.
    pub fn open(netns: u32) -> io::Result<Self> {
        let mut lookup = Self {
            // What is asked for is there when the question has been sent
            // (netlink_unicast_kernel, net/netlink/af_netlink.c, 6.12).
            netlink: netlink(libc::SOCK_NONBLOCK)?,
            netns,
            sequence: 0,
            buffer: vec![0; LARGEST_ANSWER],
        };
        lookup.answers()?;
        Ok(lookup)
    }

    /// Whether the kernel has no such list of TCP sockets: neither built in nor as a module
    /// (`inet_diag_lock_handler`, net/ipv4/inet_diag.c, 6.12).
    #[must_use]
    pub fn is_unsupported(error: &io::Error) -> bool {
        error.raw_os_error() == Some(libc::ENOENT)
    }

    /// By somebody who answers in the kernel's place.
    #[cfg(test)]
    pub fn over(netlink: File, netns: u32) -> Self {
        Self {
            netlink,
            netns,
            sequence: 0,
            buffer: vec![0; LARGEST_ANSWER],
        }
    }

    /// Inode number of the namespace whose sockets it sees.
    #[must_use]
    pub fn netns(&self) -> u32 {
        self.netns
    }

    /// Whether the kernel answers at all. Where it does not it says of every socket what it says of
    /// one that is not there (`sock_diag_rcv_msg`, net/core/sock_diag.c, 6.12: ENOENT).
    ///
    /// # Errors
    /// When it does not.
    pub fn answers(&mut self) -> io::Result<()> {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
        // A list of the sockets in no state: it ends at once.
        self.ask(flags, libc::AF_INET as u8, 0, |_| {})?;
        self.answer().map(drop)
    }

    /// The connection, if it is open; with `cookie` only if it is that socket.
    ///
    /// # Errors
    /// When the kernel did not say.
    pub fn connection(&mut self, flow: Flow, cookie: Option<u64>) -> io::Result<Option<Found>> {
        let (local, remote) = (flow.local(), flow.remote());
        let family = match (local.ip(), remote.ip()) {
            (IpAddr::V4(_), IpAddr::V4(_)) => libc::AF_INET,
            _ => libc::AF_INET6,
        };
        self.ask(libc::NLM_F_REQUEST as u16, family as u8, ALL, |request| {
            let id = &mut request[SOCKET_ID..];
            id[..2].copy_from_slice(&local.port().to_be_bytes());
            id[2..4].copy_from_slice(&remote.port().to_be_bytes());
            put(&mut id[4..20], family, local);
            put(&mut id[20..36], family, remote);
            id[36..40].copy_from_slice(&flow.ifindex().to_ne_bytes());
            // Two words, the lower one first.
            let cookie = cookie.unwrap_or(ANY);
            id[40..44].copy_from_slice(&(cookie as u32).to_ne_bytes());
            id[44..48].copy_from_slice(&((cookie >> 32) as u32).to_ne_bytes());
        })?;
        let body = match self.answer() {
            Ok(body) => body,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(found(body, flow, cookie))
    }

    fn ask(
        &mut self,
        flags: u16,
        family: u8,
        states: u32,
        fill: impl FnOnce(&mut [u8]),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = request(flags, family, states, self.sequence);
        fill(&mut request);
        self.netlink.write_all(&request)
    }

    /// The body of the answer to the last question: a socket, or nothing.
    fn answer(&mut self) -> io::Result<&[u8]> {
        loop {
            let length = self.netlink.read(&mut self.buffer)?;
            // What is left of a question that was given up is passed over.
            if u32_at(&self.buffer[..length], 8) == Some(self.sequence) {
                return body(&self.buffer[..length]);
            }
        }
    }
}

fn body(answer: &[u8]) -> io::Result<&[u8]> {
    let short = || io::Error::from(io::ErrorKind::InvalidData);
    let length = u32_at(answer, 0).ok_or_else(short)? as usize;
    let body = answer.get(HEADER..length).ok_or_else(short)?;
    match u16_at(answer, 4).ok_or_else(short)? {
        SOCK_DIAG_BY_FAMILY => Ok(body),
        _ => failed(body).map(|()| &[][..]),
    }
}

/// What is found may be a listener, or the rest of a connection whose socket is gone (TIME_WAIT,
/// FIN_WAIT2): none of those says anything of itself.
fn found(body: &[u8], flow: Flow, cookie: Option<u64>) -> Option<Found> {
    let socket = socket(body)?;
    let same = socket.flow(flow.netns()) == flow;
    let named = cookie.is_none_or(|cookie| cookie == socket.cookie);
    let info = socket.info.filter(|_| same && named)?;
    Some(Found {
        cookie: socket.cookie,
        info,
    })
}

/// IPv4 takes the first four of an address' 16 bytes.
fn put(into: &mut [u8], family: libc::c_int, end: SocketAddr) {
    match end.ip() {
        IpAddr::V4(v4) if family == libc::AF_INET => into[..4].copy_from_slice(&v4.octets()),
        IpAddr::V4(v4) => into.copy_from_slice(&v4.to_ipv6_mapped().octets()),
        IpAddr::V6(v6) => into.copy_from_slice(&v6.octets()),
    }
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
