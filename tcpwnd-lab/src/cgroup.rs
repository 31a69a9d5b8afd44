//! A cgroup of the laboratory's own, below the one cgroup2 mount of the VM.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const MOUNT: &str = "/sys/fs/cgroup";

/// A cgroup. It is removed with this value's end, and what was made above it too; the processes in
/// it must have ended by then.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    made: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes it.
    ///
    /// # Errors
    /// Without a cgroup2 file system, or without the right to write there.
    pub fn new(below: &str) -> Result<Self> {
        let path = Path::new(MOUNT).join(below);
        let missing = |path: &&Path| !path.exists();
        let made: Vec<_> = path
            .ancestors()
            .take_while(missing)
            .map(Path::to_owned)
            .collect();
        fs::create_dir_all(&path).with_context(|| format!("failed to make {}", path.display()))?;
        Ok(Self { path, made })
    }

    /// The file that takes the numbers of processes.
    #[must_use]
    pub fn processes(&self) -> String {
        format!("{}/cgroup.procs", self.path.display())
    }

    /// Moves a process out of it, into the root, and removes it.
    ///
    /// # Errors
    /// When another process is in it.
    pub fn remove(self, process: u32) -> Result<()> {
        fs::write(format!("{MOUNT}/cgroup.procs"), process.to_string())
            .context("failed to move a process")?;
        fs::remove_dir(&self.path)
            .with_context(|| format!("failed to remove {}", self.path.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for path in &self.made {
            // Others may have made cgroups beside it; it may be gone already.
            let _ = fs::remove_dir(path);
        }
    }
}
