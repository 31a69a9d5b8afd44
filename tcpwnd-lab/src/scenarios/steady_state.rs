//! Handshakes come, connections are damaged and end, metrics are scraped and findings asked for: no
//! agent makes a map system call meanwhile, and `run` makes no bpf(2) call at all.

use std::io::ErrorKind;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, Unsupported};
use super::open_now::free_address;
use super::stage::{Stage, unlocked};
use crate::agent::Agent;
use crate::bpf_calls::{BpfCalls, Call};
use crate::http::{get, metric};
use crate::socket::ListenOptions;
use crate::wait::{self, PATIENCE};

/// Sound connections, then damaged ones.
const SOUND: u16 = 200;
const DAMAGED: u16 = 20;

/// As [`Call::command`] has it.
const MAP_CREATE: u32 = 0;
const PROG_LOAD: u32 = 5;

pub fn play(bench: &Bench) -> Result<String> {
    let calls = match BpfCalls::record() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let reason = format!("this kernel cannot trace bpf(2): {error}");
            return Err(Unsupported(reason).into());
        }
        calls => calls.context("failed to trace bpf(2)")?,
    };
    let listen = ListenOptions {
        backlog: 4_096,
        ..unlocked()
    };
    let stage = Stage::with_cookies_to(&listen)?;
    let address = free_address()?;
    let text = address.to_string();
    let mechanism = bench.launch.mechanism.name();
    let options = ["--listen", &text, "--mechanism", mechanism];
    let run = [&["run", "--port", "9092"][..], &options].concat();
    let scraped = bench.launch.start(&run)?;
    let mut agent = bench.trace()?;
    let begun = calls.take()?;
    for (name, thread) in [("run", scraped.id()), ("trace", agent.id())] {
        let seen = |command| begun.contains(&Call { thread, command });
        ensure!(
            seen(MAP_CREATE) && seen(PROG_LOAD),
            "`{name}` was not seen to make maps and to load programs: {begun:?}"
        );
    }
    busy(&stage, &mut agent, address)?;
    let made = calls.take()?;
    let by = |thread| made.iter().filter(move |call| call.thread == thread);
    let of_run: Vec<_> = by(scraped.id()).collect();
    ensure!(
        of_run.is_empty(),
        "`run` made bpf(2) calls meanwhile: {of_run:?}"
    );
    // It puts the window probe on and off.
    let of_trace: Vec<_> = by(agent.id()).collect();
    ensure!(
        !of_trace.iter().any(|call| call.is_of_map()),
        "`trace` made map system calls meanwhile: {of_trace:?}"
    );
    let report = agent.finish()?;
    ensure!(
        report.summary.mismatch == u64::from(DAMAGED),
        "not {DAMAGED} mismatches: {:?}",
        report.summary
    );
    Ok(format!(
        "{} bpf(2) calls at the start; during {} handshakes none by `run`, {} by `trace`, of no map",
        begun.len(),
        SOUND + DAMAGED,
        of_trace.len()
    ))
}

/// Everything that happens to an agent in its life, until both have told it all.
fn busy(stage: &Stage, agent: &mut Agent, address: SocketAddr) -> Result<()> {
    for number in 1..=SOUND {
        stage.peer(number).connect()?;
        if number % 10 == 0 {
            get(address, "/metrics")?;
        }
    }
    let mut damaged = stage.damaged(SOUND + 1..=SOUND + DAMAGED)?;
    let all = SOUND + DAMAGED;
    agent.wait_handshakes(all.into())?;
    for peer in &mut damaged {
        peer.reset()?;
    }
    agent.wait_kind("closed", DAMAGED.into())?;
    wait::until_true(PATIENCE, "the scraped agent to count everything", || {
        get(address, "/api/v1/findings?port=9092")?;
        let page = get(address, "/metrics")?;
        Ok(metric(&page, "tcpwnd_handshakes_total", &[])? == f64::from(all))
    })
}
