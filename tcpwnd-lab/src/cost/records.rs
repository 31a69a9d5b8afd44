//! Records as the kernel's programs send them, for measuring what becomes of them without a kernel:
//! handshakes on either path, damaged ones, and their ends.

use std::fs;

use anyhow::{Context, Result};
use serde_json::json;

use super::handshakes::{Path, Workload};
use super::tell;
use super::watcher::Object;
use crate::scenarios::{COOKIES, Stage, unlocked};
use crate::socket::ListenOptions;

/// Of each sort.
const EACH: u16 = 32;

/// Records them, and tells their bytes in hexadecimal.
///
/// # Errors
/// When the reference is not here, or a handshake fails.
pub fn record() -> Result<()> {
    let folder = tempfile::tempdir().context("failed to make a directory")?;
    let file = folder.path().join("records");
    let recording = Object::REFERENCE.record(&file)?;
    for path in [Path::Normal, Path::Cookie] {
        Workload::new(path)?.batch(EACH)?;
    }
    let listen = ListenOptions {
        backlog: 4_096,
        ..unlocked()
    };
    let stage = Stage::new(&listen, COOKIES)?;
    let mut damaged = stage.damaged(1..=EACH)?;
    stage.broker.wait_accepted(EACH.into())?;
    for peer in &mut damaged {
        peer.reset()?;
    }
    // The last end is sent before the call returns that hands over its RST.
    recording.end(4 * usize::from(EACH))?;
    let bytes = fs::read(&file).context("failed to read the records")?;
    let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    tell(&json!({"figure": "records", "hexadecimal": hexadecimal}));
    Ok(())
}
