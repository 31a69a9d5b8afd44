//! 2,000 sound connections and 40 damaged ones whose handshakes nobody saw: all 40 are among the
//! suspects, watching settles them, and no sound one is taken for damaged, however much it looks so.

mod cost;
mod crowd;
mod report;
mod traffic;

pub use cost::play as cost;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::crowd::Guests;
use self::report::Report;
use super::bench::Bench;
use crate::agent::Caps;
use crate::broker::Broker;
use crate::crowd::raise_descriptor_limit;
use crate::net::{Pair, PairOptions};
use crate::socket::ListenOptions;
use crate::wait;

/// Damaged connections, and those of them that have to be settled.
pub const DAMAGED: usize = 40;
const SETTLED: usize = 36;

/// Sound connections of all kinds.
pub const SOUND: usize = 2_000;

/// How long the suspects are watched.
const WATCH: &str = "60s";
const WATCH_LIMIT: Duration = Duration::from_secs(150);

pub fn play(bench: &Bench) -> Result<String> {
    raise_descriptor_limit(3 * (SOUND + DAMAGED) as u64)?;
    let pair = Pair::new(PairOptions::default())?;
    let listen = ListenOptions {
        // None of the sound ones is to come by cookie.
        backlog: 4_096,
        ..ListenOptions::default()
    };
    let broker = Broker::start(&pair.server, &listen)?;
    let guests = Guests::invite(&pair, &broker)?;
    ensure!(
        guests.sound() == SOUND && guests.damaged.len() == DAMAGED,
        "{} sound and {} damaged connections",
        guests.sound(),
        guests.damaged.len()
    );

    let first = pair.server.enter(|| Report::of(bench, &[]))?;
    check_suspects(&guests, &first, !bench.rcvbuf_sets_clamp()?)?;
    if bench.launch.caps == Caps::All {
        from_another_namespace(bench, &pair, &first)?;
    }

    let mechanism = bench.launch.mechanism.name();
    let arguments = [
        "scan",
        "--json",
        "--port",
        "9092",
        "--confirm",
        "--for",
        WATCH,
        "--mechanism",
        mechanism,
    ];
    let mut agent = pair.server.enter(|| bench.launch.start(&arguments))?;
    let traffic = traffic::start(&guests)?;
    wait::until_true(WATCH_LIMIT, "the watch to end", || {
        Ok(agent.count("scan") > 0)
    })?;
    traffic.stop()?;
    let (lines, code) = agent.wait_end()?;
    ensure!(code == 0, "scan ended with {code}");
    check_verdicts(&guests, &Report::read(&lines)?)
}

/// All that are damaged, and of the sound ones none that cannot be.
fn check_suspects(guests: &Guests, report: &Report, by_route: bool) -> Result<()> {
    let suspects: BTreeSet<SocketAddr> = report.suspects.iter().map(|at| at.remote()).collect();
    ensure!(
        report.totals.connections as usize == SOUND + DAMAGED
            && report.totals.suspects == suspects.len(),
        "{} connections should be {}: {:?}",
        report.totals.connections,
        SOUND + DAMAGED,
        report.totals
    );
    for damaged in &guests.damaged {
        let address = damaged.address()?;
        ensure!(suspects.contains(&address), "{address} is no suspect");
    }
    let (mut least, mut most) = (u32::MAX, 0);
    for suspect in &report.suspects {
        if guests.told(suspect.remote())?.is_some() {
            least = least.min(suspect.score);
        } else {
            most = most.max(suspect.score);
        }
    }
    ensure!(
        least >= most,
        "a damaged one has a score of {least}, and a sound one of {most}"
    );
    let routed = if by_route { &[] } else { &guests.routed[..] };
    let plain = guests.plain.iter().chain(&guests.without_timestamps);
    for sound in plain.chain(routed) {
        let address = sound.address()?;
        ensure!(!suspects.contains(&address), "{address} is a suspect");
    }
    for (reason, sound) in guests.suspicious(by_route) {
        let address = sound.address()?;
        let suspect = report.suspects.iter().find(|at| at.remote() == address);
        let suspect = suspect.with_context(|| format!("{address} is no suspect"))?;
        ensure!(suspect.has(reason), "not {reason}: {suspect:?}");
    }
    Ok(())
}

/// Root sees the same from outside.
fn from_another_namespace(bench: &Bench, pair: &Pair, inside: &Report) -> Result<()> {
    let resident = pair.server.enter(|| {
        let child = std::process::Command::new("sleep").arg("1000").spawn();
        child.context("failed to run sleep")
    });
    let mut resident = resident?;
    let netns = pair.server.inode()?.to_string();
    let outside = Report::of(bench, &["--netns", &netns]);
    // It fails only for a process that has ended.
    let _ = resident.kill();
    let _ = resident.wait();
    let outside = outside?;
    let of = |report: &Report| -> BTreeSet<_> {
        let suspects = report.suspects.iter();
        suspects.map(|at| (at.remote(), at.score)).collect()
    };
    ensure!(
        of(&outside) == of(inside) && outside.totals.unseen.is_empty(),
        "another namespace is seen otherwise than from within: {:?}",
        outside.totals
    );
    Ok(())
}

fn check_verdicts(guests: &Guests, report: &Report) -> Result<String> {
    let mut settled = 0;
    let mut left = None;
    for suspect in &report.suspects {
        let verdict = suspect.verdict()?;
        match (guests.told(suspect.remote())?, verdict) {
            (Some(told), "mismatch") => {
                let advertised = suspect.advertised();
                ensure!(
                    advertised == Some(told),
                    "the client was told {told}, but: {suspect:?}"
                );
                settled += 1;
            }
            (Some(_), "undecided") => left = Some(suspect),
            // Of these all it is true that they do not scale.
            (None, "undecided" | "cleared" | "scale_lost") => {}
            (told, _) => anyhow::bail!("wrong, for one that was told {told:?}: {suspect:?}"),
        }
    }
    ensure!(
        settled >= SETTLED,
        "{settled} of {DAMAGED} damaged connections were settled, among those left is {left:?}, whose \
         client believes {:?}",
        left.map(|suspect| guests.believes(suspect.remote()))
    );
    let outcomes = &report
        .totals
        .confirmed
        .as_ref()
        .context("no outcomes")?
        .outcomes;
    Ok(format!(
        "{DAMAGED} damaged of {} among {} suspects; {settled} settled, {} sound ones cleared",
        report.totals.connections,
        report.suspects.len(),
        outcomes.get("cleared").copied().unwrap_or(0)
    ))
}
