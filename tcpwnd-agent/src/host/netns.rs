//! Network namespaces by name.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::reason;

/// Where iproute2 keeps named namespaces (`ip netns add`, NETNS_RUN_DIR).
const NAMED: &str = "/run/netns";

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
    let own = std::fs::metadata("/proc/self/ns/net").context("/proc/self/ns/net cannot be read")?;
    ensure!(
        found.dev() == own.dev(),
        "no network namespace '{text}': {} is an ordinary file",
        path.display()
    );
    u32::try_from(found.ino()).context("the namespace's inode number is out of range")
}

#[cfg(test)]
mod tests {
    use super::resolve;

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
