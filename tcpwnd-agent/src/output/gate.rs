//! The answer of `/api/v1/findings`: whether a port is free of damaged connections since a time, in
//! one word that a script can test, and everything that this word rests on.
//!
//! Constraint: `clean` and `healed` are said only if nothing is missing that could contradict.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tcpwnd_common::PortRange;
use tcpwnd_core::flows::OpenFlows;

use super::former::CarriedOver;
use super::question::Question;
use super::recent::Recent;
use crate::host::clock;
use crate::state::Numbers;

/// Most that the listed findings may come to, bytes; clients that do not read their answer keep it
/// in memory, one each.
const LISTED_BYTES: usize = 256 << 10;

/// What an answer rests on.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// The moment, nanoseconds of CLOCK_MONOTONIC.
    pub now_ns: u64,
    /// When watching began, nanoseconds of CLOCK_MONOTONIC.
    pub watching_since_ns: u64,
    /// Probes that should be attached and are not.
    pub missing: &'a [&'static str],
    /// Whether everything that the kernel had reported by now has been looked at.
    pub settled: bool,
    /// Whether what this host accepts is watched at all.
    pub accepted: bool,
    /// Ports that are watched; empty for all.
    pub watched: &'a [PortRange],
    /// Damaged connections that are open.
    pub open: &'a OpenFlows,
    /// What is known of a former agent; `None` without a state file.
    pub state: Option<Numbers>,
    /// What happened lately.
    pub recent: &'a Recent,
}

/// The word that a script tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No damaged connection came since, and none is open.
    Clean,
    /// Damaged connections came since, and none is open any more.
    Healed,
    /// Damaged connections are open.
    Damaged,
    /// None is known to be open, but something is missing; the reasons say what.
    Inconclusive,
}

/// Why an answer is not conclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// A name that does not change.
    pub code: &'static str,
    /// The same for people.
    pub text: String,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Answer<'a> {
    schema: u32,
    kind: &'static str,
    /// The word that a script tests.
    pub verdict: Verdict,
    /// What keeps it from being conclusive.
    pub reasons: Vec<Reason>,
    now: Time,
    since: Time,
    watching_since: Time,
    port: Option<u16>,
    ready: bool,
    complete: bool,
    events_lost: u64,
    handshakes_judged: u64,
    damaged_found: usize,
    unverified_found: usize,
    damaged_open: u64,
    open: Vec<OpenOn>,
    carried_over: Option<CarriedOver>,
    truncated: bool,
    findings: Vec<&'a RawValue>,
}

/// Open damaged connections of one port.
#[derive(Debug, Serialize)]
struct OpenOn {
    port: u16,
    mismatch: u64,
    scale_lost: u64,
}

/// Nanoseconds of CLOCK_MONOTONIC, written as the time of day.
#[derive(Debug)]
pub struct Time(pub u64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&clock::rfc3339(clock::wall(self.0)))
    }
}

impl<'a> Answer<'a> {
    /// Answers a question.
    #[must_use]
    pub fn to(question: &Question, evidence: &Evidence<'a>) -> Self {
        let Evidence { recent, .. } = *evidence;
        let since_ns = match question.since {
            // What has just become the future was asked for by a clock that was set back since.
            Some(time) => clock::ktime_ns(time).unwrap_or(evidence.now_ns),
            None => evidence.watching_since_ns,
        };
        let found = || recent.findings(since_ns, question.port);
        let open = open(evidence.open, question.port);
        let damaged_found = found().filter(|kept| kept.damaged).count();
        let unverified_found = found().count() - damaged_found;
        let damaged_open = open.iter().map(|on| on.mismatch + on.scale_lost).sum();
        let reasons = reasons(question, evidence, since_ns, unverified_found);
        let verdict = match (damaged_open, reasons.is_empty(), damaged_found) {
            (1.., _, _) => Verdict::Damaged,
            (0, false, _) => Verdict::Inconclusive,
            (0, true, 1..) => Verdict::Healed,
            (0, true, 0) => Verdict::Clean,
        };
        let findings = listed(found().rev().map(|kept| &*kept.line), question.limit);
        Self {
            schema: tcpwnd_core::findings::SCHEMA,
            kind: "findings",
            verdict,
            reasons,
            now: Time(evidence.now_ns),
            since: Time(since_ns),
            watching_since: Time(evidence.watching_since_ns),
            port: question.port,
            ready: evidence.missing.is_empty(),
            complete: recent.reaches_back_to(since_ns),
            events_lost: recent.lost_since(since_ns),
            handshakes_judged: recent.judged_since(since_ns, question.port),
            damaged_found,
            unverified_found,
            damaged_open,
            open,
            carried_over: evidence.state.map(|numbers| {
                CarriedOver::of(&numbers, evidence.open, question.port, question.limit)
            }),
            truncated: findings.len() < damaged_found + unverified_found,
            findings,
        }
    }
}

