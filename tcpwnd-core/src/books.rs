//! The books: every handshake that the kernel counted ends in exactly one column.
//!
//! Constraint: nothing is left out silently. [`Books::totals`] adds the columns up and says
//! whether they make what the kernel counted.

use crate::decode::DecodeError;
use crate::detect::window_scale::{LostCause, MismatchCause, Path, Role, UnverifiedCause, Verdict};
use crate::findings::Finding;
use serde::Serialize;
use std::collections::BTreeMap;
use tcpwnd_common::Kind;

/// Counts of handshakes, each in one verdict and one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Judged sound.
    pub ok: u64,
    /// Scaling was lost by the doing of a peer that is not worth a finding: in no other column.
    pub ignored: u64,
    mismatch: [u64; MismatchCause::COUNT],
    scale_lost: [u64; LostCause::COUNT],
    unverified: [u64; UnverifiedCause::COUNT],
    paths: [u64; Path::COUNT],
}

impl Counts {
    fn add(&mut self, finding: &Finding) {
        match finding.verdict {
            _ if finding.ignored => self.ignored += 1,
            Verdict::Ok => self.ok += 1,
            Verdict::Mismatch(cause) => self.mismatch[cause as usize] += 1,
            Verdict::ScaleLost(cause) => self.scale_lost[cause as usize] += 1,
            Verdict::Unverified(cause) => self.unverified[cause as usize] += 1,
        }
        self.paths[finding.path as usize] += 1;
    }

    /// Mismatches of one cause.
    #[must_use]
    pub fn mismatch(&self, cause: MismatchCause) -> u64 {
        self.mismatch[cause as usize]
    }

    /// Connections without window scaling of one cause.
    #[must_use]
    pub fn scale_lost(&self, cause: LostCause) -> u64 {
        self.scale_lost[cause as usize]
    }

    /// Connections without a verdict of one cause.
    #[must_use]
    pub fn unverified(&self, cause: UnverifiedCause) -> u64 {
        self.unverified[cause as usize]
    }

    /// Handshakes that came about in one way.
    #[must_use]
    pub fn path(&self, path: Path) -> u64 {
        self.paths[path as usize]
    }

    /// Mismatches of any cause.
    #[must_use]
    pub fn mismatches(&self) -> u64 {
        self.mismatch.iter().sum()
    }

    /// Connections without window scaling, of any cause.
    #[must_use]
    pub fn scales_lost(&self) -> u64 {
        self.scale_lost.iter().sum()
    }

    /// Connections without a verdict, of any cause.
    #[must_use]
    pub fn unverifieds(&self) -> u64 {
        self.unverified.iter().sum()
    }

    /// Connections without a verdict that should have had one: neither under way when watching
    /// began nor gone before they were established.
    #[must_use]
    pub fn unexplained(&self) -> u64 {
        self.unverifieds()
            - self.unverified(UnverifiedCause::BeforeStart)
            - self.unverified(UnverifiedCause::NotEstablished)
    }

    /// Handshakes with a verdict, but for the ignored ones.
    #[must_use]
    pub fn judged(&self) -> u64 {
        self.ok + self.mismatches() + self.scales_lost()
    }

    /// All handshakes.
    #[must_use]
    pub fn handshakes(&self) -> u64 {
        self.judged() + self.ignored + self.unverifieds()
    }

    /// Each cause with its count, the ones that are 0 left out. A name that two verdicts share
    /// (`unknown`) is added up.
    #[must_use]
    pub fn causes(&self) -> BTreeMap<&'static str, u64> {
        let mismatch = MismatchCause::ALL.iter().map(|c| c.name());
        let lost = LostCause::ALL.iter().map(|c| c.name());
        let unverified = UnverifiedCause::ALL.iter().map(|c| c.name());
        let counts = self.mismatch.iter().chain(&self.scale_lost);
        let counts = counts.chain(&self.unverified);
        let mut causes = BTreeMap::new();
        for (name, count) in mismatch.chain(lost).chain(unverified).zip(counts) {
            if *count != 0 {
                *causes.entry(name).or_default() += count;
            }
        }
        causes
    }
}

/// Which verdicts make a gate fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// A mismatch does.
    pub mismatch: bool,
    /// A connection without window scaling does.
    pub scale_lost: bool,
    /// A connection without a verdict does, unless it was under way when watching began or never
    /// became established: neither says anything about what is being watched for.
    pub unverified: bool,
}

impl Gate {
    /// `--fail-on any`.
    pub const ANY: Self = Self {
        mismatch: true,
        scale_lost: true,
        unverified: true,
    };
}

/// What has been seen so far.
#[derive(Clone, Debug, Default)]
pub struct Books {
    all: Counts,
    // At most one entry a port, 65,536.
    ports: BTreeMap<u16, Counts>,
    remote_ports: BTreeMap<u16, Counts>,
    received: u64,
    filtered_out: u64,
    undecodable: u64,
    undecodable_handshakes: u64,
}

impl Books {
    pub(crate) fn received(&mut self) {
        self.received += 1;
    }

    pub(crate) fn handshake(&mut self, finding: &Finding) {
        // The port that stands for a service; the other one is chosen anew for each connection.
        let counts = match finding.role {
            Role::Server => self.ports.entry(finding.flow.local().port()),
            Role::Client => self.remote_ports.entry(finding.flow.remote().port()),
        };
        counts.or_default().add(finding);
        self.all.add(finding);
    }

    pub(crate) fn filtered_out(&mut self) {
        self.filtered_out += 1;
    }

