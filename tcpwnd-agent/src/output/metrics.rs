//! What `/metrics` says.
//!
//! Constraint: made anew at each scrape from the books, the table of open connections and the
//! programs' counters. Nothing is kept here, so nothing here can grow or go stale. Labels are
//! bounded: ports by [`PortLabels`], everything else by the lists in the code.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tcpwnd_common::{Counter, ListenerSlot};
use tcpwnd_core::books::{Books, Counts};
use tcpwnd_core::flows::{OpenFlows, OpenPort};
use tcpwnd_core::{LostCause, MismatchCause, Path, Role, UnverifiedCause};

use super::connections::Connections;
use super::exposition::{Family, Labels};
use super::ports::PortLabels;
use super::recent::Recent;
use super::{clients, former, itself, listening};
use crate::host::process::Process;
use crate::probes::{self, CountersSnapshot, ProbeStatus};
use crate::state::Numbers;

/// Everything that a scrape looks at, as of one moment.
pub struct View<'a> {
    /// Which local ports have a label; `None` where what this host accepts is not looked at.
    pub ports: Option<&'a PortLabels>,
    /// Which remote ports have one; `None` where what this host opens is not looked at.
    pub remote_ports: Option<&'a PortLabels>,
    /// What has been counted of handshakes.
    pub books: &'a Books,
    /// Damaged connections that are open.
    pub flows: &'a OpenFlows,
    /// Listeners that were seen.
    pub listeners: &'a [ListenerSlot],
    /// The programs' counters.
    pub counters: &'a CountersSnapshot,
    /// What became of each hook.
    pub probes: &'a [ProbeStatus],
    /// Findings that are kept for the findings page.
    pub recent: &'a Recent,
    /// What is kept for the next agent; `None` without a state file.
    pub state: Option<Numbers>,
    /// Lines that the log was spared.
    pub log_lines_held_back: u64,
    /// The HTTP connections.
    pub connections: &'a Connections,
    /// What confines this process, by name, and whether it does.
    pub layers: &'a [(&'static str, bool)],
    /// When watching began, seconds since the epoch.
    pub watching_since: f64,
    /// The kernel's release.
    pub kernel: &'a str,
    /// What carries records.
    pub backend: &'static str,
    /// This process.
    pub process: Process,
}

/// Counters of the programs that stand for something that did not come out, and what `stage`
/// calls them. Handshakes without a record are verdicts and not listed here.
const LOSSES: [Counter; 10] = [
    Counter::HandshakesLost,
    Counter::ClosedLost,
    Counter::WindowsLost,
    Counter::SocketUnreadable,
    Counter::SynackUnreadable,
    Counter::SynackNotStored,
    Counter::OpenTableFull,
    Counter::WatchTableFull,
    Counter::ListenersNotCounted,
    Counter::EntryMissed,
];

/// Every metric.
#[must_use]
pub fn families(view: &View<'_>) -> Vec<Family> {
    let mut all = Vec::new();
    // 0 of what is not looked at would be a claim.
    if let Some(ports) = view.ports {
        all.extend(handshakes(view, ports));
        all.push(ignored(
            (ports, "local_port"),
            view.books.ports(),
            Family::counter(
                "tcpwnd_window_scale_ignored",
                "Connections without window scaling by the doing of a peer of --ignore-peer",
            ),
        ));
        all.extend(open(view, ports));
    }
    if let Some(ports) = view.remote_ports {
        all.extend(clients::families(ports, view.books, view.flows));
    }
    all.extend(tracked(view));
    if let Some(numbers) = &view.state {
        all.extend(former::families(numbers, view.flows));
    }
    if let Some(ports) = view.ports {
        all.extend(listening::families(ports, view.listeners));
    }
    all.extend(events(view));
    all.extend(hooks(view));
    all.extend(itself::http(view));
    all.extend(itself::about(view));
    all
}

pub(super) fn port_label(label: Cow<'static, str>) -> Labels {
    vec![("local_port", label)]
}

/// Adds up by label, beginning with a zero for each.
pub(super) fn by_label<T: Default>(
    ports: &PortLabels,
    items: impl Iterator<Item = (u16, T)>,
    add: impl Fn(&mut T, T),
) -> BTreeMap<Cow<'static, str>, T> {
    let mut sums: BTreeMap<_, T> = ports.all().map(|label| (label, T::default())).collect();
    for (port, item) in items {
        add(sums.entry(ports.label(port)).or_default(), item);
    }
    sums
}

