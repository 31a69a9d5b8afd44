//! What the state file says: one JSON object, described in docs/state-file.md.
//!
//! Constraint: what is read may be anybody's. Each value is checked; a connection of which one is
//! impossible counts as one that is not listed.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tcpwnd_core::{Flow, Listed, OpenFlow, OpenFlows, Role, Verdict};
use thiserror::Error;

use super::former::Former;
use crate::host::clock;

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
    /// Of it there is less than its beginning, or nothing was written where it is.
    #[error("it is damaged: it is cut off or blank")]
    Blank,
    /// The boot that it names is none.
    #[error("it is damaged: '{0}' is no boot's identifier")]
    Boot(String),
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
    /// The same, nanoseconds of CLOCK_MONOTONIC.
    pub written_ktime_ns: u64,
    /// Whether the agent was about to end, so that it found nothing after that.
    pub stopped: bool,
    /// What an earlier agent of this boot found may be missing.
    pub gap: bool,
    /// Open damaged connections that are not listed, of former agents as well.
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

impl Document {
    /// What there is to say: of the open connections those are listed whose sockets are known, and
    /// after them what is left of former agents.
    pub fn of(
        flows: &OpenFlows,
        former: &Former,
        boot_id: &str,
        now_ns: u64,
        stopped: bool,
    ) -> Self {
        let own = flows.iter().map(|(key, open)| (Flow(*key), open));
        let all = own.chain(former.pending());
        let entries = all.filter_map(|(flow, open)| Entry::of(flow, open));
        let connections: Vec<_> = entries.take(MAX_CONNECTIONS).collect();
        let not_listed = flows.len() + former.pending().len() - connections.len();
        Self {
            kind: KIND.into(),
            version: VERSION,
            boot_id: boot_id.to_owned(),
            written: clock::rfc3339(clock::wall(now_ns)),
            written_ktime_ns: now_ns,
            stopped,
            gap: former.gap,
            left_out: former.left_out.saturating_add(not_listed as u64),
            connections,
        }
    }

    /// Reads a file, at this time (nanoseconds of CLOCK_MONOTONIC). What is impossible in it is left
    /// out.
    ///
    /// # Errors
    /// When it is not one that this agent could have written.
    pub fn read(bytes: &[u8], now_ns: u64) -> Result<Self, Unusable> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        if !bytes.starts_with(BEGINNING) {
            // What a full disk or a host that went down leaves of one.
            let blank = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
            let spoiled = BEGINNING.starts_with(bytes) || bytes.iter().all(blank);
            return Err(if spoiled {
                Unusable::Blank
            } else {
                Unusable::Foreign
            });
        }
        let head: Head = serde_json::from_slice(bytes)?;
        if head.version != VERSION {
            return Err(Unusable::Version(head.version));
        }
        let mut document: Self = serde_json::from_slice(bytes)?;
        if !is_uuid(&document.boot_id) {
            return Err(Unusable::Boot(document.boot_id));
        }
        let count = document.connections.len();
        if count > MAX_CONNECTIONS {
            return Err(Unusable::TooMany(count));
        }
        let possible =
            |entry: &Entry| entry.established_ktime_ns <= now_ns && entry.connection().is_some();
        document.connections.retain(possible);
        let impossible = count - document.connections.len();
        document.left_out = document.left_out.saturating_add(impossible as u64);
        Ok(document)
    }

    /// The connections that it lists.
    pub fn connections(&self) -> impl Iterator<Item = (Flow, OpenFlow)> {
        self.connections.iter().filter_map(Entry::connection)
    }

    /// How many it lists.
    pub fn len(&self) -> usize {
        self.connections.len()
    }
}

/// As random(4) prints one: 8, 4, 4, 4 and 12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let groups = text.split('-');
    groups.clone().map(str::len).eq([8, 4, 4, 4, 12])
        && groups
            .flat_map(str::bytes)
            .all(|byte| byte.is_ascii_hexdigit())
}

impl Entry {
    /// `None` where its socket is not known.
    fn of(flow: Flow, open: &OpenFlow) -> Option<Self> {
        let Listed::As(cookie) = open.listed else {
            return None;
        };
        Some(Self {
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
        })
    }

    /// `None` where it says what cannot be.
    fn connection(&self) -> Option<(Flow, OpenFlow)> {
        let shift = |shift: Option<u8>| shift.is_none_or(|shift| shift <= MAX_SHIFT);
        let speed = self.ceiling_bytes_per_second;
        let possible = self.shrink_factor >= 1.0
            && self.shrink_factor.is_finite()
            && speed.is_none_or(|speed| speed >= 0.0 && speed.is_finite())
            && shift(self.advertised)
            && shift(self.used);
        let flow = Flow::between(self.netns, self.ifindex, self.local, self.remote);
        let open = OpenFlow {
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
        };
        possible.then_some((flow, open))
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
