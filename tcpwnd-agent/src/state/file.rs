//! The state file on disk.
//!
//! Constraint: whoever reads it finds the old one or the new one, whole. What is not a state file of
//! this user's is neither read nor written over.
//!
//! It is not synced: its connections are void after a reboot, and until then the kernel has it,
//! however the agent ended. Waiting for a busy disk would hold up the events.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::document::{Document, Unusable};
use crate::host::{clock, reason};

/// No state file is larger, bytes.
const MAX_BYTES: u64 = 8 << 20;

/// What was found in place of a state file.
#[derive(Debug)]
pub enum Content {
    /// Nothing, or an empty file.
    Nothing,
    /// A state file.
    Read(Document),
    /// What was one, and why it is not any more.
    Spoiled(String),
    /// Something that is not ours, and what.
    Foreign(String),
}

/// The place of the state file.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// # Errors
    /// When there cannot be a file at this path: it has no name, or its folder is not there.
    pub fn at(path: &Path) -> io::Result<Self> {
        if path.file_name().is_none() {
            return Err(ErrorKind::IsADirectory.into());
        }
        let file = Self {
            path: path.to_owned(),
        };
        if !fs::metadata(file.folder())?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        Ok(file)
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Path {
        let folder = self.path.parent();
        let here = |folder: &&Path| !folder.as_os_str().is_empty();
        folder.filter(here).unwrap_or(Path::new("."))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Locks it for as long as what is returned is kept. The state file itself cannot be locked, since
    /// each writing makes a new one.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] where another agent has it.
    pub fn lock(&self) -> Result<File, TryLockError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(self.beside(".", ".lock"))
            .map_err(TryLockError::Error)?;
        file.try_lock().map(|()| file)
    }

    /// Reads it.
    pub fn read(&self) -> Content {
        let mut options = OpenOptions::new();
        // Whoever can put a pipe there must not make us wait.
        options
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = match options.open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Content::Nothing,
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Content::Foreign("it is a symbolic link".to_owned());
            }
            Err(error) => return Content::Foreign(reason(&error)),
        };
        match bytes(file) {
            Ok(bytes) if bytes.is_empty() => Content::Nothing,
            Ok(bytes) => match Document::read(&bytes, clock::monotonic_ns()) {
                Ok(document) => Content::Read(document),
                Err(Unusable::Foreign) => Content::Foreign(Unusable::Foreign.to_string()),
                Err(why) => Content::Spoiled(why.to_string()),
            },
            Err(why) => Content::Foreign(why),
        }
    }

    /// Moves it out of the way, in place of what was moved there before.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn set_aside(&self) -> io::Result<PathBuf> {
        let aside = self.beside("", ".unusable");
        fs::rename(&self.path, &aside)?;
        Ok(aside)
    }

    /// Removes it, so that nobody takes it for the last word.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        gone(fs::remove_file(&self.path))
    }

    /// Puts a new one in its place.
    ///
    /// # Errors
    /// When it cannot be written; the old one is as it was then.
    pub fn write(&self, document: &Document) -> io::Result<()> {
        let new = self.beside(".", ".new");
        // One that a killed agent left.
        gone(fs::remove_file(&new))?;
        let written = write(&new, document).and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            // Nothing more can be done about it than the next time.
            let _ = fs::remove_file(&new);
        }
        written
    }

    /// A file of nearly this name in the same folder.
    fn beside(&self, before: &str, after: &str) -> PathBuf {
        let mut name = OsString::from(before);
        name.push(self.path.file_name().unwrap_or_default());
        name.push(after);
        self.path.with_file_name(name)
    }
}

/// What is not there needs no removing.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write(path: &Path, document: &Document) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let mut out = BufWriter::new(file);
    serde_json::to_writer(&mut out, document)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// What the file has, or what keeps it from being one of ours.
fn bytes(file: File) -> Result<Vec<u8>, String> {
    let found = file.metadata().map_err(|error| reason(&error))?;
    // SAFETY: takes and touches nothing.
    let own = unsafe { libc::geteuid() };
    if !found.is_file() {
        return Err("it is not an ordinary file".to_owned());
    }
    if found.uid() != own {
        return Err(format!("it belongs to user {}, not {own}", found.uid()));
    }
    if found.len() > MAX_BYTES {
        return Err(format!("it has more than {MAX_BYTES} bytes"));
    }
    let mut bytes = Vec::new();
    // It could have grown.
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| reason(&error))?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
