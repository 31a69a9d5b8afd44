//! What to do about damaged connections, most useful first.
//!
//! Constraint: a step is given only where a cause that was found calls for it, and a setting's
//! present value only where it was read.

mod cookies;
mod listens;
mod opened;

use std::collections::{BTreeMap, BTreeSet};

use tcpwnd_core::detect::window_scale::{
    ChangedInput, Input, LostCause, MismatchCause, Path, Verdict,
};
use tcpwnd_core::findings::{AcceptedEvidence, Evidence, Finding};

use self::listens::Listens;
use self::opened::Opened;
use super::impact::Worst;
use crate::host::settings::Settings;

/// How the step begins that the commands belong to which close connections.
pub const RECONNECT: &str = "reconnect";

/// What findings have in common, gathered as they come.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    /// The damaged direction that is held back most.
    pub worst: Option<Worst>,
    mismatch: BTreeSet<MismatchCause>,
    lost: BTreeSet<LostCause>,
    by_cookie: bool,
    /// SO_RCVBUF of the listeners that have it set, bytes as the application gave them: the smallest
    /// and the largest.
    rcvbuf: Option<(u32, u32)>,
    netns: BTreeSet<u32>,
    listens: Listens,
    changed: BTreeMap<&'static str, ChangedInput>,
    /// Shift counts that a SYN proxy's rule announced and that the sockets used.
    synproxy: BTreeSet<(u8, u8)>,
    opened: Opened,
}

/// A listen queue that was too short.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// Its limit, connections.
    pub limit: u32,
    /// SYN cookies that were sent instead of taking connections into it.
    pub cookies: u64,
}

impl Hints {
    /// Takes in a handshake.
    pub fn add(&mut self, finding: &Finding) {
        if !finding.is_damaged() {
            return;
        }
        self.worst = self
            .worst
            .into_iter()
            .chain(Worst::of(finding))
            .reduce(Worst::or);
        self.netns.insert(finding.flow.netns());
        let evidence = match &finding.evidence {
            Evidence::Accepted(evidence) => evidence,
            Evidence::Opened(evidence) => return self.opened.add(finding.verdict, evidence),
        };
        self.listens.add(finding.listener.process.as_ref());
        self.by_cookie |= finding.path == Path::Cookie;
        match finding.verdict {
            Verdict::Mismatch(cause) => {
                self.rcvbuf(evidence);
                self.mismatch.insert(cause);
                if cause == MismatchCause::SynproxyWscale
                    && let Some(receive) = finding.receive
                {
                    self.synproxy.extend(receive.advertised.zip(receive.used));
                }
                self.changed
                    .extend(finding.inputs.iter().map(|(name, change)| (*name, *change)));
            }
            Verdict::ScaleLost(cause) => {
                self.lost.insert(cause);
            }
            Verdict::Ok | Verdict::Unverified(_) => {}
        }
    }

    /// Notes the SO_RCVBUF of a listener, as it was last.
    fn rcvbuf(&mut self, evidence: &AcceptedEvidence) {
        let mut last_first = evidence.cookie_inputs.into_iter().chain(evidence.inputs);
        if let Some(set) = last_first.find(|inputs| inputs.rcvbuf_locked) {
            // The kernel doubles what the application passes (sock_setsockopt, net/core/sock.c).
            let bytes = set.rcvbuf / 2;
            let (least, most) = self.rcvbuf.unwrap_or((bytes, bytes));
            self.rcvbuf = Some((least.min(bytes), most.max(bytes)));
        }
    }

    fn any(&self, causes: &[MismatchCause]) -> bool {
        causes.iter().any(|cause| self.mismatch.contains(cause))
    }

    /// How an input changed, as in `from 1 to 2`; nothing where it was not seen.
    fn change(&self, input: Input) -> String {
        self.changed
            .get(input.name())
            .map_or_else(String::new, |at| {
                format!(" (it went from {} to {})", at.synack, at.ack)
            })
    }
}

/// The steps; none where nothing is damaged. `queue` is of the listener that sent most cookies.
#[must_use]
pub fn steps(hints: &Hints, settings: &Settings, queue: Option<Queue>) -> Vec<String> {
    let accepted = !hints.mismatch.is_empty() || !hints.lost.is_empty();
    if !accepted && hints.opened.is_empty() {
        return Vec::new();
    }
    // Settings of another namespace than the listener's say nothing about it.
    let here = settings
        .netns
        .is_some_and(|own| hints.netns.iter().all(|netns| *netns == own));
    let settings = if here { *settings } else { Settings::default() };
    if !accepted {
        let mut steps = hints.opened.steps(&settings);
        steps.push(format!(
            "{RECONNECT} what was opened here, once that is done: a connection keeps \
             for life what its handshake agreed on"
        ));
        return steps;
    }
    let mut steps = vec![format!(
        "{RECONNECT} the damaged clients: closing the connection heals it (restarting the server can \
         bring on the same flood again)"
    )];
    if hints.by_cookie {
        steps.extend(cookies::steps(&hints.listens, &settings, queue));
    }
    steps.extend(cookies::of_buffer(hints));
    steps.extend(of_timestamps(hints, &settings));
    if hints.any(&[MismatchCause::CookieIgnoredRcvbuf]) {
        steps.push(
            "a kernel whose cookie path respects SO_RCVBUF: this one does not (Linux commit \
             909172a14974, in 5.10 and 5.4.78)"
                .to_owned(),
        );
    }
    steps.extend(of_synproxy(hints));
    steps.extend(of_changes(hints));
    steps.extend(of_ends(hints, &settings));
    steps.extend(hints.opened.steps(&settings));
    // Both ends may have asked for the same.
    let mut said = BTreeSet::new();
    steps.retain(|step| said.insert(step.clone()));
    steps
}

