//! What reads the Helm chart: Python packages with Helm's engine and the schemas of Kubernetes.

use std::path::PathBuf;

use super::python;

/// The environment's programs.
pub struct Programs {
    /// `python`, with Helm's engine.
    pub python: PathBuf,
    /// `kubernetes-validate`.
    pub validate: PathBuf,
}

/// The programs, fetched if the cache does not have them.
///
/// # Errors
///
/// As [`python::environment`].
pub fn ensure() -> anyhow::Result<Programs> {
    let bin = python::environment("chart", "xtask/chart/requirements.txt")?;
    Ok(Programs {
        python: bin.join("python"),
        validate: bin.join("kubernetes-validate"),
    })
}
