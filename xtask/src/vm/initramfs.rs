//! The initramfs: a base per kernel (programs, libraries, modules), kept as long as nothing in it
//! changes, and after it, as a second archive, what belongs to one run.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::cpio::Cpio;
use super::job::{Added, JOB_FILE, Job};
use super::modules;
use super::tools::{self, Tools};
use crate::build::Binaries;
use crate::kernels::Image;
use crate::paths;

/// Folders of the VM, beside those that files bring, with their permissions.
const FOLDERS: &[(&str, u32)] = &[
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/usr/bin", 0o755),
    ("/usr/lib", 0o755),
    ("/usr/lib64", 0o755),
    ("/usr/local/bin", 0o755),
    ("/usr/sbin", 0o755),
    ("/var/tmp", 0o1777),
];

/// Links of the VM.
const LINKS: &[(&str, &str)] = &[
    ("/bin", "usr/bin"),
    ("/sbin", "usr/sbin"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib64"),
    ("/var/run", "/run"),
    // The kernel calls this path to load modules.
    ("/usr/sbin/modprobe", "../bin/modprobe"),
    ("/usr/sbin/ip", "../bin/ip"),
    ("/usr/sbin/tc", "../bin/tc"),
];

/// Files of the VM.
const FILES: &[(&str, &str)] = &[
    // tcpdump gives up root for this user, who must be able to write where root can.
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\n\
         tcpdump:x:0:0::/:/bin/false\n\
         tcpwnd:x:900:900::/:/bin/sh\n\
         nobody:x:65534:65534::/:/bin/false\n",
    ),
    (
        "/etc/group",
        "root:x:0:\ntcpdump:x:0:\ntcpwnd:x:900:\nnogroup:x:65534:\n",
    ),
    ("/etc/hosts", "127.0.0.1 localhost vm\n::1 localhost vm\n"),
    (
        "/etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\n",
    ),
];

/// Writes the initramfs of one run to `place`.
///
/// # Errors
///
/// When something that goes into it cannot be read, or it cannot be written.
pub fn write(
    place: &Path,
    image: &Image,
    binaries: &Binaries,
    added: &[Added],
    job: &Job,
) -> anyhow::Result<()> {
    let base = base(image)?;
    let mut to = BufWriter::new(File::create(place)?);
    io::copy(&mut File::open(&base)?, &mut to)?;

    let mut cpio = Cpio::new(to);
    let lab = Path::new("/usr/bin/tcpwnd-lab");
    cpio.copy(&binaries.agent, Path::new("/usr/bin/tcpwnd"))?;
    cpio.copy(&binaries.lab, lab)?;
    cpio.link(Path::new("/init"), lab)?;
    for Added { from, path } in added {
        cpio.copy(from, &tools::merged(path))?;
        for library in tools::libraries(&files_in(from)?)? {
            // What the added folder brings itself is found there.
            if !library.from.starts_with(from.canonicalize()?) {
                cpio.copy(&library.from.canonicalize()?, &library.path)?;
            }
        }
    }
    let job = serde_json::to_vec(job)?;
    cpio.file(Path::new(JOB_FILE), 0o644, &job)?;
    cpio.finish()?.flush().context("write the initramfs")
}

/// The file itself, or all files in a folder.
fn files_in(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !entry.file_type()?.is_symlink() {
            files.extend(files_in(&entry.path())?);
        }
    }
    Ok(files)
}

/// The base for a kernel, from target/vm if it still matches.
fn base(image: &Image) -> anyhow::Result<PathBuf> {
    let tools = tools::collect(image.arch)?;
    let folder = paths::vm_folder()?;
    let mark = fingerprint(image, &tools)?;
    let place = folder.join(format!("base-{}-{mark:016x}.cpio", image.release));
    if place.is_file() {
        return Ok(place);
    }
    let stage = tempfile::tempdir_in(&folder)?;
    modules::stage(image, stage.path())?;
    // Written beside its place and moved there: two runs may want it at the same time.
    let mut temporary = tempfile::NamedTempFile::new_in(&folder)?;
    let mut cpio = Cpio::new(BufWriter::new(temporary.as_file_mut()));
    write_base(&mut cpio, &tools)?;
    let staged = stage.path().join("lib/modules");
    if staged.is_dir() {
        cpio.copy(&staged, Path::new("/usr/lib/modules"))?;
    }
    cpio.finish()?.flush()?;
    temporary.persist(&place).context("keep the base image")?;
    Ok(place)
}

fn write_base(cpio: &mut Cpio<impl Write>, tools: &Tools) -> anyhow::Result<()> {
    for (path, permissions) in FOLDERS {
        cpio.folder(Path::new(path), *permissions)?;
    }
    for (path, target) in LINKS {
        cpio.link(Path::new(path), Path::new(target))?;
    }
    for (path, content) in FILES {
        cpio.file(Path::new(path), 0o644, content.as_bytes())?;
    }
    // Before devtmpfs is mounted, PID 1 already wants these.
    cpio.device(Path::new("/dev/console"), (5, 1))?;
    cpio.device(Path::new("/dev/null"), (1, 3))?;
    for (path, target) in &tools.links {
        cpio.link(path, target)?;
    }
    for copy in &tools.copies {
        cpio.copy(&copy.from.canonicalize()?, &copy.path)?;
    }
    Ok(())
}

/// Changes whenever anything that goes into the base changes, this program included.
fn fingerprint(image: &Image, tools: &Tools) -> anyhow::Result<u64> {
    let mut hasher = DefaultHasher::new();
    image.version.hash(&mut hasher);
    tools.links.hash(&mut hasher);
    let own = std::env::current_exe()?;
    let files = tools.copies.iter().map(|copy| (&copy.from, &copy.path));
    for (from, path) in files.chain([(&own, &own), (&image.vmlinuz, &image.vmlinuz)]) {
        let metadata = fs::metadata(from).with_context(|| format!("read {}", from.display()))?;
        (
            path,
            metadata.size(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        )
            .hash(&mut hasher);
    }
    Ok(hasher.finish())
}