/// The latest ones that fit, oldest first.
fn listed<'a>(latest_first: impl Iterator<Item = &'a RawValue>, limit: usize) -> Vec<&'a RawValue> {
    let mut room = LISTED_BYTES;
    let fitting = latest_first.take(limit).map_while(|line| {
        room = room.checked_sub(line.get().len())?;
        Some(line)
    });
    let mut listed: Vec<_> = fitting.collect();
    listed.reverse();
    listed
}

fn open(flows: &OpenFlows, port: Option<u16>) -> Vec<OpenOn> {
    let ports = flows.ports().into_iter();
    let ports = ports.filter(|(number, _)| port.is_none_or(|port| port == *number));
    ports
        .map(|(port, open)| OpenOn {
            port,
            mismatch: open.mismatched,
            scale_lost: open.scale_lost,
        })
        .collect()
}

/// Everything that keeps an answer from being conclusive.
fn reasons(
    question: &Question,
    evidence: &Evidence<'_>,
    since_ns: u64,
    unverified: usize,
) -> Vec<Reason> {
    let recent = evidence.recent;
    let lost = recent.lost_since(since_ns);
    let watched = |port| {
        let mut ranges = evidence.watched.iter();
        evidence.watched.is_empty() || ranges.any(|r| (r.first..=r.last).contains(&port))
    };
    let since = clock::rfc3339(clock::wall(evidence.watching_since_ns));
    let checks = [
        (
            since_ns < evidence.watching_since_ns,
            "not_watching_yet",
            format!("there has been watching only since {since}"),
        ),
        (
            !evidence.missing.is_empty(),
            "not_ready",
            format!("not attached: {}", evidence.missing.join(", ")),
        ),
        (
            !evidence.accepted,
            "role_not_watched",
            "the agent's --role leaves out what this host accepts".to_owned(),
        ),
        (
            question.port.is_some_and(|port| !watched(port)),
            "port_not_watched",
            "the agent's --port leaves this port out".to_owned(),
        ),
        (
            lost > 0,
            "events_lost",
            format!("{lost} events were lost since"),
        ),
        (
            !recent.reaches_back_to(since_ns),
            "findings_dropped",
            format!(
                "of the findings since, only the last {} are known (--recent-findings)",
                recent.limit()
            ),
        ),
        (
            unverified > 0,
            "unverified",
            format!("{unverified} handshakes ended without a verdict"),
        ),
        (
            !evidence.settled,
            "behind",
            "the kernel reports handshakes faster than they are judged".to_owned(),
        ),
    ];
    let failed = checks.into_iter().filter(|(failed, _, _)| *failed);
    failed
        .map(|(_, code, text)| Reason { code, text })
        .chain(out_of_sight(question, evidence))
        .collect()
}

/// Whoever names a time asks what came since then; what former agents found was there before.
fn out_of_sight(question: &Question, evidence: &Evidence<'_>) -> Option<Reason> {
    let unchecked = evidence.state?.unchecked;
    (question.since.is_none() && unchecked > 0).then(|| Reason {
        code: "carried_over_unchecked",
        text: format!("{unchecked} damaged connections of former agents cannot be looked for"),
    })
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
