//! A listener of the summary: its counts, and who has it open.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use tcpwnd_common::ListenerSlot;
use tcpwnd_core::books::Books;
use tcpwnd_core::detect::window_scale::Path;
use tcpwnd_core::findings::{self, Place, Process};
use tcpwnd_core::flow::unmapped;

use super::owner;
use super::summary::grouped;
use crate::host::who::Directory;

/// Sockets that share an address, as many as are shown.
const OWNERS: usize = 16;

/// A listener with its counts.
#[derive(Debug, Serialize)]
pub struct Listener {
    addr: IpAddr,
    port: u16,
    netns: u32,
    /// SYN+ACKs built.
    pub synacks: u64,
    /// Those of them that were SYN cookies.
    pub cookies_sent: u64,
    cookies_valid: u64,
    cookies_rejected: u64,
    cookies_accepted: u64,
    overflows: u64,
    drops: u32,
    /// Its accept queue.
    pub accept_queue: AcceptQueue,
    syn_queue_len: u32,
    receive_buffer: ReceiveBuffer,
    netns_name: Option<String>,
    owners: Vec<Owner>,
}

/// Who has a listener open; several where sockets share an address.
#[derive(Debug, Serialize)]
struct Owner {
    inode: Option<u64>,
    process: Option<Process>,
    cgroup: Option<String>,
    #[serde(flatten)]
    place: Place,
}

/// An accept queue when the last SYN+ACK was built.
#[derive(Debug, Serialize)]
pub struct AcceptQueue {
    len: u32,
    /// Connections that may wait.
    pub limit: u32,
}

/// A listener's receive buffer then.
#[derive(Debug, Serialize)]
struct ReceiveBuffer {
    /// sk_rcvbuf: twice what SO_RCVBUF was set to.
    bytes: u32,
    /// SO_RCVBUF was set.
    locked: bool,
}

impl Listener {
    /// A slot, and who is known to have that listener open.
    #[must_use]
    pub fn of(slot: &ListenerSlot, directory: &Directory) -> Self {
        let addr = unmapped(slot.key.addr);
        let mut known = directory.of(slot.key.netns, addr, slot.key.port);
        known.truncate(OWNERS);
        Self {
            netns_name: known
                .iter()
                .find_map(|listener| listener.netns_name.clone()),
            owners: known.into_iter().map(Owner::of).collect(),
            addr,
            port: slot.key.port,
            netns: slot.key.netns,
            synacks: slot.synacks,
            cookies_sent: slot.cookies_sent,
            cookies_valid: slot.cookies_valid,
            cookies_rejected: slot.cookies_rejected,
            cookies_accepted: slot.cookies_accepted,
            overflows: slot.overflows,
            accept_queue: AcceptQueue {
                len: slot.accept_queue_len,
                limit: slot.accept_queue_limit,
            },
            drops: slot.drops,
            syn_queue_len: slot.syn_queue_len,
            receive_buffer: ReceiveBuffer {
                bytes: slot.receive_buffer,
                locked: slot.receive_buffer_locked != 0,
            },
        }
    }

    /// In one line: its queue, and how many handshakes took the cookie path.
    #[must_use]
    pub fn text(&self, books: &Books, all: &[Self]) -> String {
        let limit = grouped(self.accept_queue.limit.into());
        let only = all.iter().filter(|other| other.port == self.port).count() == 1;
        let counts = books.ports().find(|(port, _)| *port == self.port);
        if let (true, Some((port, counts))) = (only, counts) {
            let (cookies, all) = (
                grouped(counts.path(Path::Cookie)),
                grouped(counts.handshakes()),
            );
            return format!(
                "listener :{port}: backlog limit {limit}, {cookies} of {all} handshakes took the \
                 cookie path"
            );
        }
        // Handshakes are counted by port, so here SYN+ACKs have to tell the listeners apart.
        format!(
            "listener {} in namespace {}: backlog limit {limit}, {} of {} SYN+ACKs were cookies",
            SocketAddr::new(self.addr, self.port),
            self.netns_name
                .as_deref()
                .unwrap_or(&self.netns.to_string()),
            grouped(self.cookies_sent),
            grouped(self.synacks),
        )
    }

    /// Who has it open, a line each.
    pub fn owners(&self) -> impl Iterator<Item = String> {
        let text = |owner: &Owner| owner::text(owner.process.as_ref(), &owner.place);
        self.owners.iter().filter_map(text)
    }
}

impl Owner {
    fn of(listener: &findings::Listener) -> Self {
        let listener = listener.clone();
        Self {
            inode: listener.inode,
            process: listener.process,
            cgroup: listener.cgroup,
            place: listener.place,
        }
    }
}