fn of_timestamps(hints: &Hints, settings: &Settings) -> Option<String> {
    let stripped = hints.any(&[MismatchCause::CookieTimestampsMissing])
        || hints.lost.contains(&LostCause::CookieWithoutTimestamps);
    let disabled = hints.any(&[MismatchCause::TimestampsDisabled]);
    let now = match settings.timestamps {
        Some(value) => format!(" (now {value} on this host)"),
        None => String::new(),
    };
    if stripped {
        return Some(format!(
            "keep TCP timestamps on the whole path: net.ipv4.tcp_timestamps=1 on both ends{now}, and \
             nothing in between that strips them"
        ));
    }
    disabled.then(|| {
        format!("net.ipv4.tcp_timestamps=1{now}: it was switched off while clients connected")
    })
}

/// What the rule of netfilter's SYN proxy should announce.
fn of_synproxy(hints: &Hints) -> Vec<String> {
    let mut steps: Vec<_> = hints
        .synproxy
        .iter()
        .map(|(announced, used)| {
            format!(
                "wscale {used} in the rule of netfilter's SYN proxy (now {announced}): the proxy's \
                 shift count is the one that clients believe, and must be the sockets'"
            )
        })
        .collect();
    if hints.lost.contains(&LostCause::SynproxyWithoutScale) {
        steps.push(
            "timestamp and wscale in the rule of netfilter's SYN proxy: it announces a scale only \
             with both, and to clients that offer both"
                .to_owned(),
        );
    }
    steps
}

/// What was changed while clients connected.
fn of_changes(hints: &Hints) -> Vec<String> {
    let settings = [
        (
            MismatchCause::TcpRmemChanged,
            "the last value of net.ipv4.tcp_rmem",
            Input::TcpRmemMax,
        ),
        (
            MismatchCause::RmemMaxChanged,
            "net.core.rmem_max",
            Input::RmemMax,
        ),
        (
            MismatchCause::AdvWinScaleChanged,
            "net.ipv4.tcp_adv_win_scale",
            Input::AdvWinScale,
        ),
        (
            MismatchCause::RouteWindowChanged,
            "the window of the route to the clients",
            Input::RouteWindow,
        ),
    ];
    let options = [
        (MismatchCause::RcvbufChanged, "SO_RCVBUF", Input::Rcvbuf),
        (
            MismatchCause::WindowClampChanged,
            "TCP_WINDOW_CLAMP",
            Input::WindowClamp,
        ),
        (
            MismatchCause::RcvlowatChanged,
            "SO_RCVLOWAT",
            Input::Rcvlowat,
        ),
    ];
    let found = |(cause, ..): &&(MismatchCause, &str, Input)| hints.any(&[*cause]);
    let mut steps = Vec::new();
    for (_, what, input) in settings.iter().filter(found) {
        let change = hints.change(*input);
        steps.push(format!("change {what} while no clients connect{change}"));
    }
    for (_, what, input) in options.iter().filter(found) {
        let change = hints.change(*input);
        steps.push(format!(
            "set {what} before listen(), and leave it alone{change}"
        ));
    }
    if hints.any(&[MismatchCause::ListenerChanged]) {
        steps.push(
            "give every listener of the port the same SO_RCVBUF: a cookie was answered to another \
             one than had sent it"
                .to_owned(),
        );
    }
    steps
}

/// What one of the ends does without.
fn of_ends(hints: &Hints, settings: &Settings) -> Vec<String> {
    let mut steps = Vec::new();
    if hints.lost.contains(&LostCause::PeerDidNotOffer) {
        steps.push(
            "some clients offer no window scaling: look at their settings, and for a middlebox that \
             strips the option"
                .to_owned(),
        );
    }
    if hints.lost.contains(&LostCause::DisabledHere) {
        steps.push(set(
            "net.ipv4.tcp_window_scaling",
            settings.window_scaling,
            1,
        ));
    }
    steps
}

/// A setting with the proposed value and the present one.
fn set(name: &str, now: Option<u32>, wanted: u64) -> String {
    match now {
        Some(now) if u64::from(now) >= wanted => format!("{name} as it is ({now})"),
        Some(now) => format!("{name}={wanted} (now {now})"),
        None => format!("{name}={wanted}"),
    }
}

#[cfg(test)]
#[path = "remedy_tests.rs"]
mod tests;
