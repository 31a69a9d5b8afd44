//! How a connection is shown: the same key as in the records, IPv4 without its mapping.

use core::fmt;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use tcpwnd_common::FlowKey;

/// A TCP connection as this host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow(pub FlowKey);

impl Flow {
    /// The connection between two ends. IPv4 may be given as such or v4-mapped.
    #[must_use]
    pub fn between(netns: u32, ifindex: u32, local: SocketAddr, remote: SocketAddr) -> Self {
        Self(FlowKey {
            local_addr: mapped(local.ip()),
            remote_addr: mapped(remote.ip()),
            netns,
            bound_ifindex: ifindex,
            local_port: local.port(),
            remote_port: remote.port(),
        })
    }

    /// This host's end. A v4-mapped address is given as IPv4.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(unmapped(self.0.local_addr), self.0.local_port)
    }

    /// The peer's end. A v4-mapped address is given as IPv4.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(unmapped(self.0.remote_addr), self.0.remote_port)
    }

    /// Inode number of the network namespace.
    #[must_use]
    pub fn netns(&self) -> u32 {
        self.0.netns
    }

    /// Index of the interface that the socket is bound to; 0 when it is not bound.
    #[must_use]
    pub fn ifindex(&self) -> u32 {
        self.0.bound_ifindex
    }
}

/// Address of a key, taken out of its v4-mapped form (RFC 4291, section 2.5.5.2).
#[must_use]
pub fn unmapped(addr: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(addr).to_canonical()
}

/// The same address as a key has it.
fn mapped(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.local(), self.remote())
    }
}

struct End(SocketAddr);

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut end = serializer.serialize_struct("End", 2)?;
        end.serialize_field("addr", &self.0.ip())?;
        end.serialize_field("port", &self.0.port())?;
        end.end()
    }
}

impl Serialize for Flow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut flow = serializer.serialize_struct("Flow", 4)?;
        flow.serialize_field("netns", &self.netns())?;
        flow.serialize_field("ifindex", &self.ifindex())?;
        flow.serialize_field("local", &End(self.local()))?;
        flow.serialize_field("remote", &End(self.remote()))?;
        flow.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(octets: [u8; 4]) -> [u8; 16] {
        mapped(IpAddr::from(octets))
    }

    #[test]
    fn v4_mapped_is_printed_as_ipv4() {
        let flow = Flow(FlowKey {
            local_addr: v4([10, 9, 0, 1]),
            remote_addr: v4([10, 9, 0, 2]),
            netns: 4_026_531_840,
            bound_ifindex: 3,
            local_port: 9092,
            remote_port: 40_000,
        });
        assert_eq!(flow.to_string(), "10.9.0.1:9092 10.9.0.2:40000");
        assert_eq!(
            serde_json::to_string(&flow).unwrap(),
            r#"{"netns":4026531840,"ifindex":3,"local":{"addr":"10.9.0.1","port":9092},"remote":{"addr":"10.9.0.2","port":40000}}"#
        );
    }

    #[test]
    fn ipv6_stays_ipv6() {
        let flow = Flow(FlowKey {
            local_addr: "fd00::1".parse::<Ipv6Addr>().unwrap().octets(),
            // IPv4-compatible, not mapped: another address altogether.
            remote_addr: "::10.9.0.2".parse::<Ipv6Addr>().unwrap().octets(),
            local_port: 1,
            remote_port: 2,
            ..FlowKey::ZERO
        });
        assert_eq!(flow.local().to_string(), "[fd00::1]:1");
        assert!(flow.remote().is_ipv6());
    }

    #[test]
    fn ends_make_the_same_key_again() {
        for (local, remote) in [
            ("10.9.0.1:9092", "10.9.0.2:40000"),
            ("[fd00::1]:9092", "[fd00::2]:40000"),
            ("[::ffff:10.9.0.1]:9092", "10.9.0.2:40000"),
        ] {
            let flow = Flow::between(7, 3, local.parse().unwrap(), remote.parse().unwrap());
            let again = Flow::between(7, 3, flow.local(), flow.remote());
            assert_eq!(flow, again);
            assert_eq!((flow.netns(), flow.ifindex()), (7, 3));
        }
    }
}
