//! Flow keys from sockets and request sockets, and the filter on them.

use crate::env::Env;
use crate::read::{Object, Result};
use tcpwnd_common::{FAMILY_IPV4, FAMILY_IPV6, Field, FlowKey};

const AF_INET6: u16 = 10;

/// Both addresses of a socket as 16 bytes, IPv4 as v4-mapped.
///
/// With AF_INET6 only the v6 fields are read: a native IPv6 request has 0 in `skc_daddr` while
/// its child has not, and for an IPv4 client of a dual-stack listener both have v4-mapped v6
/// fields.
#[inline(always)]
fn addresses(sock: Object, key: &mut FlowKey) -> Result<()> {
    if sock.env.has(Field::RemoteAddr6) && sock.get::<u16>(Field::Family)? == AF_INET6 {
        key.remote_addr = sock.get(Field::RemoteAddr6)?;
        key.local_addr = sock.get(Field::LocalAddr6)?;
    } else {
        map_ipv4(&mut key.remote_addr, sock.get(Field::RemoteAddr4)?);
        map_ipv4(&mut key.local_addr, sock.get(Field::LocalAddr4)?);
    }
    Ok(())
}

/// v4-mapped form (RFC 4291, section 2.5.5.2).
#[inline(always)]
pub fn map_ipv4(into: &mut [u8; 16], addr: [u8; 4]) {
    into[10] = 0xff;
    into[11] = 0xff;
    into[12] = addr[0];
    into[13] = addr[1];
    into[14] = addr[2];
    into[15] = addr[3];
}

/// The network namespace of a socket.
#[inline(always)]
pub fn netns_object(sock: Object) -> Result<Object> {
    sock.follow(Field::Net)
}

/// Inode number of a socket's network namespace.
#[inline(always)]
pub fn netns(sock: Object) -> Result<u32> {
    netns_object(sock)?.get(Field::NetInum)
}

#[inline(always)]
fn common(sock: Object, key: &mut FlowKey) -> Result<()> {
    key.remote_port = u16::from_be(sock.get(Field::RemotePort)?);
    key.bound_ifindex = sock.get(Field::BoundIfindex)?;
    key.netns = netns(sock)?;
    addresses(sock, key)
}

/// Key of a request socket, which keeps its local port in host order.
#[inline(always)]
pub fn of_request(req: Object, key: &mut FlowKey) -> Result<()> {
    key.local_port = req.get(Field::LocalPort)?;
    common(req, key)
}

/// Key of a full socket. `skc_num` is 0 by the time it is in CLOSE; `inet_sport` stays.
#[inline(always)]
pub fn of_socket(sk: Object, key: &mut FlowKey) -> Result<()> {
    key.local_port = u16::from_be(sk.get(Field::InetSport)?);
    common(sk, key)
}

/// Whether the user asked to look at this connection.
#[inline(always)]
pub fn wanted(env: Env, key: &FlowKey) -> bool {
    peer_wanted(env, key) && env.port_wanted(key.local_port)
}

/// The same while the local port is not known: it may be chosen after the change to SYN_SENT.
#[inline(always)]
pub fn peer_wanted(env: Env, key: &FlowKey) -> bool {
    let families = env.families();
    if families != FAMILY_IPV4 | FAMILY_IPV6 {
        let family = if key.is_ipv4() {
            FAMILY_IPV4
        } else {
            FAMILY_IPV6
        };
        if families & family == 0 {
            return false;
        }
    }
    netns_wanted(env, key.netns) && env.remote_port_wanted(key.remote_port)
}

/// Whether the user asked to look at this port of this namespace.
#[inline(always)]
pub fn place_wanted(env: Env, netns: u32, port: u16) -> bool {
    netns_wanted(env, netns) && env.port_wanted(port)
}

#[inline(always)]
fn netns_wanted(env: Env, netns: u32) -> bool {
    let only = env.netns();
    only == 0 || only == netns
}
