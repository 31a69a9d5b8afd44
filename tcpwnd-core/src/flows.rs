//! The damaged connections that are open now.
//!
//! Constraint: bounded. What does not fit is counted; an entry goes when the kernel reports its
//! connection's end, or when a new connection with the same addresses proves that it ended. Of
//! what a former agent found the kernel's programs report no end: somebody has to look.

use crate::detect::window_scale::{Role, Verdict, ceiling, peer_window, srtt_us};
use crate::findings::{Finding, Outcome};
use std::collections::{BTreeMap, HashMap};
use tcpwnd_common::{ClosedRecord, FlowKey, WindowRecord};

/// An open connection that is damaged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenFlow {
    /// When it was established, nanoseconds of CLOCK_MONOTONIC.
    pub established_ktime_ns: u64,
    /// Which end this host is.
    pub role: Role,
    /// `mismatch` or `scale_lost`.
    pub verdict: Verdict,
    /// Shift count in the SYN+ACK; `None` without the option.
    pub advertised: Option<u8>,
    /// Shift count of the socket; `None` when it does not scale.
    pub used: Option<u8>,
    /// How many times too small a window appears to whoever sends, in the worse direction; 1
    /// when neither is too small.
    pub shrink_factor: f64,
    /// Bytes per second that the window allows, where known.
    pub ceiling_bytes_per_second: Option<f64>,
    /// Its windows that were seen; `None` where the kernel was not asked to show any.
    pub windows: Option<Windows>,
    /// What the kernel's list of sockets says of it.
    pub listed: Listed,
    /// A former agent found it, so that nobody reports its end.
    pub carried_over: bool,
}

/// What the kernel's list of sockets says of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listed {
    /// Nobody has looked.
    #[default]
    NotYet,
    /// Its socket's number, which no other ever has (`sock_gen_cookie`, net/core/sock_diag.c).
    As(u64),
    /// It is not there, or cannot be seen.
    Not,
}

/// Windows of a connection that were seen as they left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// Sent with the shift count that the verdict rests on.
    pub agreeing: u32,
    /// Sent with another one.
    pub contradicting: u32,
}

impl Windows {
    /// Whether they bear the finding out: some were seen, and all of them do.
    #[must_use]
    pub fn confirm(self) -> bool {
        self.agreeing > 0 && self.contradicting == 0
    }

    /// How many were seen.
    #[must_use]
    pub fn seen(self) -> u32 {
        self.agreeing + self.contradicting
    }
}

/// What is open on one port: a local one of connections that this host accepted, a remote one of
/// those that it opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OpenPort {
    /// Connections whose ends disagree.
    pub mismatched: u64,
    /// Connections without window scaling.
    pub scale_lost: u64,
    /// How many times too small the worst window appears; 1 when none is too small.
    pub worst_shrink_factor: f64,
    /// The lowest throughput ceiling, bytes per second; `None` when none is known.
    pub lowest_ceiling_bytes_per_second: Option<f64>,
}

/// The table of open damaged connections.
#[derive(Clone, Debug)]
pub struct OpenFlows {
    flows: HashMap<FlowKey, OpenFlow>,
    limit: usize,
    refused: u64,
    untracked: u64,
    changes: u64,
}

