//! What the state file says: one JSON object, described in docs/state-file.md.
//!
//! Constraint: what is read may be anybody's. Each value is checked, and a file of which one is
//! impossible is not used at all.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tcpwnd_core::{Flow, Listed, OpenFlow, OpenFlows, Role, Verdict};
use thiserror::Error;

/// How every state file begins, so that no other file is taken for one, or written over.
const BEGINNING: &[u8] = b"{\"kind\":\"tcpwnd-state\",";
const KIND: &str = "tcpwnd-state";
/// Raised when an older agent would misread the file.
const VERSION: u32 = 1;

/// Most connections that the file lists: less than 8 MiB where every field is as long as it gets.
pub const MAX_CONNECTIONS: usize = 16_384;

/// Largest shift count that a socket's four bits hold.
const MAX_SHIFT: u8 = 15;

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub enum Unusable {
    /// It is something else.
    #[error("it is no state file of tcpwnd")]
    Foreign,
    /// It is of another version of the agent.
    #[error("it has version {0}, and {VERSION} is known here")]
    Version(u32),
    /// It is cut off, or was changed.
    #[error("it is damaged: {0}")]
    Broken(#[from] serde_json::Error),
    /// It says something that cannot be.
    #[error("it is damaged: connection {0} in it says what cannot be")]
    Impossible(usize),
    /// Longer than this agent writes any.
    #[error("it lists {0} connections, and at most {MAX_CONNECTIONS} fit")]
    TooMany(usize),
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    kind: Cow<'static, str>,
    version: u32,
    /// Of the boot in which the sockets were; after another there are none of them.
    pub boot_id: String,
    /// When it was written, RFC 3339; for people.
    pub written: String,
    /// Whether the agent was about to end, so that it found nothing after that.
    pub stopped: bool,
    /// Open damaged connections that are not listed.
    pub left_out: u64,
    connections: Vec<Entry>,
}

/// A damaged connection that was open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    netns: u32,
    ifindex: u32,
    local: SocketAddr,
    remote: SocketAddr,
    cookie: u64,
    established_ktime_ns: u64,
    role: Cow<'static, str>,
    verdict: Cow<'static, str>,
    cause: Cow<'static, str>,
    advertised: Option<u8>,
    used: Option<u8>,
    shrink_factor: f64,
    ceiling_bytes_per_second: Option<f64>,
}

/// A connection that the file lists.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Listing {
    /// Which connection.
    pub flow: Flow,
    /// What was known of it.
    pub open: OpenFlow,
    /// The kernel's number for its socket.
    pub cookie: u64,
}

impl Document {
    /// What there is to say of these connections, of which those are listed whose sockets are known.
    pub fn of(flows: &OpenFlows, boot_id: &str, written: String, stopped: bool) -> Self {
        let known = flows.iter().filter_map(|(key, open)| match open.listed {
            Listed::As(cookie) => Some(Entry::of(Flow(*key), open, cookie)),
            Listed::NotYet | Listed::Not => None,
        });
        let connections: Vec<_> = known.take(MAX_CONNECTIONS).collect();
        Self {
            kind: KIND.into(),
            version: VERSION,
            boot_id: boot_id.to_owned(),
            written,
            stopped,
            left_out: (flows.len() - connections.len()) as u64,
            connections,
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is not one that this agent could have written.
    pub fn read(bytes: &[u8]) -> Result<Self, Unusable> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        if !bytes.starts_with(BEGINNING) {
            return Err(Unusable::Foreign);
        }
        let head: Head = serde_json::from_slice(bytes)?;
        if head.version != VERSION {
            return Err(Unusable::Version(head.version));
        }
        let document: Self = serde_json::from_slice(bytes)?;
        let count = document.connections.len();
        if count > MAX_CONNECTIONS {
            return Err(Unusable::TooMany(count));
        }
        let impossible = |entry: &Entry| entry.listing().is_none();
        match document.connections.iter().position(impossible) {
            Some(at) => Err(Unusable::Impossible(at)),
            None => Ok(document),
        }
    }

    /// The connections that it lists.
    pub fn connections(&self) -> impl ExactSizeIterator<Item = Option<Listing>> {
        self.connections.iter().map(Entry::listing)
    }
}

impl Entry {
    fn of(flow: Flow, open: &OpenFlow, cookie: u64) -> Self {
        Self {
            netns: flow.netns(),
            ifindex: flow.ifindex(),
            local: flow.local(),
            remote: flow.remote(),
            cookie,
            established_ktime_ns: open.established_ktime_ns,
            role: open.role.name().into(),
            verdict: open.verdict.name().into(),
            cause: open.verdict.cause().unwrap_or_default().into(),
            advertised: open.advertised,
            used: open.used,
            shrink_factor: open.shrink_factor,
            ceiling_bytes_per_second: open.ceiling_bytes_per_second,
        }
    }

    fn listing(&self) -> Option<Listing> {
        let shift = |shift: Option<u8>| shift.is_none_or(|shift| shift <= MAX_SHIFT);
        let speed = self.ceiling_bytes_per_second;
        let possible = self.shrink_factor >= 1.0
            && self.shrink_factor.is_finite()
            && speed.is_none_or(|speed| speed >= 0.0 && speed.is_finite())
            && shift(self.advertised)
            && shift(self.used);
        Some(Listing {
            flow: Flow::between(self.netns, self.ifindex, self.local, self.remote),
            open: OpenFlow {
                established_ktime_ns: self.established_ktime_ns,
                role: Role::from_name(&self.role)?,
                verdict: Verdict::damage(&self.verdict, &self.cause)?,
                advertised: self.advertised,
                used: self.used,
                shrink_factor: self.shrink_factor,
                ceiling_bytes_per_second: speed,
                windows: None,
                listed: Listed::As(self.cookie),
                carried_over: true,
            },
            cookie: self.cookie,
        })
        .filter(|_| possible)
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
