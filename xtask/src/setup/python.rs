//! Python packages in a virtual environment in the cache (nothing is installed).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::command;
use crate::paths;

/// The folder of programs of the environment called `name`, made if the cache does not have it for
/// these requirements and this Python. `requirements` names every package with its version and
/// hash, and is a path in the checkout.
///
/// # Errors
///
/// When Python has no venv, or a package cannot be had or has another hash.
pub fn environment(name: &str, requirements: &str) -> anyhow::Result<PathBuf> {
    let file = paths::workspace().join(requirements);
    let text = fs::read_to_string(&file).with_context(|| format!("read {requirements}"))?;
    let version = command::output(Command::new("python3").arg("--version"))?;
    let wanted = version + &text;
    let place = paths::cache()?.join(name);
    let kept = place.join("complete");
    let _lock = super::lock()?;
    let programs = place.join("bin");
    // Written last: the rest is complete.
    if fs::read_to_string(&kept).is_ok_and(|kept| kept == wanted) {
        return Ok(programs);
    }
    eprintln!("setup: fetching Python packages ({requirements})");
    command::output(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&place),
    )
    .context("make a virtual environment")?;
    command::output(
        Command::new(programs.join("python"))
            .args(["-m", "pip", "install", "--quiet", "--no-cache-dir"])
            .args(["--disable-pip-version-check", "--only-binary=:all:"])
            .args(["--require-hashes", "--requirement"])
            .arg(&file),
    )
    .context("fetch the Python packages")?;
    fs::write(&kept, wanted).context("say that it is complete")?;
    Ok(programs)
}
