//! Network namespaces by name.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::reason;

/// Where iproute2 keeps named namespaces (`ip netns add`, NETNS_RUN_DIR).
pub(super) const NAMED: &str = "/run/netns";

/// Where else there are namespaces under a name, and what is put before it: those of Docker.
const OTHERS: [(&str, &str); 1] = [("/run/docker/netns", "docker/")];

/// Names that are kept.
const LIMIT: usize = 4_096;

/// How long names are taken for granted.
const FRESH: Duration = Duration::from_secs(10);

/// The names that namespaces have.
#[derive(Debug, Default)]
pub struct Names {
    names: HashMap<u32, String>,
    read: Option<Instant>,
}

impl Names {
    /// The name of a namespace; `None` where it has none. Of several the first counts.
    pub fn name(&mut self, netns: u32, now: Instant) -> Option<String> {
        if self
            .read
            .is_none_or(|read| now.duration_since(read) >= FRESH)
        {
            self.names = named();
            self.read = Some(now);
        }
        self.names.get(&netns).cloned()
    }
}

fn named() -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for (folder, before) in [(NAMED, "")].into_iter().chain(OTHERS) {
        let mut paths: Vec<_> = entries(folder).take(LIMIT).collect();
        paths.sort();
        for path in paths {
            // A file beside them has an inode number of another file system.
            if let (Some(inode), Some(name)) = (inode_of_netns(&path), path.file_name()) {
                let name = super::owners::printable(&name.to_string_lossy());
                names
                    .entry(inode)
                    .or_insert_with(|| format!("{before}{name}"));
            }
        }
    }
    names
}

fn entries(folder: &str) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

fn inode_of_netns(path: &Path) -> Option<u32> {
    let (found, own) = (std::fs::metadata(path).ok()?, std::fs::metadata(OWN).ok()?);
    (found.dev() == own.dev()).then(|| u32::try_from(found.ino()).ok())?
}

const OWN: &str = "/proc/self/ns/net";

/// The inode number of a namespace that is given as its number, its name, or a path to it.
///
/// # Errors
/// When there is no such namespace, or the path leads to something else.
pub fn resolve(text: &str) -> Result<u32> {
    if let Ok(inode) = text.parse() {
        return Ok(inode);
    }
    let path = if text.contains('/') {
        PathBuf::from(text)
    } else {
        Path::new(NAMED).join(text)
    };
    let found = std::fs::metadata(&path).map_err(|error| {
        let line = format!(
            "no network namespace '{text}': {}: {}",
            path.display(),
            reason(&error)
        );
        anyhow::Error::new(error).context(line)
    })?;
    // Every namespace file lives on the one device of nsfs (fs/nsfs.c).
    let own = std::fs::metadata(OWN).with_context(|| format!("{OWN} cannot be read"))?;
    ensure!(
        found.dev() == own.dev(),
        "no network namespace '{text}': {} is an ordinary file",
        path.display()
    );
    u32::try_from(found.ino()).context("the namespace's inode number is out of range")
}

/// Inode number of this process' namespace.
#[must_use]
pub fn own() -> Option<u32> {
    inode_of(Path::new(OWN))
}

/// What a command has to begin with to run in a namespace, with a space behind: nothing for this
/// process' own; `None` where there is neither a name nor a process by which to enter it.
#[must_use]
pub fn entering(netns: u32) -> Option<String> {
    if own() == Some(netns) {
        return Some(String::new());
    }
    if let Some(path) = entries(NAMED).find(|path| inode_of(path) == Some(netns)) {
        let name = path.file_name()?.to_str()?;
        return Some(format!("ip netns exec {name} "));
    }
    entries("/proc").find_map(|path| {
        let pid: u32 = path.file_name()?.to_str()?.parse().ok()?;
        (inode_of(&path.join("ns/net")) == Some(netns))
            .then(|| format!("nsenter --target {pid} --net "))
    })
}

/// The inode number of the namespace that a path leads to; `None` when it leads to something else.
pub(super) fn namespace_at(path: &Path) -> std::io::Result<Option<u32>> {
    let found = std::fs::metadata(path)?;
    let own = std::fs::metadata("/proc/self/ns/net")?;
    // Every namespace file lives on the one device of nsfs (fs/nsfs.c).
    let inode = u32::try_from(found.ino()).ok();
    Ok(inode.filter(|_| found.dev() == own.dev()))
}

pub(super) fn inode_of(path: &Path) -> Option<u32> {
    u32::try_from(std::fs::metadata(path).ok()?.ino()).ok()
}

#[cfg(test)]
mod tests {
    use super::{entering, own, resolve};

    #[test]
    fn the_own_namespace_needs_no_entering() {
        assert_eq!(entering(own().unwrap()), Some(String::new()));
        // Inode numbers of namespaces are far above this one.
        assert_eq!(entering(1), None);
    }

    #[test]
    fn number_and_path_name_the_same_namespace() {
        let by_path = resolve("/proc/self/ns/net").unwrap();
        assert_ne!(by_path, 0);
        assert_eq!(resolve(&by_path.to_string()).unwrap(), by_path);
    }

    #[test]
    fn refuses_what_is_no_namespace() {
        let error = resolve("/proc/self/status").unwrap_err().to_string();
        assert!(error.contains("ordinary file"), "{error}");
        let error = resolve("no-such-namespace").unwrap_err().to_string();
        assert!(
            error.contains("/run/netns/no-such-namespace: no such file or directory"),
            "{error}"
        );
    }
}
