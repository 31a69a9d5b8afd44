//! What lies in a folder, in an order that depends on nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A file or folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Below the folder that was walked.
    pub path: PathBuf,
    /// What it is.
    pub is_folder: bool,
    /// Bytes of a file.
    pub size: u64,
}

/// Everything below `folder`, sorted by path; each folder before what is in it.
///
/// # Errors
///
/// When something cannot be read.
pub fn walk(folder: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    collect(folder, Path::new(""), &mut entries)?;
    entries.sort();
    Ok(entries)
}

fn collect(root: &Path, below: &Path, entries: &mut Vec<Entry>) -> anyhow::Result<()> {
    let folder = root.join(below);
    let read = || format!("read {}", folder.display());
    for entry in fs::read_dir(&folder).with_context(read)? {
        let entry = entry.with_context(read)?;
        let path = below.join(entry.file_name());
        let metadata = entry.metadata().with_context(read)?;
        if metadata.is_dir() {
            collect(root, &path, entries)?;
        }
        entries.push(Entry {
            path,
            is_folder: metadata.is_dir(),
            size: metadata.len(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::walk;

    #[test]
    fn folders_come_before_what_is_in_them() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("b/a")).unwrap();
        fs::write(folder.path().join("b/a/x"), "12").unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        let entries = walk(folder.path()).unwrap();
        let paths: Vec<_> = entries.iter().map(|entry| entry.path.as_path()).collect();
        assert_eq!(paths, ["a", "b", "b/a", "b/a/x"].map(Path::new));
        assert_eq!((entries[1].is_folder, entries[3].size), (true, 2));
    }
}
