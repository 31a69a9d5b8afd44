//! Whether a host is at risk, for people.
//!
//! Constraint: says nothing that the JSON does not say.

use std::fmt::Write;
use std::net::SocketAddr;

use tcpwnd_core::risk::{Assessment, Finding, Level, ListenerReport, Remedy};

/// The text, which ends with the verdict.
#[must_use]
pub fn text(assessment: &Assessment) -> String {
    let mut out = String::from("settings of this network namespace:\n");
    for finding in &assessment.findings {
        describe(&mut out, "  ", finding);
    }
    out.push_str("counted already (TcpExt of /proc/net/netstat):\n");
    for finding in &assessment.happened {
        describe(&mut out, "  ", finding);
    }
    let counters = &assessment.counters;
    let zero = counters.values().filter(|count| **count == 0).count();
    let all = counters.len();
    line(&mut out, format_args!("  {zero} of {all} counters are 0"));
    out.push_str("listeners of this network namespace:\n");
    for listener in assessment.listeners.iter().flatten() {
        of_listener(&mut out, listener);
    }
    if assessment.listeners.as_ref().is_some_and(Vec::is_empty) {
        out.push_str("  none\n");
    }
    if !assessment.unseen.is_empty() {
        out.push_str("not seen:\n");
    }
    for unseen in &assessment.unseen {
        line(&mut out, format_args!("  {unseen}"));
    }
    line(&mut out, format_args!("{}", verdict(assessment)));
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

fn describe(out: &mut String, indent: &str, finding: &Finding) {
    let Finding {
        level, about, read, ..
    } = finding;
    line(out, format_args!("{indent}{level:<7} {about:<30} {read}"));
    line(out, format_args!("{indent}        {}", finding.why));
    for remedy in &finding.remedies {
        line(
            out,
            format_args!("{indent}        do: {}", instruction(remedy)),
        );
    }
}

fn instruction(remedy: &Remedy) -> String {
    match (remedy.present, remedy.proposed) {
        (Some(present), Some(proposed)) => {
            format!("{}: {present} now, {proposed} proposed", remedy.what)
        }
        _ => remedy.what.to_owned(),
    }
}

/// One line for a listener that is in order.
fn of_listener(out: &mut String, listener: &ListenerReport) {
    let address = SocketAddr::new(listener.addr, listener.port);
    let process = match &listener.process {
        Some(process) => {
            let kafka = if process.kafka { "Kafka, " } else { "" };
            format!("{} ({kafka}pid {})", process.name, process.pid)
        }
        None => "process not seen".to_owned(),
    };
    line(
        out,
        format_args!("  {:<7} {address}, {process}", listener.level),
    );
    let worth = listener.findings.iter().filter(|one| one.level > Level::Ok);
    for finding in worth {
        describe(out, "    ", finding);
    }
}

fn verdict(assessment: &Assessment) -> String {
    let count = |level| {
        let settings = assessment.findings.iter().chain(&assessment.happened);
        let listeners = assessment.listeners.iter().flatten();
        let findings = settings.chain(listeners.flat_map(|one| &one.findings));
        findings.filter(|one| one.level == level).count()
    };
    let counts = format!(
        "risks: {}, notices: {}",
        count(Level::Risk),
        count(Level::Notice)
    );
    match (assessment.level, assessment.unseen.is_empty()) {
        (Level::Risk, _) => format!("this host is at risk; {counts}"),
        (_, true) => format!("no risk was found; {counts}"),
        (_, false) => format!("no risk was found in what was seen; {counts}"),
    }
}

#[cfg(test)]
#[path = "risk_tests.rs"]
mod tests;
