//! What is measured on this machine itself.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::json;

use super::figures::{Figure, Figures};
use crate::build::cargo;
use crate::command;
use crate::paths;

/// What the benches of tcpwnd-core work with.
const RECORDS: &str = "tcpwnd-core/benches/records.bin";

/// How large the shipped program is.
///
/// # Errors
///
/// When it is not there.
pub fn size(agent: &Path) -> anyhow::Result<String> {
    let metadata = fs::metadata(agent).with_context(|| format!("read {}", agent.display()))?;
    let figure = json!({"figure": "size", "bytes": metadata.len()});
    Ok(format!("{figure}\n"))
}

/// What becomes of records on this machine.
///
/// # Errors
///
/// When cargo or the bench fails (it has said why).
pub fn load() -> anyhow::Result<String> {
    let mut bench = cargo(&paths::workspace());
    let bench = bench.args(["bench", "--quiet", "-p", "tcpwnd-core", "--bench", "load"]);
    command::output(bench)
}

/// Keeps what was recorded for the benches.
///
/// # Errors
///
/// When nothing was, or it cannot be written.
pub fn keep_records(figures: &Figures) -> anyhow::Result<()> {
    let of = |figure: &Figure| match figure {
        Figure::Records { hexadecimal } => Some(hexadecimal.clone()),
        _ => None,
    };
    let text = figures.all().find_map(of).context("nothing was recorded")?;
    ensure!(
        text.is_ascii() && text.len().is_multiple_of(2),
        "not hexadecimal"
    );
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16);
    let bytes: Vec<u8> = (0..text.len())
        .step_by(2)
        .map(byte)
        .collect::<Result<_, _>>()?;
    let place = paths::workspace().join(RECORDS);
    fs::write(&place, bytes).with_context(|| format!("write {RECORDS}"))
}
