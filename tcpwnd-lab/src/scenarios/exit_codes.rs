//! The exit codes as a script sees them, and filters: what they leave out is neither a finding nor
//! lost.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::bench::Bench;
use super::stage::Stage;
use crate::agent::{Agent, Report};

/// Addresses of the IPv4 peers.
const SOUND: &str = "10.9.1.1";
const DAMAGED: &str = "10.9.1.3";

/// The peers: sound over IPv4, sound over IPv6, damaged over IPv4.
const PEERS: usize = 3;

/// Options of an agent that sees the peers connect, and how it must end.
struct Case {
    options: &'static [&'static str],
    code: i32,
    /// Which peers it must report.
    reported: [bool; PEERS],
}

/// Each takes the emulated machine seconds, so an agent is asked several things at once.
const CASES: [Case; 6] = [
    Case {
        options: &["--min-handshakes", "4"],
        code: 3,
        reported: [true, true, true],
    },
    // Findings win.
    Case {
        options: &["--fail-on", "mismatch", "--min-handshakes", "4"],
        code: 1,
        reported: [true, true, true],
    },
    Case {
        options: &["-4", "--fail-on", "scale-lost,unverified"],
        code: 0,
        reported: [true, false, true],
    },
    // The finding is left out.
    Case {
        options: &["-6", "--fail-on", "any", "--min-handshakes", "1"],
        code: 0,
        reported: [false, true, false],
    },
    // So it is here, and what is left out is not judged.
    Case {
        options: &["--host", SOUND, "--fail-on", "any", "--min-handshakes", "2"],
        code: 3,
        reported: [true, false, false],
    },
    Case {
        options: &["--host", DAMAGED, "--fail-on", "mismatch"],
        code: 1,
        reported: [false, false, true],
    },
];

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::with_cookies()?;
    let mut agents = Vec::new();
    for case in &CASES {
        agents.push(bench.launch.trace("9092", case.options)?);
    }
    let (mut first, mut second) = (stage.peer(1), stage.peer_of(true, 2));
    first.connect()?;
    second.connect()?;
    let damaged = stage.damaged(3..=3)?;
    stage.broker.wait_accepted(PEERS)?;
    let peers = [first.local(), second.local(), damaged[0].local()];
    for (peer, address) in [(0, SOUND), (2, DAMAGED)] {
        let is = peers[peer].ip().to_string();
        ensure!(is == address, "peer {peer} is {is}, not {address}");
    }
    for (case, agent) in CASES.iter().zip(agents) {
        ended(case, agent, &peers)?;
    }
    ends_by_itself(bench)?;
    Ok(format!(
        "{} agents ended as they must, and one more after --for 2s",
        CASES.len()
    ))
}

/// Ends an agent and checks what it says.
fn ended(case: &Case, mut agent: Agent, peers: &[SocketAddr; PEERS]) -> Result<()> {
    let options = case.options;
    let expected: Vec<_> = peers
        .iter()
        .zip(case.reported)
        .filter_map(|(peer, reported)| reported.then_some(*peer))
        .collect();
    agent.wait_handshakes(expected.len())?;
    let report = agent.finish_with(case.code)?;
    ensure!(
        report.handshakes.len() == expected.len(),
        "with {options:?} {} handshakes were reported",
        report.handshakes.len()
    );
    for peer in expected {
        let verdict = if peer == peers[2] { "mismatch" } else { "ok" };
        let finding = report.of(peer)?;
        ensure!(
            finding.verdict == verdict,
            "with {options:?} reported was {finding:?}"
        );
    }
    // The programs leave out by family, the agent by host, which counts them.
    let left_out = if options.contains(&"--host") {
        peers.len() - report.handshakes.len()
    } else {
        0
    };
    nothing_lost(&report, left_out as u64)
}

/// Nothing was lost, and this many handshakes were left out by the agent.
fn nothing_lost(report: &Report, left_out: u64) -> Result<()> {
    const FILTERED: &str = "filtered_out_in_user_space";
    let lost = &report.summary.lost;
    ensure!(
        lost.get(FILTERED) == Some(&Some(left_out)) && report.summary.lost() == left_out,
        "{left_out} are left out and none is lost, but reported was {lost:?}"
    );
    Ok(())
}

/// An agent that nobody ends.
fn ends_by_itself(bench: &Bench) -> Result<()> {
    const LIMIT: Duration = Duration::from_secs(2);
    let begun = Instant::now();
    let agent = bench.launch.trace("9092", &["--for", "2s"])?;
    let report = agent.ended_with(0)?;
    let took = begun.elapsed();
    ensure!(took >= LIMIT, "--for 2s was over after {took:?}");
    ensure!(
        report.summary.handshakes == 0,
        "nobody connected: {:?}",
        report.summary
    );
    nothing_lost(&report, 0)
}
