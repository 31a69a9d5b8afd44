//! Peers that never scale and are not worth a finding (`--ignore-peer`): what they did not offer is
//! counted and no more, and everything else about them is reported as of anybody.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::open_now::free_address;
use super::stage::{PORT, Stage};
use super::transmit_path::attached;
use crate::agent::Report;
use crate::findings::Answer;
use crate::http::{get, metric};
use crate::peer::{Offer, Peer};
use crate::tun::Tun;
use crate::wait::{self, PATIENCE};

/// Where the first peers of a stage are.
const IGNORED: &str = "10.9.1.0/24,fd09::100/120";

/// Number of the first peer outside of that.
const OUTSIDE: u16 = 0x100;

const LABEL: &[&str] = &["local_port=\"9092\""];

/// Two agents that ignore the same peers, and six connections by cookie: two without an offer from
/// peers that are ignored, and the same from others; two from peers that are ignored, to which
/// something is done here.
pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::with_cookies()?;
    let listen = free_address()?;
    let ignoring = ["--ignore-peer", IGNORED];
    let mut daemon = bench.launch.serve(listen, &ignoring)?;
    let mut agent = bench.launch.trace("9092", &ignoring)?;

    let unscaled = Offer {
        window_scale: None,
        ..Offer::default()
    };
    let mut ignored = connect(&stage, [(false, 1), (true, 1)], &unscaled)?;
    agent.wait_handshakes(2)?;
    ensure!(
        !attached()?,
        "the transmit path is probed for peers that are ignored"
    );
    let outside = [(false, OUTSIDE), (true, OUTSIDE)];
    let mut found = connect(&stage, outside, &unscaled)?;
    let plain = Offer {
        timestamps: false,
        ..Offer::default()
    };
    found.extend(connect(&stage, [(false, 2)], &plain)?);
    stage.broker.wait_accepted(5)?;
    found.extend(stage.damaged(3..=3)?);
    agent.wait_handshakes(6)?;

    check_pages(listen)?;
    // Those first whose ends must not be told.
    for peer in ignored.iter_mut().chain(&mut found) {
        peer.reset()?;
    }
    agent.wait_kind("closed", found.len())?;
    let open = || {
        metric(
            &get(listen, "/metrics")?,
            "tcpwnd_scale_lost_connections",
            LABEL,
        )
    };
    wait::until_true(PATIENCE, "the gauge to return to 0", || Ok(open()? == 0.0))?;

    check_report(&agent.finish()?, &ignored, &found)?;
    daemon.signal(libc::SIGTERM)?;
    let (log, code) = daemon.wait_end()?;
    ensure!(code == 0, "tcpwnd run ended with {code}");
    check_log(&log, &ignored)?;
    Ok("2 ignored; of others, and by others' doing: 4 findings".to_owned())
}

/// Connects these peers, each by its family (IPv6 or not) and number.
fn connect<'s>(
    stage: &'s Stage,
    peers: impl IntoIterator<Item = (bool, u16)>,
    offer: &Offer,
) -> Result<Vec<Peer<'s>>> {
    let peers = peers.into_iter().map(|(v6, number)| {
        let local = SocketAddr::new(Tun::client(v6, number), 40_000 + number);
        let server = Tun::server(v6, PORT);
        let mut peer = Peer::offering(&stage.tun, local, server, offer.clone());
        peer.connect()?;
        Ok(peer)
    });
    peers.collect()
}

/// While all six are open: only four count as damaged.
fn check_pages(listen: SocketAddr) -> Result<()> {
    let page = || get(listen, "/metrics");
    wait::until_true(PATIENCE, "six handshakes", || {
        Ok(metric(&page()?, "tcpwnd_handshakes_total", LABEL)? == 6.0)
    })?;
    let page = page()?;
    for (name, expected) in [
        ("tcpwnd_window_scale_ignored_total", 2.0),
        ("tcpwnd_window_scale_lost_total", 3.0),
        ("tcpwnd_window_scale_mismatches_total", 1.0),
        ("tcpwnd_scale_lost_connections", 3.0),
        ("tcpwnd_mismatched_connections", 1.0),
    ] {
        let value = metric(&page, name, LABEL)?;
        ensure!(value == expected, "{name} is {value}, not {expected}");
    }
    let answer = get(listen, "/api/v1/findings?port=9092")?;
    let answer: Answer =
        serde_json::from_str(&answer).with_context(|| format!("not an answer: {answer}"))?;
    ensure!(
        (answer.findings.len(), answer.damaged_open) == (4, 4),
        "there are four findings, all open: {answer:?}"
    );
    Ok(())
}

/// What `trace` said: of those that are ignored that they are, and no more.
fn check_report(report: &Report, ignored: &[Peer<'_>], found: &[Peer<'_>]) -> Result<()> {
    for peer in ignored {
        let handshake = report.of(peer.local())?;
        handshake.expect("scale_lost", "cookie", Some("peer_did_not_offer"))?;
        ensure!(handshake.ignored, "not ignored: {handshake:?}");
        let told = report.windows.iter().map(|window| window.flow);
        let told = told.chain(report.closed.iter().map(|closed| closed.flow));
        ensure!(
            told.clone()
                .all(|flow| flow.remote.address() != peer.local()),
            "something was told of {}, which is ignored",
            peer.local()
        );
    }
    let verdicts = [
        ("scale_lost", "peer_did_not_offer"),
        ("scale_lost", "peer_did_not_offer"),
        ("scale_lost", "cookie_without_timestamps"),
        ("mismatch", "tcp_rmem_changed"),
    ];
    for (peer, (verdict, cause)) in found.iter().zip(verdicts) {
        let handshake = report.of(peer.local())?;
        handshake.expect(verdict, "cookie", Some(cause))?;
        ensure!(!handshake.ignored, "ignored: {handshake:?}");
    }
    let summary = &report.summary;
    let counts = (summary.ignored, summary.scale_lost, summary.mismatch);
    ensure!(counts == (2, 3, 1), "the books have {summary:?}");
    ensure!(
        report.closed.len() == found.len(),
        "ends were told of {:?}",
        report.closed
    );
    Ok(())
}

/// What `run` logged.
fn check_log(log: &[String], ignored: &[Peer<'_>]) -> Result<()> {
    for peer in ignored {
        let remote = format!("remote={} ", peer.local());
        let line = log.iter().find(|line| line.contains(&remote));
        ensure!(line.is_none(), "logged, though it is ignored: {line:?}");
    }
    for (what, expected) in [
        (" scale_lost cause=peer_did_not_offer ", 2),
        (" scale_lost cause=cookie_without_timestamps ", 1),
        (" mismatch cause=tcp_rmem_changed ", 1),
        (" closed local=", 4),
    ] {
        let lines = log.iter().filter(|line| line.contains(what)).count();
        ensure!(lines == expected, "{lines} lines{what}: {log:#?}");
    }
    Ok(())
}
