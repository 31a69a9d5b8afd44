//! Two namespaces joined by a veth link: a server and its clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Namespace, run};

/// How the link between server and clients behaves.
#[derive(Debug, Clone, Copy, Default)]
pub struct PairOptions {
    /// Delay that netem adds in each direction.
    pub delay: Duration,
}

/// A server's and its clients' namespace, joined by a veth link that is called `eth0` in both.
#[derive(Debug)]
pub struct Pair {
    /// Where the server listens.
    pub server: Namespace,
    /// Where the clients run.
    pub client: Namespace,
}

impl Pair {
    /// The server's IPv4 address.
    pub const SERVER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
    /// The clients' IPv4 address.
    pub const CLIENT_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
    /// The server's IPv6 address.
    pub const SERVER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1));
    /// The clients' IPv6 address.
    pub const CLIENT_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2));

    /// Creates both namespaces and the link.
    ///
    /// # Errors
    /// When the kernel has no veth or, with a delay, no netem; without CAP_SYS_ADMIN.
    pub fn new(options: PairOptions) -> Result<Self> {
        let pair = Self {
            server: Namespace::new()?,
            client: Namespace::new()?,
        };
        let client = pair.client.path();
        pair.server.enter(|| {
            run(&format!(
                "ip link add eth0 type veth peer name eth0 netns {client}"
            ))
            .context("failed to create a veth link")
        })?;
        pair.configure(&pair.server, Self::SERVER_V4, Self::SERVER_V6, options)?;
        pair.configure(&pair.client, Self::CLIENT_V4, Self::CLIENT_V6, options)?;
        Ok(pair)
    }

    fn configure(
        &self,
        at: &Namespace,
        v4: IpAddr,
        v6: IpAddr,
        options: PairOptions,
    ) -> Result<()> {
        at.enter(|| {
            run(&format!("ip addr add {v4}/24 dev eth0"))?;
            run(&format!("ip addr add {v6}/64 dev eth0 nodad"))?;
            run("ip link set eth0 up")?;
            if !options.delay.is_zero() {
                // A limit that no scenario reaches: a packet lost here would look like damage.
                let delay = options.delay.as_micros();
                run(&format!(
                    "tc qdisc add dev eth0 root netem delay {delay}us limit 100000"
                ))?;
            }
            Ok(())
        })
    }
}
