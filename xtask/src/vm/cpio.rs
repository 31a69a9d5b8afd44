//! Writes an initramfs: the kernel's cpio format ("newc"), without owners, inodes or times.
//!
//! The kernel takes several archives one after the other, each padded to 4 bytes
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, ensure};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive being written. Paths are absolute, as they will be in the VM.
pub struct Cpio<W: Write> {
    to: W,
    folders: BTreeSet<PathBuf>,
}

impl<W: Write> Cpio<W> {
    /// Begins an archive.
    pub fn new(to: W) -> Self {
        Self {
            to,
            folders: BTreeSet::new(),
        }
    }

    /// Adds a folder and those above it, with the permissions given for the last.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn folder(&mut self, path: &Path, permissions: u32) -> anyhow::Result<()> {
        if path.parent().is_none() || !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        self.above(path)?;
        self.entry(path, DIRECTORY | permissions, (0, 0), b"")
    }

    /// Adds a file with this content.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn file(&mut self, path: &Path, permissions: u32, content: &[u8]) -> anyhow::Result<()> {
        self.above(path)?;
        self.entry(path, REGULAR | permissions, (0, 0), content)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn link(&mut self, path: &Path, target: &Path) -> anyhow::Result<()> {
        self.above(path)?;
        let target = target.as_os_str().as_bytes();
        self.entry(path, SYMLINK | 0o777, (0, 0), target)
    }

    /// Adds a character device.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn device(&mut self, path: &Path, number: (u32, u32)) -> anyhow::Result<()> {
        self.above(path)?;
        self.entry(path, CHARACTER_DEVICE | 0o600, number, b"")
    }

    /// Copies a file or a whole folder of this machine. Links that stay inside a folder are kept;
    /// what other links lead to is copied in their place.
    ///
    /// # Errors
    ///
    /// When something cannot be read or written.
    pub fn copy(&mut self, from: &Path, path: &Path) -> anyhow::Result<()> {
        let root = from
            .canonicalize()
            .with_context(|| format!("read {}", from.display()))?;
        self.copy_below(&root, from, path)
    }

    fn copy_below(&mut self, root: &Path, from: &Path, path: &Path) -> anyhow::Result<()> {
        let metadata = fs::metadata(from).with_context(|| format!("read {}", from.display()))?;
        let permissions = metadata.permissions().mode() & 0o7777;
        if !metadata.is_dir() {
            let content = fs::read(from).with_context(|| format!("read {}", from.display()))?;
            return self.file(path, permissions, &content);
        }
        self.folder(path, permissions)?;
        let mut entries = fs::read_dir(from)
            .with_context(|| format!("read {}", from.display()))?
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (from, path) = (entry.path(), path.join(entry.file_name()));
            let target = fs::read_link(&from).ok();
            let leaves = || from.canonicalize().is_ok_and(|to| !to.starts_with(root));
            match target {
                Some(target) if target.is_absolute() || leaves() => {
                    // A link into nothing is nothing that anybody could use.
                    if from.exists() {
                        self.copy(&from, &path)?;
                    }
                }
                Some(target) => self.link(&path, &target)?,
                None => self.copy_below(root, &from, &path)?,
            }
        }
        Ok(())
    }

    /// Writes the trailer and returns what was written to.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn finish(mut self) -> anyhow::Result<W> {
        self.header(b"TRAILER!!!", 0, (0, 0), 0)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn above(&mut self, path: &Path) -> anyhow::Result<()> {
        match path.parent() {
            Some(above) => self.folder(above, 0o755),
            None => Ok(()),
        }
    }

    fn entry(
        &mut self,
        path: &Path,
        mode: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> anyhow::Result<()> {
        let plain = |part| matches!(part, Component::Normal(_));
        let inside = path.strip_prefix("/").unwrap_or(path);
        ensure!(
            inside.components().all(plain),
            "{} is no path for a VM",
            path.display()
        );
        let size = u32::try_from(content.len())
            .with_context(|| format!("{} is larger than 4 GB", path.display()))?;
        self.header(inside.as_os_str().as_bytes(), mode, device, size)?;
        self.to.write_all(content)?;
        self.pad(content.len())
    }

    fn header(
        &mut self,
        name: &[u8],
        mode: u32,
        device: (u32, u32),
        size: u32,
    ) -> anyhow::Result<()> {
        let name_size = u32::try_from(name.len() + 1)?;
        write!(self.to, "070701")?;
        // inode, mode, uid, gid, links, mtime, size, device of the file, device it names, length
        // of the name, checksum
        let fields = [
            0, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0,
        ];
        for field in fields {
            write!(self.to, "{field:08x}")?;
        }
        self.to.write_all(name)?;
        self.to.write_all(&[0])?;
        self.pad(6 + 8 * fields.len() + name.len() + 1)
    }

    fn pad(&mut self, length: usize) -> anyhow::Result<()> {
        let padding = length.next_multiple_of(4) - length;
        self.to.write_all(&[0; 3][..padding])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Cpio;

    #[test]
    fn an_archive_has_its_folders_its_files_and_is_padded() {
        let mut cpio = Cpio::new(Vec::new());
        cpio.file(Path::new("/a/b"), 0o640, b"12345").unwrap();
        cpio.link(Path::new("/a/c"), Path::new("b")).unwrap();
        let bytes = cpio.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap();
        let entries: Vec<_> = text.split("070701").skip(1).collect();
        assert_eq!(entries.len(), 4);
        assert!(entries[0][8..].starts_with("000041ed") && entries[0].contains("a\0"));
        assert!(entries[1][8..].starts_with("000081a0"));
        assert!(
            entries[1].ends_with(concat!("a/b\0\0\0", "12345\0\0\0")),
            "{:?}",
            entries[1]
        );
        assert!(entries[3].contains("TRAILER!!!\0"));
    }

    #[test]
    fn a_path_that_leaves_the_root_is_refused() {
        let mut cpio = Cpio::new(Vec::new());
        assert!(cpio.file(Path::new("/a/../../b"), 0o644, b"").is_err());
    }
}
