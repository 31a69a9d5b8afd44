//! What reads the scripts for rolling restarts: shellcheck and Ansible, as Python packages.

use std::path::PathBuf;

use super::python;

/// The environment's programs.
pub struct Programs {
    /// `shellcheck`.
    pub shellcheck: PathBuf,
    /// `ansible-playbook`.
    pub ansible_playbook: PathBuf,
}

/// The programs, fetched if the cache does not have them.
///
/// # Errors
///
/// As [`python::environment`].
pub fn ensure() -> anyhow::Result<Programs> {
    let bin = python::environment("scripts", "xtask/scripts/requirements.txt")?;
    Ok(Programs {
        shellcheck: bin.join("shellcheck"),
        ansible_playbook: bin.join("ansible-playbook"),
    })
}
