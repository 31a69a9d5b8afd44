//! What the agent takes in memory, and its maps in the kernel's; and what a scrape takes of it.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::json;

use super::batches::measure as measure_batches;
use super::programs::maps;
use super::tell;
use super::watcher::start_agent;
use crate::agent::Mechanism;
use crate::http::{get, metric};
use crate::scenarios::{COOKIES, Stage, free_address, unlocked};
use crate::soak::process::Process;
use crate::socket::ListenOptions;
use crate::wait::{self, PATIENCE};

/// Open damaged connections of the second look.
const OPEN: u16 = 1_000;

/// Scrapes before the first that counts.
const WARM_UP: usize = 3;

/// Tells what an agent takes that has nothing to do, and one with that many open damaged connections.
///
/// # Errors
/// When it does not start.
pub fn measure() -> Result<()> {
    let others = maps()?;
    let listen = free_address()?;
    let agent = start_agent(Mechanism::Auto, listen)?;
    // It answers when it has given back what it needed for its start.
    wait::until_true(PATIENCE, "the agent to answer", || {
        Ok(get(listen, "/readyz").is_ok())
    })?;
    let process = Process::of(agent.id());
    for map in maps()?.into_iter().filter(|map| !others.contains(map)) {
        tell(&json!({
            "figure": "map", "map": map.name, "entries": map.entries, "bytes": map.bytes,
        }));
    }
    let state = |flows: u16| {
        tell(&json!({
            "figure": "resident", "flows": flows, "bytes": process.resident()?,
            "of_maps": process.resident_of_maps()?,
        }));
        scrape(listen, flows)
    };
    state(0)?;
    let listen_options = ListenOptions {
        backlog: 4_096,
        ..unlocked()
    };
    let stage = Stage::new(&listen_options, COOKIES)?;
    let damaged = stage.damaged(1..=OPEN)?;
    wait::until_true(PATIENCE, "the agent to count them", || {
        let page = get(listen, "/metrics")?;
        Ok(metric(&page, "tcpwnd_tracked_flows", &[])? == f64::from(OPEN))
    })?;
    state(OPEN)?;
    drop(damaged);
    agent.stop().map(drop)
}

/// Tells what a scrape takes, in instructions of the whole machine: the client's and the kernel's part are
/// included.
fn scrape(listen: SocketAddr, flows: u16) -> Result<()> {
    let page = || get(listen, "/metrics").map(drop);
    (0..WARM_UP).try_for_each(|_| page())?;
    let taken = measure_batches(1.0, page)?;
    tell(&json!({"figure": "scrape", "flows": flows, "all": taken.all}));
    Ok(())
}
