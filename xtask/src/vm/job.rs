//! What a VM is to run, as PID 1 reads it (tcpwnd-lab/src/init).

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;

/// Where PID 1 looks for it.
pub const JOB_FILE: &str = "/etc/tcpwnd-vm-job.json";

/// The folder in which the command runs.
const HOME: &str = "/root";

/// The command, and how it is run.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// Variables added to its environment.
    pub env: Vec<(String, String)>,
    /// Whether the console is its controlling terminal, for people.
    pub terminal: bool,
}

/// A file or folder of this machine that the command is to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// On this machine.
    pub from: PathBuf,
    /// In the VM.
    pub path: PathBuf,
}

impl Job {
    /// A command without a terminal.
    pub fn new(argv: &[impl AsRef<str>]) -> Self {
        Self {
            argv: argv.iter().map(|word| word.as_ref().to_owned()).collect(),
            env: Vec::new(),
            terminal: false,
        }
    }
}

impl Added {
    /// Reads `FILE[:PATH]`. Without PATH the name that was given holds in the VM too; what is
    /// relative is relative to the command's folder there. A PATH that ends in `/` is a folder.
    ///
    /// # Errors
    ///
    /// When there is no such file, or it would have no name.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (from, path) = match text.rsplit_once(':') {
            Some((from, path)) if !Path::new(text).exists() => (from, Some(path)),
            _ => (text, None),
        };
        let from = PathBuf::from(from);
        if !from.exists() {
            bail!("there is no {}", from.display());
        }
        let name = || {
            let full = from.canonicalize()?;
            let name = full.file_name().context("a root folder has no name")?;
            anyhow::Ok(PathBuf::from(name))
        };
        let path = match path {
            Some(folder) if folder.ends_with('/') => Path::new(folder).join(name()?),
            Some(path) => PathBuf::from(path),
            None if from.components().any(|part| part.as_os_str() == "..") => name()?,
            None => from.components().collect(),
        };
        Ok(Self {
            path: Path::new(HOME).join(path.strip_prefix(".").unwrap_or(&path)),
            from,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Added, HOME};

    #[test]
    fn added_files_keep_their_name_or_get_another() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        fs::write(&file, "").unwrap();
        let file = file.to_str().unwrap();
        let path = |text: &str| Added::parse(text).unwrap().path;
        assert_eq!(path(file), Path::new(file));
        assert_eq!(path(&format!("{file}:/opt/y")), Path::new("/opt/y"));
        assert_eq!(path(&format!("{file}:/opt/")), Path::new("/opt/x"));
        let home = Path::new(HOME);
        assert_eq!(path(&format!("{file}:y")), home.join("y"));
        assert_eq!(path("Cargo.toml"), home.join("Cargo.toml"));
        assert_eq!(path("./src"), home.join("src"));
        assert_eq!(path("../Cargo.toml:/r").as_path(), Path::new("/r"));
        assert!(Added::parse("/nowhere/at/all").is_err());
    }
}
