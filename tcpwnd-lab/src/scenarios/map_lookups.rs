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
    let played = undergo(bench)?;
    ensure!(
        bench.launch.mechanism != Mechanism::Kprobe || played.disturbed > 0,
        "nothing was skipped, so that nothing was tested: {}",
        played.told
    );
    Ok(played.told)
}

struct Played {
    /// What was seen, in one line.
    told: String,
    /// Handshakes without verdict, and runs that the kernel says it skipped.
    disturbed: u64,
}

fn undergo(bench: &Bench) -> Result<Played> {
    let pair = Pair::new(PairOptions { delay: DELAY })?;
    let broker = Broker::start(&pair.server, &ListenOptions::default())?;
    let listen = free_address()?;
    let scraped = bench.launch.serve(listen, &[])?;
    let mut agent = bench.trace()?;
    let lookups = Lookups::start(2)?;
    let (scrapes, resets) = while_scraped(listen, || crowd(&pair))?;
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
    let of_scraped = scraped_books(listen, handshakes)?;
    ensure!(
        bench.launch.mechanism == Mechanism::Kprobe || of_scraped == 0.0,
        "with fentry nothing may be missed, but the scraped agent has {of_scraped} unverified"
    );
    drop(scraped);
    let missed: u64 = report
        .summary
        .probes
        .iter()
        .filter_map(|probe| probe.missed)
        .sum();
    let told = format!(
        "{handshakes} handshakes, {looked_up} lookups, {scrapes} scrapes: {} ok, {unverified} \
         unverified, {missed} runs counted as skipped, {resets} more reset by the server",
        report.summary.ok
    );
    Ok(Played {
        told,
        disturbed: unverified + missed,
    })
}

/// Has an agent scraped all the time while something is done; returns how often, and what came of it.
fn while_scraped<T>(listen: SocketAddr, work: impl FnOnce() -> Result<T>) -> Result<(u32, T)> {
    let scraping = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let mut count = 0u32;
            while scraping.load(Ordering::Acquire) {
                get(listen, "/metrics")?;
                count += 1;
            }
            Ok::<_, anyhow::Error>(count)
        });
        let done = work();
        scraping.store(false, Ordering::Release);
        let scrapes = scraper.join().ok().context("the scraper panicked")??;
        done.map(|done| (scrapes, done))
    })
}

/// Waits until the scraped agent has counted every handshake, and returns how many of them have no
/// verdict.
fn scraped_books(listen: SocketAddr, handshakes: usize) -> Result<f64> {
    let mut page = String::new();
    let mut counted = 0.0;
    wait::until_true(PATIENCE, "the scraped agent to count everything", || {
        page = get(listen, "/metrics")?;
        counted = metric(&page, "tcpwnd_handshakes_total", &[])?;
        Ok(counted == handshakes as f64)
    })
    .with_context(|| format!("it counted {counted}"))?;
    metric(&page, "tcpwnd_window_scale_unverified_total", &[])
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
