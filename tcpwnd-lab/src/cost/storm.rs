//! As many clients as the broker of the talk had come back all at once, to a broker and an agent with
//! their defaults.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::tell;
use super::watcher::{books, start_agent};
use crate::agent::Mechanism;
use crate::broker::Broker;
use crate::client::Client;
use crate::crowd::raise_descriptor_limit;
use crate::net::{Pair, PairOptions};
use crate::scenarios::free_address;
use crate::socket::{self, ListenOptions};

/// How many there are.
const CLIENTS: usize = 18_000;

/// Half of the round trip: most SYNs are on their way before the first ACK comes.
const DELAY: Duration = Duration::from_millis(250);

/// Size of a client's request, in bytes.
const REQUEST: u32 = 100;

/// Lets the storm pass, and tells what the agent made of it.
///
/// # Errors
/// When a client has no answer in the end, or the agent's books are not about the connections that the
/// broker accepted.
pub fn measure() -> Result<()> {
    raise_descriptor_limit(2 * CLIENTS as u64 + 1_024)?;
    let pair = Pair::new(PairOptions { delay: DELAY })?;
    pair.server.set("net/ipv4/tcp_syncookies", "1")?;
    let broker = Broker::start(&pair.server, &ListenOptions::default())?;
    let agent = start_agent(Mechanism::Auto, free_address()?)?;
    let to = SocketAddr::new(Pair::SERVER_V4, 9092);
    let begun = Instant::now();
    let begin = |_| Client::adopt(TcpStream::from(socket::connect_from(0, to)?));
    let mut clients: Vec<_> = pair
        .client
        .enter(|| (0..CLIENTS).map(begin).collect::<Result<_>>())?;
    // Those whose ACK was turned away come again with their data.
    for client in &mut clients {
        client.send(REQUEST)?;
    }
    for client in &mut clients {
        client.receive(REQUEST)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let books = books(agent)?;
    let count = |name: &str| books.get(name).copied().context("the books lack a column");
    let accepted = broker.accepted().len() as u64;
    let handshakes = count("handshakes")?;
    ensure!(
        handshakes == accepted,
        "{accepted} connections were accepted, and {handshakes} handshakes are in the books"
    );
    tell(&json!({
        "figure": "storm", "clients": CLIENTS, "accepted": accepted, "seconds": seconds,
        "damaged": count("mismatch")? + count("scale_lost")?, "unverified": count("unverified")?,
        "lost": count("lost")?,
    }));
    Ok(())
}
