//! What it costs to scan 18,000 sockets: not much more than what `ss` takes to list the same ones.
//!
//! Why no time is asked for: that would be about the machine and whatever else it does. The seconds
//! are told.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::super::bench::Bench;
use super::super::stage::PORT;
use super::report::Report;
use crate::crowd::Crowd;
use crate::net::Namespace;
use crate::usage::{self, Usage};

/// Connections over loopback; both ends of each are sockets of this host.
const CONNECTIONS: usize = 9_000;
const SOCKETS: usize = 2 * CONNECTIONS;

/// How many times the processor time of `ss -tin` a scan may take: measured was 1.1 times, with
/// neither program the same from one version to the next.
const TIMES_SS: u32 = 4;

/// Sockets that come with one read, at least: measured were 64.
const SOCKETS_A_READ: u64 = 20;

/// The best of so many counts: whatever else runs can only make it more.
const RUNS: usize = 5;

pub fn play(bench: &Bench) -> Result<String> {
    let host = Namespace::new()?;
    host.enter(|| {
        let _crowd = Crowd::gather(PORT, CONNECTIONS)?;
        let (scans, lists) = measure(bench)?;
        let scan = least(&scans).context("no scan")?;
        let list = least(&lists).context("no list")?;
        ensure!(
            scan.cpu <= list.cpu * TIMES_SS,
            "scan took {:?} of processor time, and ss {:?}",
            scan.cpu,
            list.cpu
        );
        let reads = scan.reads.map(|(calls, _)| calls);
        ensure!(
            reads.is_none_or(|calls| calls <= SOCKETS as u64 / SOCKETS_A_READ),
            "{SOCKETS} sockets were read by {reads:?} system calls"
        );
        let reads = reads.map_or("uncounted".to_owned(), |calls| calls.to_string());
        Ok(format!(
            "{SOCKETS} sockets in {:.2} s, {:.3} s of processor time ({:.1} times that of ss), {reads} \
             reads",
            scan.elapsed.as_secs_f64(),
            scan.cpu.as_secs_f64(),
            scan.cpu.as_secs_f64() / list.cpu.as_secs_f64(),
        ))
    })
}

/// Both by turns, so that both meet the same machine.
fn measure(bench: &Bench) -> Result<(Vec<Usage>, Vec<Usage>)> {
    let (mut scans, mut lists) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let done = usage::run(&mut bench.launch.command(&["scan", "--json"]))?;
        ensure!(done.status.success(), "scan ended with {}", done.status);
        let lines: Vec<_> = done.output.lines().map(str::to_owned).collect();
        let totals = Report::read(&lines)?.totals;
        ensure!(
            totals.connections == CONNECTIONS as u64 && totals.others >= CONNECTIONS as u64,
            "{SOCKETS} sockets are {totals:?}"
        );
        scans.push(done.usage);
        // One line for each, with what the kernel knows of it, which is what a scan reads, too.
        let done = usage::run(Command::new("ss").arg("-tinHO"))?;
        let listed = done.output.lines().count();
        ensure!(
            done.status.success() && listed == SOCKETS,
            "ss lists {listed} sockets of {SOCKETS}"
        );
        lists.push(done.usage);
    }
    Ok((scans, lists))
}

fn least(all: &[Usage]) -> Option<Usage> {
    all.iter().copied().min_by_key(|usage| usage.cpu)
}
