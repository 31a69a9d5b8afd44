//! Where BTF comes from: the kernel itself, a file, an archive such as BTFHub has, or a folder of
//! these.
//!
//! Constraint: only bytes are found and unpacked here; what is in them is [`super::btf`]'s business.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lzma_rust2::XzReader;

use super::btf::{BtfError, VMLINUX};

/// How an xz archive begins.
const XZ: &[u8] = b"\xfd7zXZ\0";

/// More than this is no kernel's BTF: the largest known are some ten megabytes.
const LIMIT: u64 = 64 << 20;

/// Folders inside of each other that are looked through: BTFHub has DISTRIBUTION/VERSION/ARCHITECTURE.
const DEPTH: usize = 4;

/// What the file of a kernel is called, behind its release.
const ENDINGS: [&str; 2] = [".btf", ".btf.tar.xz"];

/// BTF, and where it came from.
pub struct Source {
    /// The file; none for the kernel itself.
    pub file: Option<PathBuf>,
    /// BTF as the kernel has it.
    pub bytes: Vec<u8>,
}

impl Source {
    /// What messages call it, `the BTF of …`.
    pub fn name(&self, release: &str) -> String {
        match &self.file {
            Some(file) => format!("the BTF in {}", file.display()),
            None => format!("the BTF of {release}"),
        }
    }
}

/// Reads the running kernel's BTF, or what `path` names: a file, or a folder that has one for `release`.
///
/// # Errors
/// When there is none, or it cannot be read or unpacked.
pub fn read(path: Option<&Path>, release: &str) -> Result<Source, BtfError> {
    let Some(path) = path else {
        return match load(Path::new(VMLINUX)) {
            Ok(bytes) => Ok(Source { file: None, bytes }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BtfError::Missing {
                release: release.to_owned(),
            }),
            Err(error) => Err(unreadable(Path::new(VMLINUX), error)),
        };
    };
    let file = if path.is_dir() {
        pick(path, release)?
    } else {
        path.to_owned()
    };
    let bytes = load(&file).map_err(|error| unreadable(&file, error))?;
    let bytes = if bytes.starts_with(XZ) {
        unpack(&bytes).map_err(|error| unreadable(&file, error))?
    } else {
        bytes
    };
    Ok(Source {
        file: Some(file),
        bytes,
    })
}

fn unreadable(path: &Path, error: io::Error) -> BtfError {
    BtfError::Unreadable {
        path: path.to_owned(),
        error,
    }
}

fn load(path: &Path) -> io::Result<Vec<u8>> {
    limited(File::open(path)?)
}

fn limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        let reason = format!("it has more than {} MB", LIMIT >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// The one file in a tar archive that is compressed by xz.
fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let tar = limited(XzReader::new(bytes, false))?;
    for entry in tar::Archive::new(&tar[..]).entries()? {
        let entry = entry?;
        if entry.path()?.extension().is_some_and(|end| end == "btf") {
            return limited(entry);
        }
    }
    let reason = "the archive has no file whose name ends in .btf";
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

/// The file for a kernel, somewhere in a folder.
fn pick(folder: &Path, release: &str) -> Result<PathBuf, BtfError> {
    let names = ENDINGS.map(|end| format!("{release}{end}"));
    let mut found = Vec::new();
    look(folder, &names, DEPTH, &mut found).map_err(|error| unreadable(folder, error))?;
    // Kernels of several distributions and machines can have one release.
    for wanted in [arch(), distribution()].into_iter().flatten() {
        let fits = |path: &&PathBuf| path.components().any(|part| part.as_os_str() == &*wanted);
        let fitting: Vec<_> = found.iter().filter(fits).cloned().collect();
        if !fitting.is_empty() {
            found = fitting;
        }
    }
    found.sort();
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => Err(BtfError::NotInFolder {
            folder: folder.to_owned(),
            release: release.to_owned(),
        }),
        [one, other, ..] => Err(BtfError::Ambiguous {
            release: release.to_owned(),
            one: one.clone(),
            other: other.clone(),
        }),
    }
}

fn look(folder: &Path, names: &[String], depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if depth > 0 {
                look(&path, names, depth - 1, found)?;
            }
        } else if names.iter().any(|name| entry.file_name() == **name) {
            found.push(path);
        }
    }
    Ok(())
}

/// As BTFHub calls it.
fn arch() -> Option<String> {
    let name = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        name => name,
    };
    Some(name.to_owned())
}

/// `ID` of os-release(5), by which BTFHub's folders are called as well.
fn distribution() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let id = text.lines().find_map(|line| line.strip_prefix("ID="))?;
    Some(id.trim_matches('"').to_owned())
}

#[cfg(test)]
#[path = "btf_source_tests.rs"]
mod tests;