    pub(crate) fn undecodable(&mut self, error: &DecodeError) {
        self.undecodable += 1;
        // What cannot be told may have been a handshake.
        if !matches!(
            error.kind(),
            Some(Kind::Closed | Kind::Window | Kind::Progress)
        ) {
            self.undecodable_handshakes += 1;
        }
    }

    /// Counts over all ports and both roles.
    #[must_use]
    pub fn all(&self) -> &Counts {
        &self.all
    }

    /// Counts of what this host accepted by local port, in order.
    pub fn ports(&self) -> impl Iterator<Item = (u16, &Counts)> {
        self.ports.iter().map(|(port, counts)| (*port, counts))
    }

    /// Counts of what this host opened by remote port, in order.
    pub fn remote_ports(&self) -> impl Iterator<Item = (u16, &Counts)> {
        self.remote_ports
            .iter()
            .map(|(port, counts)| (*port, counts))
    }

    /// Handshakes of one role.
    fn of_role(&self, role: Role) -> u64 {
        let ports = match role {
            Role::Server => &self.ports,
            Role::Client => &self.remote_ports,
        };
        ports.values().map(Counts::handshakes).sum()
    }

    /// Records of any kind that came in, undecodable ones included.
    #[must_use]
    pub fn events_received(&self) -> u64 {
        self.received
    }

    /// Records of any kind that could not be decoded.
    #[must_use]
    pub fn decode_errors(&self) -> u64 {
        self.undecodable
    }

    /// Handshakes that the filter of user space left out.
    #[must_use]
    pub fn handshakes_filtered_out(&self) -> u64 {
        self.filtered_out
    }

    /// Whether what was seen makes `gate` fail.
    #[must_use]
    pub fn trips(&self, gate: Gate) -> bool {
        gate.mismatch && self.all.mismatches() > 0
            || gate.scale_lost && self.all.scales_lost() > 0
            || gate.unverified && self.all.unexplained() > 0
    }

    /// Adds up and compares with what the kernel counted.
    #[must_use]
    pub fn totals(&self, kernel: KernelTotals) -> Totals {
        let lost = Lost {
            missed_runs: None,
            transport: kernel.lost,
            decode: self.undecodable_handshakes,
            filtered_out_in_user_space: self.filtered_out,
        };
        let arrived = self.all.handshakes() + lost.decode + lost.filtered_out_in_user_space;
        Totals {
            handshakes: kernel.handshakes,
            judged: self.all.judged(),
            ok: self.all.ok,
            mismatch: self.all.mismatches(),
            scale_lost: self.all.scales_lost(),
            ignored: self.all.ignored,
            unverified: self.all.unverifieds(),
            unverified_before_start: self.all.unverified(UnverifiedCause::BeforeStart),
            not_established: self.all.unverified(UnverifiedCause::NotEstablished),
            balanced: kernel.handshakes == kernel.sent + kernel.lost && kernel.sent == arrived,
            lost,
            roles: Role::ALL
                .iter()
                .map(|role| (role.name(), self.of_role(*role)))
                .collect(),
            paths: Path::ALL
                .iter()
                .map(|path| (path.name(), self.all.path(*path)))
                .collect(),
            causes: self.all.causes(),
        }
    }
}

/// What the kernel's programs counted of handshakes that passed their filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelTotals {
    /// Connections that left SYN_RECV, or SYN_SENT for ESTABLISHED: `Counter::Established` +
    /// `Counter::LeftSynRecv` + `Counter::Connected`.
    pub handshakes: u64,
    /// Those whose record reached the transport: `Counter::HandshakesSent`.
    pub sent: u64,
    /// Those for whose record there was no room: `Counter::HandshakesLost`.
    pub lost: u64,
}

/// The books added up, as the summary shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Left SYN_RECV, or SYN_SENT for ESTABLISHED, and passed the kernel's filter.
    pub handshakes: u64,
    /// With a verdict: `ok`, `mismatch` or `scale_lost`, but for the ignored ones.
    pub judged: u64,
    /// Judged sound.
    pub ok: u64,
    /// The two ends disagree.
    pub mismatch: u64,
    /// No window scaling.
    pub scale_lost: u64,
    /// No window scaling, by the doing of a peer that is not worth a finding: in no other column.
    pub ignored: u64,
    /// Without a verdict, of any cause.
    pub unverified: u64,
    /// Of those: can have been under way when watching began.
    pub unverified_before_start: u64,
    /// Of those: never became established.
    pub not_established: u64,
    /// Handshakes that were not looked at.
    pub lost: Lost,
    /// Whether verdicts and losses make exactly what the kernel counted.
    pub balanced: bool,
    /// Handshakes by which end this host is.
    pub roles: BTreeMap<&'static str, u64>,
    /// Handshakes by the way they came about.
    pub paths: BTreeMap<&'static str, u64>,
    /// Causes with their counts.
    pub causes: BTreeMap<&'static str, u64>,
}

impl Totals {
    /// The same with the runs of the state change's program that the kernel skipped, as far as it
    /// can tell.
    #[must_use]
    pub fn with_missed_runs(mut self, missed_runs: Option<u64>) -> Self {
        self.lost.missed_runs = missed_runs;
        self
    }
}

/// Handshakes that were not looked at, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The kernel skipped the program that counts them, so that they are in no other number;
    /// `None` where it cannot tell, and left out of the output then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_runs: Option<u64>,
    /// The transport had no room.
    pub transport: u64,
    /// The record could not be decoded.
    pub decode: u64,
    /// The filter of user space left them out: not a loss, but a column of its own.
    pub filtered_out_in_user_space: u64,
}

impl Lost {
    /// What makes a result inconclusive: events that should have been looked at.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.missed_runs.unwrap_or(0) + self.transport + self.decode
    }
}
