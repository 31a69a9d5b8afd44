//! Which process has a socket open: the descriptors below /proc.
//!
//! Constraint: of several processes that share a socket, the one with the smallest number counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tcpwnd_core::risk::Process;

/// Who has the sockets open, as far as /proc lets us see.
#[derive(Debug, Default)]
pub struct Owners {
    /// By inode number of the socket.
    pub found: BTreeMap<u64, Process>,
    /// Processes whose descriptors must not be read.
    pub hidden: usize,
}

/// Looks for the owners of these sockets.
#[must_use]
pub fn of(sockets: &BTreeSet<u64>) -> Owners {
    let mut owners = Owners::default();
    for pid in pids() {
        if owners.found.len() == sockets.len() {
            break;
        }
        let process = PathBuf::from(format!("/proc/{pid}"));
        match fs::read_dir(process.join("fd")) {
            Ok(descriptors) => {
                for descriptor in descriptors.flatten() {
                    let inode = fs::read_link(descriptor.path()).ok();
                    if let Some(inode) = inode.as_deref().and_then(inode_of)
                        && sockets.contains(&inode)
                    {
                        owners.found.entry(inode).or_insert_with(|| Process {
                            pid,
                            name: name(&process),
                        });
                    }
                }
            }
            // Others have ended meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                owners.hidden += 1;
            }
            Err(_) => {}
        }
    }
    owners
}

fn pids() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// `socket:[77]` is 77.
fn inode_of(link: &Path) -> Option<u64> {
    let text = link.to_str()?.strip_prefix("socket:[")?;
    text.strip_suffix(']')?.parse().ok()
}

/// A process chooses its name, so that it must not get to a terminal as it is.
fn name(process: &Path) -> String {
    let name = fs::read(process.join("comm")).unwrap_or_default();
    printable(&String::from_utf8_lossy(&name))
}

fn printable(name: &str) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    name.trim_end_matches('\n').chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::{of, printable};
    use std::collections::BTreeSet;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_socket_of_ours_is_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let inode = super::inode_of(&link).unwrap();
        let owners = of(&BTreeSet::from([inode]));
        assert_eq!(owners.found[&inode].pid, std::process::id());
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(owners.found[&inode].name, own.trim_end());
    }

    #[test]
    fn nobody_has_what_does_not_exist() {
        assert!(of(&BTreeSet::from([u64::MAX])).found.is_empty());
    }

    #[test]
    fn names_do_not_control_a_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a?[2Jb");
    }
}
