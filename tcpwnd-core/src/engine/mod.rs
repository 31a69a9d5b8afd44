//! The way in: bytes of a record in, an observation out, the books kept.
//!
//! Constraint: whatever comes in is counted, what cannot be decoded included.

mod carried_over;
#[cfg(test)]
mod tests;

use crate::books::Books;
use crate::decode::{self, DecodeError, Record};
use crate::detect::window_scale::{
    self, Context, Direction, Judgement, Paired, RmemMax, RmemMaxHistory, Role, Verdict,
    judge_paired, on_wire, peer_window, srtt_us,
};
use crate::findings::{
    AcceptedEvidence, ClosedFlow, Evidence, Finding, Impact, Listener, OpenedEvidence, Outcome,
    Receive, Send, WindowSeen,
};
use crate::flow::Flow;
use crate::flows::{OpenFlows, Windows};
use std::fmt;
use tcpwnd_common::{
    Child, ClosedRecord, ConnectRecord, FlowKey, HandshakeRecord, ROLE_CLIENT, WindowRecord,
    child_flags,
};

/// Settings of an [`Engine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// When every program was in place, nanoseconds of CLOCK_MONOTONIC.
    pub watching_since_ktime_ns: u64,
    /// In this kernel setting SO_RCVBUF sets the window clamp too (`tcp_set_rcvbuf`).
    pub rcvbuf_sets_clamp: bool,
    /// SYN+ACKs of a SYN proxy on this host are seen.
    pub sees_synproxy: bool,
    /// Most open damaged connections to keep.
    pub flow_limit: usize,
}

/// What came of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// A handshake ended.
    Handshake(Box<Finding>),
    /// A damaged connection ended.
    Closed(ClosedFlow),
    /// A connection under watch announced a window.
    Window(WindowSeen),
    /// The filter left it out, or it is of a connection that is ignored; handshakes that the filter
    /// left out are counted in the books.
    FilteredOut,
}

type Filter = Box<dyn Fn(&Flow) -> bool + std::marker::Send + Sync>;
type RmemMaxReader = Box<dyn Fn() -> Option<RmemMax> + std::marker::Send + Sync>;

/// Turns records into observations and keeps what adds up.
pub struct Engine {
    context: Context,
    filter: Filter,
    ignored: Filter,
    rmem_max: RmemMaxReader,
    books: Books,
    flows: OpenFlows,
}

impl Engine {
    /// An engine that lets every connection through.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            context: Context {
                watching_since_ktime_ns: settings.watching_since_ktime_ns,
                rcvbuf_sets_clamp: settings.rcvbuf_sets_clamp,
                sees_synproxy: settings.sees_synproxy,
                rmem_max: RmemMaxHistory::default(),
            },
            filter: Box::new(|_| true),
            ignored: Box::new(|_| false),
            rmem_max: Box::new(|| None),
            books: Books::default(),
            flows: OpenFlows::new(settings.flow_limit),
        }
    }

    /// The same, for connections only that `filter` lets through.
    #[must_use]
    pub fn with_filter(
        mut self,
        filter: impl Fn(&Flow) -> bool + std::marker::Send + Sync + 'static,
    ) -> Self {
        self.filter = Box::new(filter);
        self
    }

    /// The same, where lost scaling is no finding if it was the peer's own doing and `ignored` says
    /// so of the connection. Such handshakes have a column of their own in the books. What this
    /// host did to a connection is a finding whoever the peer is.
    #[must_use]
    pub fn with_ignored(
        mut self,
        ignored: impl Fn(&Flow) -> bool + std::marker::Send + Sync + 'static,
    ) -> Self {
        self.ignored = Box::new(ignored);
        self
    }

    /// The same, with `net.core.rmem_max` as it was before anything was attached, and as `read`
    /// finds it: asked when a cause depends on it, and with [`Self::note_rmem_max`].
    #[must_use]
    pub fn with_rmem_max(
        mut self,
        first: Option<RmemMax>,
        read: impl Fn() -> Option<RmemMax> + std::marker::Send + Sync + 'static,
    ) -> Self {
        if let Some(first) = first {
            self.context.rmem_max.add(first);
        }
        self.rmem_max = Box::new(read);
        self
    }

    /// Notes what `net.core.rmem_max` is now. How often this is done is how near to one another
    /// two changes may be without one of them going unseen.
    pub fn note_rmem_max(&mut self) {
        if let Some(reading) = (self.rmem_max)() {
            self.context.rmem_max.add(reading);
        }
    }

    /// Takes in one record.
    ///
    /// # Errors
    ///
    /// The bytes are not a record of this version. That is counted in the books.
    pub fn ingest(&mut self, bytes: &[u8]) -> Result<Observation, DecodeError> {
        self.books.received();
        let record = decode::decode(bytes).inspect_err(|error| self.books.undecodable(error))?;
        Ok(match record {
            Record::Handshake(record, outcome) => self.handshake(&record, outcome.into()),
            Record::Connect(record) => self.connect(&record),
            Record::Closed(record) => self.closed(&record),
            Record::Window(record) => self.window(&record),
            // Made for `scan`, which has no engine.
            Record::Progress(_) => Observation::FilteredOut,
        })
    }

    /// What has been counted.
    #[must_use]
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// The damaged connections that are open now.
    #[must_use]
    pub fn flows(&self) -> &OpenFlows {
        &self.flows
    }

    fn handshake(&mut self, record: &HandshakeRecord, outcome: Outcome) -> Observation {
        let flow = Flow(record.flow);
        if !(self.filter)(&flow) {
            self.books.filtered_out();
            return Observation::FilteredOut;
        }
        let mut finding = describe(record, outcome, &self.context);
        let read = self.context.rmem_max.last_ns();
        if matches!(finding.verdict, Verdict::Mismatch(_)) && read < Some(finding.ktime_ns) {
            self.note_rmem_max();
            finding = describe(record, outcome, &self.context);
        }
        self.keep(finding)
    }

    fn connect(&mut self, record: &ConnectRecord) -> Observation {
        if !(self.filter)(&Flow(record.flow)) {
            self.books.filtered_out();
            return Observation::FilteredOut;
        }
        self.keep(describe_opened(record, &self.context))
    }

    fn keep(&mut self, mut finding: Finding) -> Observation {
        finding.ignored = self.ignores(&finding.flow, finding.verdict);
        self.books.handshake(&finding);
        self.flows.opened(&finding);
        Observation::Handshake(Box::new(finding))
    }

    fn closed(&mut self, record: &ClosedRecord) -> Observation {
        let known = self.flows.closed(record);
        let windows = known.and_then(|known| known.windows);
        let flow = Flow(record.flow);
        if !self.is_reported(&flow, known.is_some()) {
            return Observation::FilteredOut;
        }
        let open_ns = record
            .header
            .ktime_ns
            .saturating_sub(record.established_ktime_ns);
        Observation::Closed(ClosedFlow {
            ktime_ns: record.header.ktime_ns,
            role: if record.role == ROLE_CLIENT {
                Role::Client
            } else {
                Role::Server
            },
            flow,
            bytes_received: record.bytes_received,
            srtt_us: srtt_us(record.srtt_us8),
            open_seconds: open_ns as f64 / 1e9,
            windows_seen: windows.map(Windows::seen),
            confirmed: windows.map(Windows::confirm),
        })
    }

    /// Whether what becomes of a connection is worth telling. The kernel tells it of all that may be
    /// damaged; of those with a peer that is ignored, only the ones are that were found to be.
    fn is_reported(&self, flow: &Flow, known: bool) -> bool {
        (self.filter)(flow) && (known || !(self.ignored)(flow))
    }

    fn window(&mut self, record: &WindowRecord) -> Observation {
        let known = self.flows.window(record);
        let flow = Flow(record.flow);
        if !self.is_reported(&flow, known.is_some()) {
            return Observation::FilteredOut;
        }
        let used = Some(record.rcv_wscale.min(crate::tcp_options::MAX_SHIFT));
        let advertised = known.and_then(|known| known.advertised);
        Observation::Window(WindowSeen {
            ktime_ns: record.header.ktime_ns,
            flow,
            window_bytes: record.rcv_wnd,
            scale_used: record.rcv_wscale,
            on_wire: on_wire(record.rcv_wnd, used),
            peer_window_bytes: known.map(|_| peer_window(record.rcv_wnd, used, advertised)),
            advertised,
            number: record.number,
            last: record.last != 0,
            confirmed: known.is_some_and(|known| known.uses(record.rcv_wscale)),
        })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("context", &self.context)
            .field("books", &self.books)
            .field("flows", &self.flows)
            .finish_non_exhaustive()
    }
}