impl OpenFlows {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            flows: HashMap::new(),
            limit,
            refused: 0,
            untracked: 0,
            changes: 0,
        }
    }

    /// Takes in a connection that left SYN_RECV or SYN_SENT, whatever the verdict.
    pub(crate) fn opened(&mut self, finding: &Finding) {
        // A child that never became established says nothing about the one of the same addresses
        // that did: of two that are made of one request at once, one dies.
        if finding.outcome != Outcome::Established {
            return;
        }
        let key = finding.flow.0;
        // The same addresses cannot be in use twice: whichever was established first has ended,
        // though its end was lost on the way.
        match self.flows.get(&key) {
            Some(known) if known.established_ktime_ns > finding.ktime_ns => return,
            Some(_) => drop(self.remove(&key)),
            None => {}
        }
        if !finding.is_damaged() {
            return;
        }
        if !finding.tracked {
            self.untracked += 1;
        } else if self.flows.len() >= self.limit {
            self.refused += 1;
        } else {
            self.insert(key, OpenFlow::of(finding));
        }
    }

    fn insert(&mut self, key: FlowKey, flow: OpenFlow) {
        self.flows.insert(key, flow);
        self.changes += 1;
    }

    fn remove(&mut self, key: &FlowKey) -> Option<OpenFlow> {
        let known = self.flows.remove(key)?;
        self.changes += 1;
        Some(known)
    }

    /// Takes out a connection that ended, unless the entry is of a later one.
    pub(crate) fn closed(&mut self, record: &ClosedRecord) -> Option<OpenFlow> {
        let known = self.flows.get(&record.flow)?;
        if known.established_ktime_ns != record.established_ktime_ns {
            return None;
        }
        self.remove(&record.flow)
    }

    /// Takes in a connection that a former agent found; false when there is no room. One of the same
    /// addresses that is known already is the later one.
    pub(crate) fn carry_over(&mut self, key: FlowKey, flow: OpenFlow) -> bool {
        if self.flows.len() >= self.limit {
            return false;
        }
        if !self.flows.contains_key(&key) {
            self.insert(key, flow);
        }
        true
    }

    /// Takes out the connection that was established then: it is known to have ended.
    pub(crate) fn ended(&mut self, key: &FlowKey, established_ktime_ns: u64) -> bool {
        self.of(key, established_ktime_ns).is_some() && self.remove(key).is_some()
    }

    /// Notes what the kernel's list of sockets says of the connection that was established then.
    pub(crate) fn note_listed(&mut self, key: &FlowKey, established_ktime_ns: u64, as_: Listed) {
        if let Some(known) = self.flows.get_mut(key)
            && known.established_ktime_ns == established_ktime_ns
        {
            known.listed = as_;
            self.changes += 1;
        }
    }

    /// The connection between these addresses that was established then (nanoseconds of
    /// CLOCK_MONOTONIC), if it is in the table.
    #[must_use]
    pub fn of(&self, key: &FlowKey, established_ktime_ns: u64) -> Option<&OpenFlow> {
        let known = self.flows.get(key)?;
        (known.established_ktime_ns == established_ktime_ns).then_some(known)
    }

    /// A number that grows when a connection comes or goes, or is looked up.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Brings the ceiling of a connection up to date, and counts its window.
    pub(crate) fn window(&mut self, record: &WindowRecord) -> Option<OpenFlow> {
        let known = self.flows.get_mut(&record.flow)?;
        if known.established_ktime_ns != record.established_ktime_ns {
            return None;
        }
        let receives = matches!(known.verdict, Verdict::ScaleLost(_))
            || known.used.unwrap_or(0) > known.advertised.unwrap_or(0);
        if receives && let Some(srtt) = srtt_us(record.srtt_us8) {
            let window = peer_window(record.rcv_wnd, known.used, known.advertised);
            known.ceiling_bytes_per_second = ceiling(window, srtt.into());
        }
        let agrees = known.uses(record.rcv_wscale);
        let windows = known.windows.get_or_insert_default();
        windows.agreeing += u32::from(agrees);
        windows.contradicting += u32::from(!agrees);
        Some(*known)
    }

    /// Connections in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Most that the table takes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Damaged connections that the table had no room for.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Damaged connections that are not in the table because the kernel will not report their
    /// end.
    #[must_use]
    pub fn untracked(&self) -> u64 {
        self.untracked
    }

    /// The connections, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&FlowKey, &OpenFlow)> {
        self.flows.iter()
    }

    /// Adds up what this host accepted, by local port: one pass over the table, for a scrape.
    #[must_use]
    pub fn ports(&self) -> BTreeMap<u16, OpenPort> {
        self.by_port(Role::Server, |key| key.local_port)
    }

    /// Adds up what this host opened, by remote port.
    #[must_use]
    pub fn remote_ports(&self) -> BTreeMap<u16, OpenPort> {
        self.by_port(Role::Client, |key| key.remote_port)
    }

    fn by_port(&self, role: Role, port: impl Fn(&FlowKey) -> u16) -> BTreeMap<u16, OpenPort> {
        let mut ports = BTreeMap::new();
        for (key, flow) in self.flows.iter().filter(|(_, flow)| flow.role == role) {
            let port: &mut OpenPort = ports.entry(port(key)).or_default();
            port.add(flow);
        }
        ports
    }
}

impl OpenFlow {
    /// Whether `shift` is what the verdict took the socket to use: 0 when it does not scale.
    #[must_use]
    pub fn uses(&self, shift: u8) -> bool {
        self.used.unwrap_or(0) == shift
    }

    fn of(finding: &Finding) -> Self {
        let receive = finding.receive.map_or(1.0, |receive| receive.factor);
        let send = finding.send.map_or(1.0, |send| send.factor);
        Self {
            established_ktime_ns: finding.ktime_ns,
            role: finding.role,
            verdict: finding.verdict,
            advertised: finding.receive.and_then(|receive| receive.advertised),
            used: finding.receive.and_then(|receive| receive.used),
            shrink_factor: receive.max(send).max(1.0),
            ceiling_bytes_per_second: finding.impact.ceiling_bytes_per_second,
            windows: finding.watched.then(Windows::default),
            listed: Listed::NotYet,
            carried_over: false,
        }
    }
}

impl OpenPort {
    fn add(&mut self, flow: &OpenFlow) {
        if matches!(flow.verdict, Verdict::Mismatch(_)) {
            self.mismatched += 1;
        } else {
            self.scale_lost += 1;
        }
        self.worst_shrink_factor = self.worst_shrink_factor.max(flow.shrink_factor);
        self.lowest_ceiling_bytes_per_second = [
            self.lowest_ceiling_bytes_per_second,
            flow.ceiling_bytes_per_second,
        ]
        .into_iter()
        .flatten()
        .reduce(f64::min);
    }
}
