//! The connections: sound ones of several kinds, and damaged ones.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail};

use super::super::stage::PORT;
use super::{DAMAGED, SOUND};
use crate::broker::Broker;
use crate::client::Client;
use crate::net::{Pair, run};
use crate::socket::{self, TcpInfo};
use crate::{wait, witness};

/// Sound ones of each kind that looks damaged, or could.
const KIND: usize = 20;

/// Time that a packet takes in each direction while damage is done, and afterwards: there and back
/// in less than the second after which a SYN is repeated.
const SLOW: Duration = Duration::from_millis(300);
const USUAL: Duration = Duration::from_millis(20);

/// SO_RCVBUF of the listener, and what it is while damage is done, bytes: scale 1, and 7.
const USUAL_BUFFER: u32 = 102_400;
const OTHER_BUFFER: u32 = 4 << 20;

/// First local port of the damaged clients.
const FIRST_PORT: u16 = 20_001;

/// Attempts at doing damage in time.
const ATTEMPTS: usize = 5;

/// The clients.
pub struct Guests {
    /// Sound, and nothing to be said against them.
    pub plain: Vec<Client>,
    /// Sound: their listener had another SO_RCVBUF when they came.
    pub earlier: Vec<Client>,
    /// Sound: the route to them has a window, which counts for something only where setting
    /// SO_RCVBUF does not set the listener's window clamp.
    pub routed: Vec<Client>,
    /// Sound: they use no timestamps.
    pub without_timestamps: Vec<Client>,
    /// They offer neither timestamps nor scaling.
    pub without_options: Vec<Client>,
    /// Damaged.
    pub damaged: Vec<Client>,
}

impl Guests {
    /// Makes all connections.
    pub fn invite(pair: &Pair, broker: &Broker) -> Result<Self> {
        let to = SocketAddr::new(Pair::SERVER_V4, PORT);
        let connect = |to, count| -> Result<Vec<Client>> {
            let all = || (0..count).map(|_| Client::connect_here(to)).collect();
            pair.client.enter(all)
        };
        broker.set_receive_buffer(1 << 20)?;
        let earlier = connect(to, KIND)?;
        broker.set_receive_buffer(USUAL_BUFFER)?;
        let mut plain = connect(to, SOUND - 5 * KIND)?;
        plain.extend(connect(SocketAddr::new(Pair::SERVER_V6, PORT), KIND)?);

        pair.client.set("net/ipv4/tcp_timestamps", "0")?;
        let without_timestamps = connect(to, KIND)?;
        pair.client.set("net/ipv4/tcp_window_scaling", "0")?;
        let without_options = connect(to, KIND)?;
        pair.client.set("net/ipv4/tcp_timestamps", "1")?;
        pair.client.set("net/ipv4/tcp_window_scaling", "1")?;

        let route = |metrics: &str| {
            let line = format!("ip route replace 10.9.0.0/24 dev eth0 {metrics}");
            pair.server.enter(|| run(&line))
        };
        route("window 40000")?;
        let routed = connect(to, KIND)?;
        route("")?;
        let accepted = broker.wait_accepted(SOUND)?.len();

        delay(pair, SLOW)?;
        let damaged = damage(pair, broker, to, accepted)?;
        delay(pair, USUAL)?;
        Ok(Self {
            plain,
            earlier,
            routed,
            without_timestamps,
            without_options,
            damaged,
        })
    }

    /// How many are sound.
    pub fn sound(&self) -> usize {
        self.plain.len()
            + self.earlier.len()
            + self.routed.len()
            + self.without_timestamps.len()
            + self.without_options.len()
    }

    /// Sound ones that are suspect all the same, each with the reason.
    pub fn suspicious(&self, by_route: bool) -> impl Iterator<Item = (&'static str, &Client)> {
        let routed = if by_route { &self.routed[..] } else { &[] };
        let differs = self.earlier.iter().chain(routed);
        let without = self.without_options.iter();
        differs
            .map(|client| ("differs_from_listener", client))
            .chain(without.map(|client| ("no_scaling_no_timestamps", client)))
    }

    /// What a damaged client's stack took from the SYN+ACK; `None` for all others.
    pub fn told(&self, address: SocketAddr) -> Result<Option<u8>> {
        Ok(self.believes(address)?.map(|info| info.send_scale))
    }

    /// What a damaged client's socket says; `None` for all others.
    pub fn believes(&self, address: SocketAddr) -> Result<Option<TcpInfo>> {
        for client in &self.damaged {
            if client.address()? == address {
                return Ok(Some(client.info()?));
            }
        }
        Ok(None)
    }
}

fn delay(pair: &Pair, delay: Duration) -> Result<()> {
    let delay = delay.as_millis();
    for end in [&pair.server, &pair.client] {
        end.enter(|| {
            run(&format!(
                "tc qdisc replace dev eth0 root netem delay {delay}ms limit 100000"
            ))
        })?;
    }
    Ok(())
}

/// Clients whose cookies come back to a listener with another SO_RCVBUF, which is put right again
/// afterwards, theirs as well: a window of 100 KB and a scale of 7, as the affected kernel makes them.
/// A peer that was told 1 may use 1.6 KB of it.
fn damage(pair: &Pair, broker: &Broker, to: SocketAddr, before: usize) -> Result<Vec<Client>> {
    let count = |name| witness::counter(&pair.server, "TcpExt", name);
    pair.server.set("net/ipv4/tcp_syncookies", "2")?;
    broker.set_receive_buffer_of_accepted(Some(USUAL_BUFFER));
    let mut accepted = before;
    for attempt in 0..ATTEMPTS {
        let (sent, valid) = (count("SyncookiesSent")?, count("SyncookiesRecv")?);
        let first = FIRST_PORT + (attempt * DAMAGED) as u16;
        let clients = pair.client.enter(|| {
            let ports = first..first + DAMAGED as u16;
            let connected = ports.map(|port| socket::connect_from(port, to));
            connected.collect::<Result<Vec<_>>>()
        })?;
        wait::until_true(wait::PATIENCE, "all SYN cookies to be sent", || {
            Ok(count("SyncookiesSent")? >= sent + DAMAGED as u64)
        })?;
        broker.set_receive_buffer(OTHER_BUFFER)?;
        let in_time = count("SyncookiesRecv")? == valid;
        accepted += DAMAGED;
        broker.wait_accepted(accepted)?;
        broker.set_receive_buffer(USUAL_BUFFER)?;
        let clients: Result<Vec<_>> = clients
            .into_iter()
            .map(|socket| Client::adopt(TcpStream::from(socket)))
            .collect();
        if in_time {
            pair.server.set("net/ipv4/tcp_syncookies", "1")?;
            broker.set_receive_buffer_of_accepted(None);
            return clients;
        }
        for client in clients? {
            client.reset()?;
        }
    }
    bail!("the change was never made in time")
}
