//! `check`: can it run here? Asked by doing it: everything is attached for a moment. And is this
//! host at risk? That needs no probes, and has no say in the exit code.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use tcpwnd_core::risk::{self, Assessment};

use super::{CLEAN, FAILED};
use crate::cli::{CheckArgs, CheckFormat, RoleArg, RoleArgs};
use crate::config;
use crate::confine::{self, Layer};
use crate::host::{listeners, netstat, reason, sysctls};
use crate::kernel;
use crate::kernel::features::{Features, Support, bpf};
use crate::kernel::host::{Capability, Host};
use crate::output;
use crate::probes::{self, Attached, ProbeStatus, TransportChoice};
use crate::transport::Transport;

/// What was found, in the order in which it is printed.
#[derive(Serialize)]
struct Report {
    schema: u32,
    kind: &'static str,
    kernel: String,
    capabilities: Vec<Fact>,
    features: Vec<Fact>,
    confinement: Vec<Fact>,
    probes: Vec<Fact>,
    degradations: Vec<Fact>,
    error: Option<String>,
    risk: Assessment,
}

/// A name and what is to be said of it.
#[derive(Serialize)]
struct Fact {
    name: &'static str,
    state: String,
}

/// Runs `check`.
///
/// # Errors
/// When an option is wrong, or the report cannot be written.
pub fn run(args: &CheckArgs) -> Result<u8> {
    let settings = config::settings(
        &config::Filter::default(),
        RoleArgs {
            role: RoleArg::Both,
        },
        &args.kernel,
        true,
    )?;
    let host = Host::read();
    let features = Features::probe(&host);
    let runtime = super::runtime()?;
    let _guard = runtime.enter();
    let attached = probes::attach(&settings);
    let (confinement, unconfined) = confinement();
    let error = attached.as_ref().err().map(ToString::to_string);
    let report = Report {
        schema: 1,
        kind: "check",
        kernel: kernel::release(),
        capabilities: capabilities(&host),
        features: self::features(&features, &host, settings.transport),
        confinement,
        probes: attached
            .as_ref()
            .map(|attached| probes(&attached.status()))
            .unwrap_or_default(),
        degradations: attached.as_ref().map(degradations).unwrap_or_default(),
        error: error.or(unconfined),
        risk: at_risk(settings.btf.as_deref()),
    };
    drop(attached);
    let code = if report.error.is_none() {
        CLEAN
    } else {
        FAILED
    };
    let text = if args.json || args.format == CheckFormat::Json {
        serde_json::to_string(&report)? + "\n"
    } else {
        report.text()
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(code)
}

/// What can be seen of this process' network namespace, and what is made of it.
fn at_risk(btf: Option<&Path>) -> Assessment {
    let mut unseen = Vec::new();
    let heeds_adv_win_scale = kernel::heeds_adv_win_scale(btf).unwrap_or_else(|_| {
        unseen.push(sysctls::NO_BTF.to_owned());
        false
    });
    let settings = sysctls::read(heeds_adv_win_scale);
    unseen.extend(sysctls::unseen(&settings));
    let counters = netstat::read().unwrap_or_else(|error| {
        unseen.push(format!("counters: /proc/net/netstat: {}", reason(&error)));
        Default::default()
    });
    let (listeners, hidden) = listeners::read();
    unseen.extend(hidden);
    risk::assess(&risk::Host {
        settings,
        counters,
        listeners,
        unseen,
    })
}

fn capabilities(host: &Host) -> Vec<Fact> {
    let known = [
        ("CAP_BPF", Capability::Bpf),
        ("CAP_PERFMON", Capability::Perfmon),
        ("CAP_SYS_ADMIN", Capability::SysAdmin),
    ];
    let state = |capability| match host.has(capability) {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    known
        .map(|(name, capability)| Fact {
            name,
            state: state(capability).to_owned(),
        })
        .into()
}

fn features(features: &Features, host: &Host, choice: TransportChoice) -> Vec<Fact> {
    let all = [
        ("ring buffer", &features.ring_buffer),
        ("raw tracepoint", &features.raw_tracepoint),
        ("fentry", &features.fentry),
        ("kprobe", &features.kprobe),
    ];
    let state = |support: &Support| match support {
        Support::Supported => "supported".to_owned(),
        Support::Unsupported(why) => format!("unsupported: {why}"),
        Support::Forbidden(why) => format!("forbidden: {why}"),
    };
    let facts = all.map(|(name, support)| Fact {
        name,
        state: state(support),
    });
    // Without bpf(2) there is nothing to carry.
    let carries = !matches!(bpf(host), Support::Unsupported(_));
    let transport = carries.then(|| {
        let (transport, why) = probes::transport(choice, host);
        let carrier = match transport {
            Transport::Ring => "ring buffer",
            Transport::Perf => "perf buffers",
        };
        Fact {
            name: "transport",
            state: format!("{carrier}: {why}"),
        }
    });
    facts.into_iter().chain(transport).collect()
}

/// What `run` could confine itself by, and why it would refuse to run if it would.
fn confinement() -> (Vec<Fact>, Option<String>) {
    let found = match confine::attempt() {
        Ok(found) => found,
        Err(error) => return (Vec::new(), Some(error.to_string())),
    };
    let fact = |(name, layer): (_, &Layer)| Fact {
        name,
        state: layer.to_string(),
    };
    let broken = found.check().err().map(|error| error.to_string());
    (found.layers().map(fact).into(), broken)
}

fn probes(all: &[ProbeStatus]) -> Vec<Fact> {
    let state = |status: &ProbeStatus| {
        let how = match status.mechanism {
            Some(mechanism) => format!("{} on {}", mechanism.name(), status.symbol),
            None => "not there".to_owned(),
        };
        match &status.reason {
            Some(reason) => format!("{how} ({reason})"),
            None => how,
        }
    };
    all.iter()
        .map(|status| Fact {
            name: status.probe.name(),
            state: state(status),
        })
        .collect()
}

fn degradations(attached: &Attached) -> Vec<Fact> {
    let fact = |d: &kernel::Degradation| Fact {
        name: d.what,
        state: d.consequence.to_owned(),
    };
    attached.degradations().iter().map(fact).collect()
}

/// Reports with something in every list, on a host of which little could be seen.
#[cfg(test)]
pub fn examples() -> Vec<serde_json::Value> {
    let fact = || {
        vec![Fact {
            name: "x",
            state: "y".to_owned(),
        }]
    };
    let listener = risk::Listener {
        addr: std::net::Ipv4Addr::UNSPECIFIED.into(),
        port: 9092,
        queue_len: 0,
        queue_limit: 50,
        rcvbuf: None,
        process: None,
    };
    let report = |listeners| Report {
        schema: 1,
        kind: "check",
        kernel: kernel::release(),
        capabilities: fact(),
        features: fact(),
        confinement: fact(),
        probes: fact(),
        degradations: fact(),
        error: None,
        risk: risk::assess(&risk::Host {
            settings: risk::Settings {
                tcp_adv_win_scale: Some(1),
                ..risk::Settings::default()
            },
            listeners,
            ..risk::Host::default()
        }),
    };
    [Some(vec![listener]), None]
        .map(|listeners| serde_json::to_value(report(listeners)).unwrap_or_default())
        .into()
}

impl Report {
    fn text(&self) -> String {
        let mut out = format!("kernel {}\n", self.kernel);
        let sections = [
            ("capabilities", &self.capabilities),
            ("features", &self.features),
            ("confinement of run", &self.confinement),
            ("probes", &self.probes),
            ("missing in this kernel", &self.degradations),
        ];
        for (title, facts) in sections.into_iter().filter(|(_, facts)| !facts.is_empty()) {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{title}:");
            for fact in facts {
                let _ = writeln!(out, "  {:<22} {}", fact.name, fact.state);
            }
        }
        match &self.error {
            None => out.push_str("it can run here\n"),
            Some(error) => {
                let _ = writeln!(out, "it cannot run here: {error}");
            }
        }
        out + &output::risk::text(&self.risk)
    }
}
