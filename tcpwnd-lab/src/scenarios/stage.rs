//! The usual setting of a scenario with peers of our own: a server in a namespace, and a TUN device
//! behind which they are.

use std::net::SocketAddr;

use anyhow::Result;

use crate::broker::{Accepted, Broker};
use crate::net::{Namespace, run};
use crate::peer::{Offer, Peer};
use crate::socket::ListenOptions;
use crate::tun::Tun;
use crate::wait;

/// Port of the server.
pub const PORT: u16 = 9092;

/// A server, and a TUN device with peers behind it.
#[derive(Debug)]
pub struct Stage {
    /// The server.
    pub broker: Broker,
    /// Another one beside it on the same port (SO_REUSEPORT).
    pub sibling: Option<Broker>,
    /// The device.
    pub tun: Tun,
    /// Where both are.
    pub server: Namespace,
}

impl Stage {
    /// Sets up a namespace with these settings, the device, and the server.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub fn new(listen: &ListenOptions, settings: &[(&str, &str)]) -> Result<Self> {
        let server = Namespace::new()?;
        // The default depends on kernel and memory, and may not exceed rmem_max, which counts too.
        server.set(RMEM, &rmem(RMEM_AT_FIRST))?;
        for (name, value) in settings {
            server.set(name, value)?;
        }
        let tun = Tun::open(&server)?;
        let broker = Broker::start(&server, listen)?;
        Ok(Self {
            broker,
            sibling: None,
            tun,
            server,
        })
    }

    /// Every connection by cookie, to a listener that no kernel's cookie path treats wrongly:
    /// nothing is damaged unless [`Self::change`] is called.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_cookies() -> Result<Self> {
        Self::new(&unlocked(), COOKIES)
    }

    /// Every connection by cookie, to a listener that was opened like this.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_cookies_to(listen: &ListenOptions) -> Result<Self> {
        Self::new(listen, COOKIES)
    }

    /// Closes the listener and opens another on the same port.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn rebind(&mut self, listen: &ListenOptions) -> Result<()> {
        // One that is in nobody's way stands in, for the port is free only when the old one ended.
        let elsewhere = ListenOptions {
            port: PORT + 1,
            ..*listen
        };
        self.broker = Broker::start(&self.server, &elsewhere)?;
        self.broker = Broker::start(&self.server, listen)?;
        Ok(())
    }

    /// Waits until the connection from `peer` has been accepted, whoever accepts it.
    ///
    /// # Errors
    /// When it does not come.
    pub fn wait_accepted_from(&self, peer: SocketAddr) -> Result<Accepted> {
        wait::until(wait::PATIENCE, &format!("a connection from {peer}"), || {
            let mut all = std::iter::once(&self.broker).chain(&self.sibling);
            Ok(all.find_map(|broker| broker.accepted_from(peer)))
        })
    }

    /// Sets the route to the peers anew.
    ///
    /// # Errors
    /// When there are no such metrics.
    pub fn route(&self, metrics: &str) -> Result<()> {
        self.server
            .enter(|| run(&format!("ip route replace 10.9.0.0/16 dev tun0 {metrics}")))
    }

    /// Sets `tcp_rmem[2]`, in bytes.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_rmem(&self, largest: u32) -> Result<()> {
        self.server.set(RMEM, &rmem(largest))
    }

    /// Changes `tcp_rmem[2]`, to which every kernel's cookie path listens, the affected one's too.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn change(&self, change: Rmem) -> Result<()> {
        let largest = match change {
            Rmem::Lowered => 131_072,
            Rmem::Raised => 256 << 20,
        };
        self.set_rmem(largest)
    }

    /// Connects the IPv4 peers with these numbers by cookie, all at once, with `tcp_rmem` raised in
    /// between: each is damaged. The server may have yet to accept them.
    ///
    /// # Errors
    /// When one gets no SYN+ACK, or the kernel refuses the setting.
    pub fn damaged(&self, numbers: impl Iterator<Item = u16>) -> Result<Vec<Peer<'_>>> {
        let mut peers: Vec<_> = numbers.map(|number| self.peer(number)).collect();
        let mut synacks = Vec::new();
        for peer in &mut peers {
            peer.syn()?;
            synacks.push(peer.synack()?);
        }
        self.change(Rmem::Raised)?;
        for (peer, synack) in peers.iter_mut().zip(&synacks) {
            peer.ack(synack)?;
        }
        Ok(peers)
    }

    /// The IPv4 peer with this number.
    #[must_use]
    pub fn peer(&self, number: u16) -> Peer<'_> {
        self.peer_offering(number, Offer::default())
    }

    /// The peer with this number of either family.
    #[must_use]
    pub fn peer_of(&self, v6: bool, number: u16) -> Peer<'_> {
        let local = SocketAddr::new(Tun::client(v6, number), 40_000 + number);
        Peer::new(&self.tun, local, Tun::server(v6, PORT))
    }

    /// The IPv4 peer with this number, with a SYN of its own.
    #[must_use]
    pub fn peer_offering(&self, number: u16, offer: Offer) -> Peer<'_> {
        self.peer_from(number, 40_000 + number, offer)
    }

    /// The IPv4 peer with this number, on a port of its own choice.
    #[must_use]
    pub fn peer_from(&self, number: u16, port: u16, offer: Offer) -> Peer<'_> {
        let local = SocketAddr::new(Tun::client(false, number), port);
        Peer::offering(&self.tun, local, Tun::server(false, PORT), offer)
    }
}

/// The setting of how large receive buffers may get.
pub const RMEM: &str = "net/ipv4/tcp_rmem";

/// `tcp_rmem[2]` of a stage, in bytes: more than any kernel's `rmem_max`, so that the scale is 9.
pub const RMEM_AT_FIRST: u32 = 16 << 20;

/// [`RMEM`] with this `tcp_rmem[2]`, in bytes.
pub fn rmem(largest: u32) -> String {
    format!("4096 131072 {largest}")
}

/// How `tcp_rmem[2]` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rmem {
    /// To less than any `rmem_max`: the scale gets smaller.
    Lowered,
    /// The scale gets larger.
    Raised,
}

/// Every SYN is answered with a cookie.
pub const COOKIES: &[(&str, &str)] = &[("net/ipv4/tcp_syncookies", "2")];

/// A listener whose receive buffer is left to the kernel, which no kernel's cookie path forgets.
#[must_use]
pub fn unlocked() -> ListenOptions {
    ListenOptions {
        receive_buffer: None,
        ..ListenOptions::default()
    }
}
