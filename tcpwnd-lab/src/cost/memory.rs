//! What the agent takes in memory, and its maps in the kernel's.

use anyhow::Result;
use serde_json::json;

use super::programs::maps;
use super::tell;
use super::watcher::{Watching, start_agent};
use crate::agent::Mechanism;
use crate::http::get;
use crate::scenarios::free_address;
use crate::soak::process::Process;
use crate::wait::{self, PATIENCE};

/// Tells what an agent takes that has nothing to do.
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
    tell(&json!({
        "figure": "resident", "flows": 0, "bytes": process.resident()?,
        "of_maps": process.resident_of_maps()?,
    }));
    Watching::Agent(agent).end(0)
}