/// Judges a connection that this host accepted, and describes it.
fn describe(record: &HandshakeRecord, outcome: Outcome, context: &Context) -> Finding {
    let at = (record.header.ktime_ns, record.flow);
    let paired = Paired::of(record);
    let paired = paired.as_ref();
    let judgement = judge_paired(record, paired, context);
    let evidence = AcceptedEvidence::of(record, paired, &context.rmem_max);
    finding(
        Role::Server,
        at,
        outcome,
        &record.child,
        &judgement,
        Listener::of(record, paired),
        Evidence::Accepted(evidence),
    )
}

/// Judges a connection that this host opened, and describes it.
fn describe_opened(record: &ConnectRecord, context: &Context) -> Finding {
    let at = (record.header.ktime_ns, record.flow);
    let judgement = window_scale::judge_opened(record, context);
    let evidence = Evidence::Opened(OpenedEvidence::of(record));
    let established = Outcome::Established;
    finding(
        Role::Client,
        at,
        established,
        &record.child,
        &judgement,
        // Nobody listens for what this host opens.
        Listener::default(),
        evidence,
    )
}

fn finding(
    role: Role,
    (ktime_ns, flow): (u64, FlowKey),
    outcome: Outcome,
    child: &Child,
    judgement: &Judgement,
    listener: Listener,
    evidence: Evidence,
) -> Finding {
    let impact = judgement.impact;
    Finding {
        ktime_ns,
        tracked: child.flags & child_flags::TRACKED != 0,
        watched: child.flags & child_flags::WATCHED != 0,
        verdict: judgement.verdict,
        ignored: false,
        role,
        path: judgement.path,
        outcome,
        flow: Flow(flow),
        listener,
        receive: judgement.receive.map(|direction| Receive {
            advertised: direction.announced,
            used: direction.used,
            factor: direction.factor(),
            damage: direction.damage(),
            peer_window_bytes: impact.peer_window_bytes.unwrap_or(0),
            socket_window_bytes: child.rcv_wnd,
        }),
        send: judgement.send.map(|direction: Direction| Send {
            offered: direction.announced,
            used: direction.used,
            factor: direction.factor(),
            damage: direction.damage(),
        }),
        impact: Impact {
            srtt_us: impact.srtt_us,
            handshake_us: impact.handshake_us,
            rtt_us: impact.rtt_us,
            receive: impact.receive,
            send: impact.send,
            ceiling_bytes_per_second: impact.ceiling_bytes_per_second,
            segment: impact.segment,
        },
        inputs: judgement
            .inputs
            .iter()
            .map(|at| (at.input.name(), *at))
            .collect(),
        evidence,
    }
}
