//! The kernel's list of TCP sockets: a dump by netlink's sock_diag (sock_diag(7)), or one of them.
//!
//! Constraint: answers are decoded by reading integers with their lengths checked; what is too
//! short is left out.

mod lookup;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd};

use tcpwnd_core::Flow;
use tcpwnd_core::scan::TcpInfo;

pub use lookup::{Found, Lookup};

/// struct nlmsghdr.
const HEADER: usize = 16;
/// struct nlmsghdr and struct inet_diag_req_v2.
const REQUEST: usize = HEADER + 56;
/// Netlink never sends more at once (netlink_recvmsg, net/netlink/af_netlink.c, 6.12).
const LARGEST_ANSWER: usize = 32_768;
/// struct inet_diag_msg (include/uapi/linux/inet_diag.h).
const MESSAGE: usize = 72;
/// Of a netlink attribute.
const ATTRIBUTE: usize = 4;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Attributes (include/uapi/linux/inet_diag.h).
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKMEMINFO: u16 = 7;
const INET_DIAG_SKV6ONLY: u16 = 11;
/// Second word of INET_DIAG_SKMEMINFO (include/uapi/linux/sock_diag.h).
const SK_MEMINFO_RCVBUF: usize = 1;

/// TCP_LISTEN (include/net/tcp_states.h), as a bit.
pub const LISTEN: u32 = 1 << 10;
/// The states in which data can flow: ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT.
pub const CONNECTED: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8;

/// A socket as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Local address.
    pub addr: IpAddr,
    /// Local port.
    pub port: u16,
    /// The peer's address; unspecified for a listener.
    pub remote_addr: IpAddr,
    /// The peer's port; 0 for a listener.
    pub remote_port: u16,
    /// Interface that it is bound to; 0 when it is not.
    pub ifindex: u32,
    /// The kernel's number for this socket, which no other ever has (`sock_gen_cookie`).
    pub cookie: u64,
    /// Of a listener: connections that wait for accept().
    pub receive_queue: u32,
    /// Of a listener: how many may.
    pub send_queue: u32,
    /// Inode number, by which /proc/PID/fd names it; 0 for the kernel's own.
    pub inode: u64,
    /// Receive buffer, bytes.
    pub rcvbuf: Option<u32>,
    /// Of a listener: it takes no IPv4.
    pub only_v6: bool,
    /// What a connection says of itself; `None` for a listener, and for one that is only remembered
    /// (a FIN_WAIT2 without its socket).
    pub info: Option<TcpInfo>,
}

impl Socket {
    /// The connection that it is of, in this network namespace.
    #[must_use]
    pub fn flow(&self, netns: u32) -> Flow {
        let local = SocketAddr::new(self.addr, self.port);
        let remote = SocketAddr::new(self.remote_addr, self.remote_port);
        Flow::between(netns, self.ifindex, local, remote)
    }
}

/// The TCP sockets of this process' network namespace in these states, IPv4's first.
///
/// # Errors
/// When the kernel does not list them.
pub fn tcp(states: u32) -> io::Result<Vec<Socket>> {
    let mut sockets = dump(libc::AF_INET as u8, states)?;
    sockets.extend(dump(libc::AF_INET6 as u8, states)?);
    Ok(sockets)
}

fn dump(family: u8, states: u32) -> io::Result<Vec<Socket>> {
    let mut netlink = netlink(0)?;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    netlink.write_all(&request(flags, family, states, 0))?;
    let mut sockets = Vec::new();
    let mut buffer = vec![0; LARGEST_ANSWER];
    loop {
        let length = netlink.read(&mut buffer)?;
        if length == 0 || take(&buffer[..length], &mut sockets)? {
            return Ok(sockets);
        }
    }
}

/// A socket to ask by.
fn netlink(more: libc::c_int) -> io::Result<File> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | more;
    // SAFETY: takes numbers only, touches no memory of ours.
    let socket = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just returned it, and nobody else has it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(socket) }))
}

/// struct nlmsghdr, then struct inet_diag_req_v2, whose socket is all zero.
fn request(flags: u16, family: u8, states: u32, sequence: u32) -> Vec<u8> {
    let mut request = Vec::with_capacity(REQUEST);
    request.extend((REQUEST as u32).to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend(sequence.to_ne_bytes());
    request.extend([0; 4]);
    // A listener's INET_DIAG_INFO says nothing that the rest does not.
    let wanted = if states & LISTEN != 0 {
        1 << (INET_DIAG_SKMEMINFO - 1)
    } else {
        1 << (INET_DIAG_INFO - 1)
    };
    request.extend([family, libc::IPPROTO_TCP as u8, wanted, 0]);
    request.extend(states.to_ne_bytes());
    request.resize(REQUEST, 0);
    request
}

/// Takes the sockets out of an answer; true where it is the last one.
fn take(answer: &[u8], sockets: &mut Vec<Socket>) -> io::Result<bool> {
    let mut rest = answer;
    while let (Some(length), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) {
        let length = length as usize;
        let Some(body) = rest.get(HEADER..length) else {
            break;
        };
        match i32::from(kind) {
            libc::NLMSG_DONE => return failed(body).map(|()| true),
            libc::NLMSG_ERROR => return failed(body).map(|()| true),
            _ if kind == SOCK_DIAG_BY_FAMILY => sockets.extend(socket(body)),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Both ends of a dump begin with 0 or a negative error number.
fn failed(body: &[u8]) -> io::Result<()> {
    match u32_at(body, 0).map(u32::cast_signed) {
        Some(error) if error < 0 => Err(io::Error::from_raw_os_error(-error)),
        _ => Ok(()),
    }
}

fn socket(body: &[u8]) -> Option<Socket> {
    let v4 = i32::from(*body.first()?) == libc::AF_INET;
    let attributes = body.get(MESSAGE..)?;
    let listens = u32::from(*body.get(1)?) < 32 && 1 << body[1] == LISTEN;
    let info = || TcpInfo::parse(attribute(attributes, INET_DIAG_INFO)?);
    Some(Socket {
        addr: address(v4, body.get(8..24)?)?,
        port: u16::from_be_bytes(body.get(4..6)?.try_into().ok()?),
        remote_addr: address(v4, body.get(24..40)?)?,
        remote_port: u16::from_be_bytes(body.get(6..8)?.try_into().ok()?),
        ifindex: u32_at(body, 40)?,
        // Two words, the lower one first (inet_diag_msg_common_fill, net/ipv4/inet_diag.c, 6.12).
        cookie: u64::from(u32_at(body, 48)?) << 32 | u64::from(u32_at(body, 44)?),
        receive_queue: u32_at(body, 56)?,
        send_queue: u32_at(body, 60)?,
        inode: u32_at(body, 68)?.into(),
        rcvbuf: attribute(attributes, INET_DIAG_SKMEMINFO)
            .and_then(|words| u32_at(words, 4 * SK_MEMINFO_RCVBUF)),
        only_v6: attribute(attributes, INET_DIAG_SKV6ONLY)
            .is_some_and(|flag| flag.first().is_some_and(|flag| *flag != 0)),
        info: if listens { None } else { info() },
    })
}

/// An address in its 16 bytes, of which IPv4 takes the first four.
fn address(v4: bool, bytes: &[u8]) -> Option<IpAddr> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    Some(if v4 {
        Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()
    } else {
        Ipv6Addr::from(bytes).into()
    })
}

/// The value of an attribute.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(ATTRIBUTE..length)?;
        if u16_at(attributes, 2)? == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
#[path = "sock_diag_tests.rs"]
mod tests;
