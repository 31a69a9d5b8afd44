//! An XDP program answers in the stack's place, with cookies that the stack takes for its own: what
//! the peer was told is not known, and nothing is made of it.

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
    let mut answered_elsewhere = stage.peer(1);
    let synack = answered_elsewhere.connect()?;
    ensure!(
        synack.options.window_scale == Some(ANNOUNCED),
        "the program did not answer: {synack:?}"
    );
    stage.broker.wait_accepted(1)?;
    drop(program);
    let mut ordinary = stage.peer(2);
    ordinary.connect()?;
    let accepted = stage.broker.wait_accepted(2)?;
    agent.wait_handshakes(2)?;
    let report = agent.finish()?;

    let foreign = report.of(answered_elsewhere.local())?;
    let cause = "no_record";
    let what = "an XDP program answers, with cookies of the stack's kind";
    bench.provoked(&Provocation::unverified(cause, what), foreign)?;
    let what = "the XDP program is gone";
    let near = Provocation::near_miss(cause, what, Expected::Ok);
    bench.provoked(&near, report.of(ordinary.local())?)?;
    compare(&report, PORT, &accepted[1..], &[])?;
    let used = accepted.first().and_then(|accepted| accepted.info.used());
    ensure!(
        used.is_some_and(|used| used != ANNOUNCED),
        "the socket uses what the program announced: {used:?}"
    );
    // The other way to see that somebody else sends cookies.
    let listener = report.summary.listeners.first();
    ensure!(
        listener.is_some_and(|at| at.cookies_sent == 1 && at.cookies_valid == 2),
        "not two cookies, one of them sent by the stack: {listener:?}"
    );
    Ok(format!(
        "told {ANNOUNCED}, used {used:?}: unverified, no_record; the stack's own: ok"
    ))
}
