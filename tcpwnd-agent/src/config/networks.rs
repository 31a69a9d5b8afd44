//! Networks of peers, as --host and --ignore-peer name them.
//!
//! Constraint: an IPv4 address and its IPv4-mapped form (RFC 4291, section 2.5.5.2) are the same, in
//! what was typed as in what is looked up.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context, Result, ensure};
use ipnet::{IpNet, Ipv4Net};

/// Networks that an option may name; each is compared with many a handshake.
const LIMIT: usize = 64;

/// Length of the prefix that stands before the IPv4 address in a mapped one, bits.
const MAPPED_PREFIX: u8 = 96;

/// Some networks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Resolves what was typed for `option`: networks, or single addresses.
    ///
    /// # Errors
    /// When one of them cannot be understood, or they are too many.
    pub fn resolve(list: &[String], option: &str) -> Result<Self> {
        ensure!(
            list.len() <= LIMIT,
            "{option} names {} networks, but only {LIMIT} fit: name larger networks",
            list.len()
        );
        let networks = list.iter().map(|text| {
            network(text).with_context(|| {
                format!(
                    "invalid value '{text}' for {option}: not an address or a network, as in \
                     10.0.0.0/8 or 2001:db8::1"
                )
            })
        });
        Ok(Self(networks.collect::<Result<_>>()?))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address lies in one of them; IPv4 ones are mapped.
    #[must_use]
    pub fn contain(&self, addr: [u8; 16]) -> bool {
        let addr = Ipv6Addr::from(addr).to_canonical();
        self.0.iter().any(|network| network.contains(&addr))
    }
}

/// As the options take them.
impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, network) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{network}")?;
        }
        Ok(())
    }
}

fn network(text: &str) -> Option<IpNet> {
    if let Ok(addr) = text.parse::<IpAddr>() {
        return Some(addr.to_canonical().into());
    }
    let network: IpNet = text.parse().ok()?;
    Some(unmapped(network).unwrap_or(network))
}

/// The IPv4 network that an IPv4-mapped one stands for.
fn unmapped(network: IpNet) -> Option<IpNet> {
    let IpNet::V6(mapped) = network else {
        return None;
    };
    let addr = mapped.addr().to_ipv4_mapped()?;
    let length = mapped.prefix_len().checked_sub(MAPPED_PREFIX)?;
    Some(Ipv4Net::new(addr, length).ok()?.into())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{LIMIT, Networks};

    fn networks(list: &[&str]) -> Networks {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        Networks::resolve(&list, "--ignore-peer").unwrap()
    }

    fn contain(networks: &Networks, addr: &str) -> bool {
        networks.contain(match addr.parse().unwrap() {
            IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
            IpAddr::V6(addr) => addr.octets(),
        })
    }

    #[test]
    fn addresses_lie_in_networks_up_to_their_edges() {
        let networks = networks(&["10.1.0.0/16", "2001:db8::/32", "192.0.2.7"]);
        for addr in ["10.1.0.0", "10.1.255.255", "2001:db8:ffff::1", "192.0.2.7"] {
            assert!(contain(&networks, addr), "{addr}");
        }
        for addr in [
            "10.0.255.255",
            "10.2.0.0",
            "2001:db9::",
            "192.0.2.6",
            "::",
            "::1",
        ] {
            assert!(!contain(&networks, addr), "{addr}");
        }
        assert!(!contain(&Networks::default(), "10.1.0.0"));
    }

    #[test]
    fn mapped_addresses_and_networks_are_ipv4_ones() {
        for text in ["10.1.0.0/16", "::ffff:10.1.0.0/112", "::ffff:a01:0/112"] {
            let networks = networks(&[text]);
            assert_eq!(networks.to_string(), "10.1.0.0/16");
            assert!(contain(&networks, "::ffff:10.1.2.3"));
            assert!(contain(&networks, "10.1.2.3"));
            assert!(!contain(&networks, "10.2.2.3"));
        }
        assert_eq!(networks(&["::ffff:10.1.2.3"]).to_string(), "10.1.2.3/32");
        // All of IPv6, and mapped addresses are none of it.
        let all = networks(&["::/0"]);
        assert!(contain(&all, "2001:db8::1") && !contain(&all, "10.1.2.3"));
        assert!(contain(&networks(&["0.0.0.0/0"]), "10.1.2.3"));
    }

    #[test]
    fn printed_networks_are_what_was_typed() {
        let text = "10.1.0.0/16,2001:db8::/32,192.0.2.7/32";
        let list: Vec<&str> = text.split(',').collect();
        assert_eq!(networks(&list).to_string(), text);
        assert_eq!(Networks::default().to_string(), "");
    }

    #[test]
    fn bad_networks_are_named_and_too_many_refused() {
        for bad in [
            "10.1.0.0/33",
            "example.org",
            "10.1",
            "",
            "10.1.0.0/-1",
            "::/129",
        ] {
            let list = ["10.0.0.0/8".to_owned(), bad.to_owned()];
            let error = Networks::resolve(&list, "--ignore-peer").unwrap_err();
            let error = error.to_string();
            let begin = format!("invalid value '{bad}' for --ignore-peer: not an address or");
            assert!(error.starts_with(&begin), "{error}");
        }
        let list = |count| vec!["10.0.0.0/8".to_owned(); count];
        assert!(Networks::resolve(&list(LIMIT), "--host").is_ok());
        let error = Networks::resolve(&list(LIMIT + 1), "--host").unwrap_err();
        let text = "--host names 65 networks, but only 64 fit: name larger networks";
        assert_eq!(error.to_string(), text);
    }
}
