//! Which listener a connection came through, and what that one would announce now.
//!
//! Constraint: what was inferred is called so, and what cannot be known is `None`: a window clamp
//! of the listener or of a route is seen nowhere outside of the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Listener, Socket};
use crate::risk::Settings;

/// What a listener's SYN+ACKs would announce now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    /// Shift count.
    pub scale: u8,
    /// Shift count that a cookie path uses which ignores SO_RCVBUF (before commit 909172a14974).
    pub ignoring_rcvbuf: Option<u8>,
    /// Receive buffer, bytes.
    pub rcvbuf: u32,
    /// SO_RCVBUF was set; inferred, for the kernel does not tell: the buffer is not `tcp_rmem[1]`.
    pub rcvbuf_set: bool,
}

/// What each would announce. Of several that share a port (SO_REUSEPORT) and would announce
/// different scales, nobody knows which one a connection came through: `None`.
pub(super) fn all_announced(listeners: &[Listener], settings: &Settings) -> Vec<Option<Announced>> {
    let all: Vec<_> = listeners
        .iter()
        .map(|listener| announced(listener, settings))
        .collect();
    let scale = |at: &Option<Announced>| at.map(|at| at.scale);
    let place = |listener: &Listener| (listener.port, listener.addr, listener.ifindex);
    let mut places = BTreeMap::new();
    for (listener, at) in listeners.iter().zip(&all) {
        let agree = places.entry(place(listener)).or_insert((scale(at), true));
        agree.1 &= agree.0 == scale(at);
    }
    let agreed = |listener: &Listener| places[&place(listener)].1;
    listeners
        .iter()
        .zip(all)
        .map(|(listener, at)| at.filter(|_| agreed(listener)))
        .collect()
}

/// What it would announce; `None` where something that counts could not be read.
fn announced(listener: &Listener, settings: &Settings) -> Option<Announced> {
    if settings.tcp_window_scaling == Some(0) {
        return None;
    }
    let rcvbuf = listener.rcvbuf?;
    let rcvbuf_set = rcvbuf != settings.tcp_rmem_default?;
    let of = |rmem_max| {
        let settings = Settings {
            rmem_max: Some(rmem_max),
            ..*settings
        };
        let listening = settings.listening(rcvbuf, rcvbuf_set)?;
        Some((listening.announced(), listening.ignoring_rcvbuf()))
    };
    let (scale, ignoring_rcvbuf) = match settings.rmem_max {
        Some(rmem_max) => {
            let (scale, ignoring) = of(rmem_max)?;
            (scale, Some(ignoring))
        }
        // Hidden here; it may make no difference.
        None => {
            let (least, most) = (of(0)?, of(u32::MAX)?);
            let scale = (least.0 == most.0).then_some(least.0)?;
            (scale, (least.1 == most.1).then_some(least.1))
        }
    };
    Some(Announced {
        scale,
        ignoring_rcvbuf,
        rcvbuf,
        rcvbuf_set,
    })
}

/// The listener that a connection came through, of those at its port (`here`, which are indices): the
/// one that is bound most closely, as the kernel scores them (`compute_score`,
/// net/ipv4/inet_hashtables.c, 6.12). `None` means that this host opened it, or that the listener
/// is gone.
pub(super) fn of(socket: &Socket, listeners: &[Listener], here: &[usize]) -> Option<usize> {
    let local = socket.flow.local();
    let score = |index: &usize| {
        let listener = &listeners[*index];
        (
            listener.ifindex != 0,
            listener.addr.to_canonical() == local.ip(),
            listener.addr.is_ipv4() == local.is_ipv4(),
        )
    };
    here.iter()
        .copied()
        .filter(|index| takes(&listeners[*index], socket, local.ip()))
        .max_by_key(score)
}

fn takes(listener: &Listener, socket: &Socket, local: IpAddr) -> bool {
    let device = listener.ifindex == 0 || listener.ifindex == socket.flow.ifindex();
    let address = match listener.addr {
        IpAddr::V6(any) if any.is_unspecified() => !(listener.only_v6 && local.is_ipv4()),
        IpAddr::V4(any) if any.is_unspecified() => local.is_ipv4(),
        one => one.to_canonical() == local,
    };
    device && address
}
