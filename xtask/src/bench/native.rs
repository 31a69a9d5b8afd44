//! What is measured on this machine itself.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::figures::Figure;

/// How large the shipped program is.
///
/// # Errors
///
/// When it is not there.
pub fn size(agent: &Path) -> anyhow::Result<Figure> {
    let metadata = fs::metadata(agent).with_context(|| format!("read {}", agent.display()))?;
    Ok(Figure::Size {
        bytes: metadata.len(),
    })
}
