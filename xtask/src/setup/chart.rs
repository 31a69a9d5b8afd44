//! What reads the Helm chart: Python packages with Helm's engine and the schemas of Kubernetes, in
//! a virtual environment in the cache (nothing is installed).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::command;
use crate::paths;

/// Every package with its version and hash.
const REQUIREMENTS: &str = "xtask/chart/requirements.txt";

/// The environment's programs.
pub struct Programs {
    /// `python`, with Helm's engine.
    pub python: PathBuf,
    /// `kubernetes-validate`.
    pub validate: PathBuf,
}

/// The environment, made if the cache does not have it for these requirements and this Python.
///
/// # Errors
///
/// When Python has no venv, or a package cannot be had or has another hash.
pub fn ensure() -> anyhow::Result<Programs> {
    let requirements = paths::workspace().join(REQUIREMENTS);
    let text = fs::read_to_string(&requirements).with_context(|| format!("read {REQUIREMENTS}"))?;
    let version = command::output(Command::new("python3").arg("--version"))?;
    let wanted = version + &text;
    let place = paths::cache()?.join("chart");
    let kept = place.join("complete");
    let _lock = super::lock()?;
    let programs = Programs {
        python: place.join("bin/python"),
        validate: place.join("bin/kubernetes-validate"),
    };
    // Written last: the rest is complete.
    if fs::read_to_string(&kept).is_ok_and(|kept| kept == wanted) {
        return Ok(programs);
    }
    eprintln!("setup: fetching what reads Helm charts");
    command::output(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&place),
    )
    .context("make a virtual environment")?;
    command::output(
        Command::new(&programs.python)
            .args(["-m", "pip", "install", "--quiet", "--no-cache-dir"])
            .args(["--disable-pip-version-check", "--only-binary=:all:"])
            .args(["--require-hashes", "--requirement"])
            .arg(&requirements),
    )
    .context("fetch the Python packages")?;
    fs::write(&kept, wanted).context("say that it is complete")?;
    Ok(programs)
}
