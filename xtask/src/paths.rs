//! Where things lie: the workspace, and the cache that survives `cargo clean`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The checkout's root: where cargo says it is, for a build folder may have come from another checkout.
pub fn workspace() -> PathBuf {
    let here = || env!("CARGO_MANIFEST_DIR").into();
    let xtask = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(here));
    xtask.parent().unwrap_or(&xtask).to_owned()
}

/// The build folder of this workspace.
pub fn target() -> PathBuf {
    workspace().join("target")
}

/// Things that may lie beside the checkout; nothing depends on them.
pub fn shared(what: &str) -> Option<PathBuf> {
    let path = workspace().parent()?.join("shared").join(what);
    path.exists().then_some(path)
}

/// `$XDG_CACHE_HOME/tcpwnd`, else `~/.cache/tcpwnd`.
///
/// # Errors
///
/// When neither variable is set.
pub fn cache() -> anyhow::Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(base) => PathBuf::from(base),
        None => Path::new(&env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(base.join("tcpwnd"))
}

/// A folder in the cache, made if it is missing.
///
/// # Errors
///
/// When it cannot be made.
pub fn cache_folder(name: &str) -> anyhow::Result<PathBuf> {
    let path = cache()?.join(name);
    fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    Ok(path)
}

/// The folder for images and runs of VMs, made if it is missing.
///
/// # Errors
///
/// When it cannot be made.
pub fn vm_folder() -> anyhow::Result<PathBuf> {
    let path = target().join("vm");
    fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    Ok(path)
}
