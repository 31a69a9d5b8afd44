//! What every scenario is given, and what they have in common.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::provoked::Rows;
use crate::agent::{Agent, Launch, Report};
use crate::broker::Accepted;
use crate::client::Visit;
use crate::findings::Handshake;
use crate::socket;

/// What every scenario is given.
#[derive(Debug)]
pub struct Bench {
    /// How the agent is to be started.
    pub launch: Launch,
    /// Whether the kernel's cookie path forgets the listener's SO_RCVBUF (before commit
    /// 909172a14974 "net: Update window_clamp if SOCK_RCVBUF is set").
    pub affected: bool,
    /// What the scenario that is being played has noted for the table of causes.
    pub rows: Rows,
}

/// This scenario cannot be played here, and the kernel or the machine is why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

impl Unsupported {
    /// `error`, or this if the kernel's `refusal` (an errno) is what is behind it.
    #[must_use]
    pub fn if_refused(error: anyhow::Error, refusal: i32, why: &str) -> anyhow::Error {
        let behind = error.root_cause().downcast_ref::<io::Error>();
        if behind.and_then(io::Error::raw_os_error) == Some(refusal) {
            return Self(why.to_owned()).into();
        }
        error
    }
}

impl Bench {
    /// Whether setting SO_RCVBUF sets the window clamp too (`tcp_set_rcvbuf`): asked of a socket.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn rcvbuf_sets_clamp(&self) -> Result<bool> {
        socket::sets_window_clamp(|socket| socket::force_receive_buffer(socket, 102_400))
    }

    /// Whether setting SO_RCVLOWAT sets the window clamp. In the kernels of the matrix these are
    /// the ones whose receive buffers scale by `tcp_adv_win_scale`.
    ///
    /// # Errors
    /// As [`Self::rcvbuf_sets_clamp`].
    pub fn rcvlowat_sets_clamp(&self) -> Result<bool> {
        socket::sets_window_clamp(|socket| socket::set_receive_low_water(socket, 1 << 20))
    }

    /// Starts `tcpwnd trace` on the port of Kafka's listener.
    ///
    /// # Errors
    /// As [`Launch::trace`].
    pub fn trace(&self) -> Result<Agent> {
        self.launch.trace("9092", &[])
    }
}

/// Checks each reported scale against the sockets: `used` against the accepted sockets' own word,
/// `advertised` against what the clients' sockets took from the SYN+ACK.
///
/// # Errors
/// When a connection is missing or a value differs.
pub fn compare(report: &Report, port: u16, accepted: &[Accepted], visits: &[Visit]) -> Result<()> {
    for (peer, handshake) in pair(report, port, accepted.iter().map(|at| (at.peer, at.info)))? {
        ensure!(
            handshake.used() == peer.used(),
            "the socket says {peer:?}, but reported was {handshake:?}"
        );
    }
    for (client, handshake) in pair(report, port, visits.iter().map(|at| (at.address, at.info)))? {
        let told = client.scaling.then_some(client.send_scale);
        ensure!(
            handshake.advertised() == told,
            "the client was told {client:?}, but reported was {handshake:?}"
        );
    }
    Ok(())
}

/// Finds the report of each connection. A client's port may come twice: then in order.
fn pair<T>(
    report: &Report,
    port: u16,
    seen: impl Iterator<Item = (SocketAddr, T)>,
) -> Result<Vec<(T, &Handshake)>> {
    let mut reports: HashMap<SocketAddr, VecDeque<&Handshake>> = HashMap::new();
    for handshake in &report.handshakes {
        if handshake.flow.local.address().port() == port {
            reports
                .entry(handshake.flow.remote.address())
                .or_default()
                .push_back(handshake);
        }
    }
    seen.map(|(peer, witness)| {
        let report = reports.get_mut(&peer).and_then(VecDeque::pop_front);
        Ok((
            witness,
            report.with_context(|| format!("no report about {peer}"))?,
        ))
    })
    .collect()
}
