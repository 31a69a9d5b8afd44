//! What is hooked into the kernel right now: BPF objects, functions under trace, kernel probes.
//!
//! Constraint: asks the kernel and bpftool only, never the agent.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::net::output;

/// Where the kernel lists functions under trace, whoever traces them.
const FUNCTIONS: &str = "/sys/kernel/tracing/enabled_functions";

/// Where the kernel lists kernel probes.
const PROBES: &str = "/sys/kernel/debug/kprobes/list";

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// BPF programs, maps and links, each as kind, id and name; a link's is its tracepoint's.
    pub objects: BTreeSet<String>,
    /// Kernel functions under trace.
    pub functions: BTreeSet<String>,
    /// Kernel functions with a probe.
    pub probes: BTreeSet<String>,
}

impl Hooks {
    /// Looks.
    ///
    /// # Errors
    /// When bpftool, tracefs or debugfs is not there.
    pub fn look() -> Result<Self> {
        Ok(Self {
            objects: objects()?,
            functions: column(FUNCTIONS, 0)?,
            // `ffffffff81000000  k  tcp_make_synack+0x0    [FTRACE]`
            probes: column(PROBES, 2)?,
        })
    }

    /// The kernel functions and raw tracepoints that anything of anybody's is attached to.
    #[must_use]
    pub fn attached_to(&self) -> BTreeSet<&str> {
        let functions = self.functions.iter().chain(&self.probes);
        let functions = functions.filter_map(|name| name.split('+').next());
        let links = self.objects.iter().filter(|of| of.starts_with("link "));
        let tracepoints = links.filter_map(|link| link.split_whitespace().nth(2));
        functions.chain(tracepoints).collect()
    }

    /// What is here and not there, for messages.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Vec<String> {
        let objects = self.objects.difference(&other.objects);
        let functions = self.functions.difference(&other.functions);
        let probes = self.probes.difference(&other.probes);
        objects.chain(functions).chain(probes).cloned().collect()
    }
}

/// BPF programs, maps and links, each as kind and id: all that a kernel in lockdown still shows.
///
/// # Errors
/// When bpftool is not there, or fails each time.
pub fn objects() -> Result<BTreeSet<String>> {
    let mut objects = BTreeSet::new();
    for kind in ["prog", "map", "link"] {
        for object in list(kind)?.as_array().into_iter().flatten() {
            let name = object["name"].as_str().or(object["tp_name"].as_str());
            let name = name.unwrap_or_default();
            // bpftool's own helpers for its listing come and go.
            if !BPFTOOL.contains(&name) {
                objects.insert(format!("{kind} {} {name}", object["id"]));
            }
        }
    }
    Ok(objects)
}

/// How often bpftool is asked. `link show` failed twice on 6.12, while links came and went, and said
/// nothing on standard error; why is not known. (Its exit code is what `errno` happens to be at the
/// end: do_show, tools/bpf/bpftool/link.c.) If it fails each time, the message has all that it said.
const TRIES: usize = 5;

/// What bpftool lists, as JSON.
fn list(kind: &str) -> Result<Value> {
    let line = format!("bpftool -j {kind} show");
    let mut listed = output(&line);
    for _ in 1..TRIES {
        if listed.is_ok() {
            break;
        }
        listed = output(&line);
    }
    serde_json::from_str(listed?.trim()).with_context(|| format!("bpftool {kind} printed no JSON"))
}

/// What bpftool loads while it lists links and programs (skeleton/pid_iter.bpf.c).
const BPFTOOL: [&str; 4] = [
    "iter",
    "pid_iter.rodata",
    "libbpf_global",
    "libbpf_det_bind",
];

fn column(path: &str, number: usize) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    let words = text
        .lines()
        // `<tab>direct-->bpf_trampoline_1234_0` says more of the line before it.
        .filter(|line| !line.starts_with('\t'))
        .filter_map(|line| line.split_whitespace().nth(number));
    Ok(words.map(str::to_owned).collect())
}
