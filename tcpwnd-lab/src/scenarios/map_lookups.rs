//! Somebody else's map lookups occupy both CPUs, and a second agent is scraped all the time: with
//! fentry nothing is lost, with kernel probes what the kernel skips is unverified or counted.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::open_now::free_address;
use super::stage::PORT;
use crate::agent::{Mechanism, Report};
use crate::bpf::Lookups;
use crate::broker::Broker;
use crate::client::come_and_go_in_a_crowd;
use crate::http::{get, metric};
use crate::net::{Pair, PairOptions};
use crate::socket::ListenOptions;
use crate::wait::{self, PATIENCE};

/// The delay's timer makes packets arrive in the midst of whatever runs, lookups included, and not
/// only where somebody sends something.
const DELAY: Duration = Duration::from_micros(500);

/// Handshakes.
const COUNT: usize = 20_000;

/// Clients at once.
const CLIENTS: usize = 8;

pub fn play(bench: &Bench) -> Result<String> {
    let pair = Pair::new(PairOptions { delay: DELAY })?;
    let broker = Broker::start(&pair.server, &ListenOptions::default())?;
    let listen = free_address()?;
    let text = listen.to_string();
    let mechanism = bench.launch.mechanism.name();
    let scraped = bench.launch.start(&[
        "run",
        "--listen",
        &text,
        "--port",
        "9092",
        "--mechanism",
        mechanism,
    ])?;
    let mut agent = bench.trace()?;
    let lookups = Lookups::start(2)?;
    let scraping = AtomicBool::new(true);
    let (scrapes, resets) = std::thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let mut count = 0u32;
            while scraping.load(Ordering::Acquire) {
                get(listen, "/metrics")?;
                count += 1;
            }
            Ok::<_, anyhow::Error>(count)
        });
        let visited = crowd(&pair);
        scraping.store(false, Ordering::Release);
        let scrapes = scraper.join().ok().context("the scraper panicked")??;
        visited.map(|resets| (scrapes, resets))
    })?;
    let looked_up = lookups.finish();
    // Of a connection that was reset the server has its end, or it has not.
    let handshakes = broker.wait_accepted(COUNT)?.len();
    ensure!(
        handshakes <= COUNT + resets,
        "{COUNT} visits and {resets} more that were reset, but {handshakes} were accepted"
    );
    agent.wait_handshakes(handshakes)?;
    let report = agent.finish()?;
    check(&report, handshakes)?;
    let unverified = report.summary.unverified;
    if bench.launch.mechanism != Mechanism::Kprobe {
        ensure!(
            unverified == 0,
            "with fentry nothing may be missed: {:?}",
            report.with_verdict("unverified").collect::<Vec<_>>()
        );
    }
    let mut counted = 0.0;
    wait::until_true(PATIENCE, "the scraped agent to count everything", || {
        counted = metric(&get(listen, "/metrics")?, "tcpwnd_handshakes_total", &[])?;
        Ok(counted == handshakes as f64)
    })
    .with_context(|| format!("it counted {counted}"))?;
    drop(scraped);
    let missed: u64 = report
        .summary
        .probes
        .iter()
        .filter_map(|probe| probe.missed)
        .sum();
    Ok(format!(
        "{handshakes} handshakes, {looked_up} lookups, {scrapes} scrapes: {} ok, {unverified} \
         unverified, {missed} runs counted as skipped, {resets} more reset by the server",
        report.summary.ok
    ))
}

/// Several clients at once; returns how many more connections were reset.
fn crowd(pair: &Pair) -> Result<usize> {
    let to = SocketAddr::new(Pair::SERVER_V4, PORT);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| come_and_go_in_a_crowd(&pair.client, to, COUNT / CLIENTS)))
            .collect();
        let mut resets = 0;
        for client in clients {
            resets += client.join().ok().context("a client panicked")??;
        }
        Ok(resets)
    })
}

/// Everything is accounted for, and nothing is a finding.
fn check(report: &Report, handshakes: usize) -> Result<()> {
    let summary = &report.summary;
    ensure!(
        summary.handshakes == handshakes as u64
            && summary.ok + summary.unverified == summary.handshakes,
        "all {handshakes} must be ok or unverified: {summary:?}"
    );
    let causes = report
        .with_verdict("unverified")
        .map(|at| at.cause.as_deref());
    for cause in causes {
        ensure!(
            cause == Some("no_record"),
            "unverified for another reason: {cause:?}"
        );
    }
    Ok(())
}
