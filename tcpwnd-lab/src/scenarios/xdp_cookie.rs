//! An XDP program answers in the stack's place, with cookies that the stack takes for its own: what
//! the peer was told is not known, and that is said, with the reason as long as that can be told.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::bench::{Bench, compare};
use super::provoked::{Expected, Provocation};
use super::stage::{COOKIES, PORT, Stage, unlocked};
use crate::wait::{self, PATIENCE};
use crate::xdp_cookie::{ANNOUNCED, XdpCookies};

/// How long ago the agent must have begun for a handshake without a record not to be one from before:
/// 64 ticks of the cookie's timestamp, as many again that the program takes off, and what probes may
/// need to take effect.
const BEGUN: Duration = Duration::from_millis(400);

pub fn play(bench: &Bench) -> Result<String> {
    // The peer echoes a timestamp that the program made, without the offset that the stack would add.
    let timestamps = ("net/ipv4/tcp_timestamps", "2");
    let stage = Stage::new(&unlocked(), &[COOKIES, &[timestamps]].concat())?;
    let program = XdpCookies::attach(&stage.server, "tun0")?;
    let mut agent = bench.trace()?;
    let begun = Instant::now();
    wait::until_true(PATIENCE, "the agent to have watched for a while", || {
        Ok(begun.elapsed() > BEGUN)
    })?;
    let elsewhere = answered(&stage, 1)?;
    drop(program);
    let mut ordinary = stage.peer(2);
    ordinary.connect()?;
    stage.broker.wait_accepted(2)?;
    // The stack has sent a cookie by now.
    let program = XdpCookies::attach(&stage.server, "tun0")?;
    let both = answered(&stage, 3)?;
    drop(program);
    let accepted = stage.broker.wait_accepted(3)?;
    agent.wait_handshakes(3)?;
    let report = agent.finish()?;

    let cause = "bpf_cookie";
    let done = "an XDP program answers, with SYN cookies of the stack's kind";
    let what = Provocation::unverified(cause, done);
    bench.provoked(&what, report.of(elsewhere)?)?;
    let done = "the same, at a listener for which the stack has sent a cookie, too";
    let what = Provocation::unverified(cause, done).here(
        Expected::Unverified("no_record"),
        "a record of the stack's own SYN+ACK that was pushed out looks the same",
    );
    bench.provoked(&what, report.of(both)?)?;
    let near = Provocation::near_miss(cause, "the XDP program is gone", Expected::Ok);
    bench.provoked(&near, report.of(ordinary.local())?)?;
    compare(&report, PORT, &accepted[1..2], &[])?;
    let used = accepted.first().and_then(|accepted| accepted.info.used());
    ensure!(
        used.is_some_and(|used| used != ANNOUNCED),
        "the socket uses what the program announced: {used:?}"
    );
    let listener = report.summary.listeners.first();
    ensure!(
        listener.is_some_and(|at| at.cookies_sent == 1 && at.cookies_valid == 3),
        "not three cookies, one of them sent by the stack: {listener:?}"
    );
    Ok(format!(
        "told {ANNOUNCED}, used {used:?}: unverified, bpf_cookie; the stack's own: ok"
    ))
}

/// Connects a peer, which the program answers.
fn answered(stage: &Stage, number: u16) -> Result<SocketAddr> {
    let mut peer = stage.peer(number);
    let synack = peer.connect()?;
    ensure!(
        synack.options.window_scale == Some(ANNOUNCED),
        "the program did not answer: {synack:?}"
    );
    stage.broker.wait_accepted(usize::from(number))?;
    Ok(peer.local())
}
