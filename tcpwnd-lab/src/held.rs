//! A handshake that is changed on its way: a real client connects over a link with delay, and
//! while its ACK is under way something happens on the server.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};

use crate::client::Client;
use crate::net::Pair;
use crate::witness::{self, Tcpdump};

/// Attempts at making the change before the ACK arrives.
const ATTEMPTS: usize = 5;

/// Connects by cookie and makes `change` between SYN+ACK and ACK; `undo` prepares for another
/// attempt when the ACK was faster.
///
/// # Errors
/// When the link's delay is too short for this machine, or a step fails.
pub fn connect(
    pair: &Pair,
    to: SocketAddr,
    change: impl Fn() -> Result<()>,
    undo: impl Fn() -> Result<()>,
) -> Result<Client> {
    for _ in 0..ATTEMPTS {
        let (client, in_time) = attempt(pair, to, &change)?;
        if in_time {
            return Ok(client);
        }
        client.reset()?;
        undo()?;
    }
    bail!("the change was never made in time")
}

/// Connects, makes the change after the SYN+ACK, and says whether it was done before the ACK.
fn attempt(pair: &Pair, to: SocketAddr, change: impl Fn() -> Result<()>) -> Result<(Client, bool)> {
    let mut wire = Tcpdump::start(&pair.server, "eth0")?;
    let valid = || witness::counter(&pair.server, "TcpExt", "SyncookiesRecv");
    let before = valid()?;
    std::thread::scope(|scope| {
        let connecting = scope.spawn(move || Client::connect(&pair.client, to));
        wire.synacks(1)?;
        change()?;
        let in_time = valid()? == before;
        let client = connecting.join().ok().context("the client panicked")??;
        Ok((client, in_time))
    })
}