/// One counter per port and member of `all`, which is called `name`.
pub(super) fn per_port<'a, T: Copy>(
    (labels, label): (&PortLabels, &'static str),
    counts: impl Iterator<Item = (u16, &'a Counts)>,
    family: Family,
    (name, all): (&'static str, &[T]),
    text: impl Fn(T) -> &'static str,
    count: impl Fn(&Counts, T) -> u64,
) -> Family {
    let counts = counts.map(|(port, counts)| {
        (
            port,
            all.iter()
                .map(|member| count(counts, *member))
                .collect::<Vec<_>>(),
        )
    });
    let sums = by_label(labels, counts, |sum: &mut Vec<u64>, item| {
        sum.resize(all.len(), 0);
        for (sum, item) in sum.iter_mut().zip(item) {
            *sum += item;
        }
    });
    sums.into_iter().fold(family, |family, (port, sums)| {
        let sums = sums.into_iter().chain(std::iter::repeat(0));
        all.iter().zip(sums).fold(family, |family, (member, sum)| {
            let labels = vec![(label, port.clone()), (name, text(*member).into())];
            family.with(labels, sum as f64)
        })
    })
}

/// The four counters of handshakes: what is counted, and their names and helps.
pub(super) fn of_handshakes<'a, I: Iterator<Item = (u16, &'a Counts)>>(
    role: Role,
    ports: (&PortLabels, &'static str),
    counts: impl Fn() -> I,
    [paths, mismatch, lost, unverified]: [Family; 4],
) -> Vec<Family> {
    let of_role = |is: fn(Path, Role) -> bool| -> Vec<Path> {
        Path::ALL
            .iter()
            .copied()
            .filter(|of| is(*of, role))
            .collect()
    };
    let all_paths = of_role(Path::is_of);
    let mismatches: Vec<_> = MismatchCause::ALL
        .iter()
        .copied()
        .filter(|at| at.is_of(role))
        .collect();
    let losses: Vec<_> = LostCause::ALL
        .iter()
        .copied()
        .filter(|at| at.is_of(role))
        .collect();
    let doubts: Vec<_> = UnverifiedCause::ALL
        .iter()
        .copied()
        .filter(|at| at.is_of(role))
        .collect();
    vec![
        per_port(
            ports,
            counts(),
            paths,
            ("path", &all_paths),
            Path::name,
            Counts::path,
        ),
        per_port(
            ports,
            counts(),
            mismatch,
            ("cause", &mismatches),
            MismatchCause::name,
            Counts::mismatch,
        ),
        per_port(
            ports,
            counts(),
            lost,
            ("cause", &losses),
            LostCause::name,
            Counts::scale_lost,
        ),
        per_port(
            ports,
            counts(),
            unverified,
            ("cause", &doubts),
            UnverifiedCause::name,
            Counts::unverified,
        ),
    ]
}

/// The counter of what is not worth a finding.
pub(super) fn ignored<'a>(
    (ports, label): (&PortLabels, &'static str),
    counts: impl Iterator<Item = (u16, &'a Counts)>,
    family: Family,
) -> Family {
    let counts = counts.map(|(port, counts)| (port, counts.ignored));
    let sums = by_label(ports, counts, |sum: &mut u64, count| *sum += count);
    sums.into_iter().fold(family, |family, (port, sum)| {
        family.with(vec![(label, port)], sum as f64)
    })
}

fn handshakes(view: &View<'_>, ports: &PortLabels) -> Vec<Family> {
    of_handshakes(
        Role::Server,
        (ports, "local_port"),
        || view.books.ports(),
        [
            Family::counter(
                "tcpwnd_handshakes",
                "Connections that left SYN_RECV, by the way they came about",
            ),
            Family::counter(
                "tcpwnd_window_scale_mismatches",
                "Connections whose announced window scale is not the one in use",
            ),
            Family::counter(
                "tcpwnd_window_scale_lost",
                "Connections without window scaling that could have had it",
            ),
            Family::counter(
                "tcpwnd_window_scale_unverified",
                "Connections without a verdict, for lack of evidence",
            ),
        ],
    )
}

/// Adds up open connections by label.
pub(super) fn open_by_label(
    ports: &PortLabels,
    open: BTreeMap<u16, OpenPort>,
) -> BTreeMap<Cow<'static, str>, OpenPort> {
    by_label(ports, open.into_iter(), |sum: &mut OpenPort, item| {
        sum.mismatched += item.mismatched;
        sum.scale_lost += item.scale_lost;
        sum.worst_shrink_factor = sum.worst_shrink_factor.max(item.worst_shrink_factor);
        let lowest = [
            sum.lowest_ceiling_bytes_per_second,
            item.lowest_ceiling_bytes_per_second,
        ];
        sum.lowest_ceiling_bytes_per_second = lowest.into_iter().flatten().reduce(f64::min);
    })
}

/// A gauge of open connections, one sample a label that has a value.
pub(super) fn open_gauge(
    label: &'static str,
    sums: &BTreeMap<Cow<'static, str>, OpenPort>,
    family: Family,
    value: fn(&OpenPort) -> Option<f64>,
) -> Family {
    sums.iter()
        .fold(family, |family, (port, sum)| match value(sum) {
            Some(value) => family.with(vec![(label, port.clone())], value),
            None => family,
        })
}

fn open(view: &View<'_>, ports: &PortLabels) -> Vec<Family> {
    let sums = open_by_label(ports, view.flows.ports());
    let gauge =
        |name, help, value| open_gauge("local_port", &sums, Family::gauge(name, help), value);
    vec![
        gauge(
            "tcpwnd_mismatched_connections",
            "Open connections whose announced window scale is not the one in use",
            |port| Some(port.mismatched as f64),
        ),
        gauge(
            "tcpwnd_scale_lost_connections",
            "Open connections without window scaling that could have had it",
            |port| Some(port.scale_lost as f64),
        ),
        gauge(
            "tcpwnd_worst_shrink_factor",
            "How many times too small a window looks to its sender, on the worst open \
             connection; 1 when none does",
            |port| Some(port.worst_shrink_factor.max(1.0)),
        ),
        gauge(
            "tcpwnd_lowest_throughput_ceiling_bytes_per_second",
            "Throughput that the window allows on the worst open damaged connection; absent when \
             there is none or its round-trip time is not known",
            |port| port.lowest_ceiling_bytes_per_second,
        ),
    ]
}

fn tracked(view: &View<'_>) -> Vec<Family> {
    vec![
        Family::gauge(
            "tcpwnd_tracked_flows",
            "Open damaged connections that are remembered",
        )
        .value(view.flows.len() as f64),
        Family::gauge("tcpwnd_tracked_flows_limit", "Most that are remembered")
            .value(view.flows.limit() as f64),
    ]
}

fn events(view: &View<'_>) -> Vec<Family> {
    let mut lost = Family::counter(
        "tcpwnd_events_lost",
        "What happened in the kernel and did not come out, by where it was lost",
    );
    for counter in LOSSES {
        let labels = vec![("stage", counter.name().into())];
        lost = lost.with(labels, view.counters.get(counter) as f64);
    }
    let more = [
        // Where the kernel cannot tell there is no such series; 0 would be a claim.
        ("missed_runs", probes::missed_handshakes(view.probes)),
        ("flows_limit", Some(view.flows.refused())),
    ];
    for (stage, count) in more {
        if let Some(count) = count {
            lost = lost.with(vec![("stage", stage.into())], count as f64);
        }
    }
    vec![
        Family::counter(
            "tcpwnd_events_received",
            "Records that came from the kernel programs",
        )
        .value(view.books.events_received() as f64),
        lost,
        Family::counter("tcpwnd_decode_errors", "Records that could not be decoded")
            .value(view.books.decode_errors() as f64),
    ]
}

fn hooks(view: &View<'_>) -> Vec<Family> {
    let mut attached = Family::gauge("tcpwnd_probe_attached", "1 while the probe is attached");
    let mut runs = Family::counter("tcpwnd_probe_runs", "Runs of the probe's programs");
    let mut missed = Family::counter(
        "tcpwnd_probe_missed_runs",
        "Runs of the probe's programs that the kernel skipped; absent where it cannot tell",
    );
    let mut seconds = Family::counter(
        "tcpwnd_probe_run_seconds",
        "Time that the probe's programs took; absent while kernel.bpf_stats_enabled is 0",
    );
    for status in view.probes {
        let probe = ("probe", Cow::Borrowed(status.probe.name()));
        let mechanism = status.mechanism.map_or("none", probes::Mechanism::name);
        let labels = vec![probe.clone(), ("mechanism", mechanism.into())];
        attached = attached.with(labels, f64::from(u8::from(status.attached)));
        runs = runs.with(vec![probe.clone()], status.runs as f64);
        if let Some(count) = status.missed {
            missed = missed.with(vec![probe.clone()], count as f64);
        }
        if let Some(time) = status.run_time_ns {
            seconds = seconds.with(vec![probe], time as f64 / 1e9);
        }
    }
    vec![attached, runs, missed, seconds]
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
