//! Which process has a socket open: the descriptors below /proc.
//!
//! Constraint: of several processes that share a socket, the one with the smallest number counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tcpwnd_core::risk;

/// Who has the sockets open, as far as /proc lets us see.
#[derive(Debug, Default)]
pub struct Owners {
    /// By inode number of the socket.
    pub found: BTreeMap<u64, Owner>,
    /// Processes whose descriptors must not be read.
    pub hidden: usize,
    /// The effort did not suffice to look at every process.
    pub cut_short: bool,
}

/// How much may be looked at: processes, descriptors, directories, about a microsecond each. A
/// number and not a time, so that the same is found on a machine that is slow at the moment.
#[derive(Debug)]
pub struct Effort(pub u32);

impl Effort {
    /// Whether one more may be looked at.
    pub fn spend(&mut self) -> bool {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// Its name, of at most 15 bytes.
    pub name: String,
    /// Others that have the socket open too.
    pub others: u32,
    /// The descriptor, below /proc.
    descriptor: PathBuf,
    inode: u64,
}

/// Looks for the owners of these sockets.
#[must_use]
pub fn of(sockets: &BTreeSet<u64>, effort: &mut Effort) -> Owners {
    let pids = pids();
    // There always is one; where it is not listed, other users' processes are not
    // (hidepid= of proc(5), ProtectProc= of systemd).
    let hidden = usize::from(!pids.contains(&1));
    let mut owners = among(&pids, sockets, effort);
    owners.hidden += hidden;
    owners
}

/// Looks for the owners of these sockets among some processes.
#[must_use]
pub fn among(pids: &BTreeSet<u32>, sockets: &BTreeSet<u64>, effort: &mut Effort) -> Owners {
    let mut owners = Owners::default();
    for &pid in pids {
        if !effort.spend() {
            owners.cut_short = true;
            break;
        }
        match descriptors(pid, sockets, effort) {
            Ok(open) => open.into_iter().for_each(|owner| owners.add(owner)),
            // Others have ended meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                owners.hidden += 1;
            }
            Err(_) => {}
        }
    }
    owners
}

impl Owners {
    fn add(&mut self, owner: Owner) {
        let known = self.found.entry(owner.inode).or_insert_with(|| Owner {
            others: 0,
            ..owner.clone()
        });
        known.others += u32::from(known.pid != owner.pid);
    }
}

impl Owner {
    /// Whether it has the socket open still. Numbers of processes are used again, those of sockets
    /// are not.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let link = fs::read_link(&self.descriptor).ok();
        link.as_deref().and_then(inode_of) == Some(self.inode)
    }

    /// Whether it is a Kafka broker.
    #[must_use]
    pub fn is_kafka(&self) -> bool {
        fs::read(format!("/proc/{}/cmdline", self.pid)).is_ok_and(|line| is_kafka(&line))
    }
}

impl From<Owner> for risk::Process {
    fn from(owner: Owner) -> Self {
        Self {
            kafka: owner.is_kafka(),
            pid: owner.pid,
            name: owner.name,
        }
    }
}

/// The main class of a broker, Apache's and Confluent's, as an argument of its own.
fn is_kafka(command_line: &[u8]) -> bool {
    let classes: [&[u8]; 2] = [
        b"kafka.Kafka",
        b"io.confluent.support.metrics.SupportedKafka",
    ];
    command_line
        .split(|byte| *byte == 0)
        .any(|argument| classes.contains(&argument))
}

/// The first descriptor that a process has of each of the sockets.
fn descriptors(
    pid: u32,
    sockets: &BTreeSet<u64>,
    effort: &mut Effort,
) -> std::io::Result<Vec<Owner>> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let mut open: Vec<Owner> = Vec::new();
    for entry in fs::read_dir(process.join("fd"))?.flatten() {
        // The next process, if there is one, finds that it is over.
        if !effort.spend() {
            break;
        }
        let descriptor = entry.path();
        let link = fs::read_link(&descriptor).ok();
        let Some(inode) = link.as_deref().and_then(inode_of) else {
            continue;
        };
        if sockets.contains(&inode) && open.iter().all(|known| known.inode != inode) {
            open.push(Owner {
                pid,
                name: name(&process),
                others: 0,
                descriptor,
                inode,
            });
        }
    }
    // Whoever has the number by now may have come after the name was read.
    open.retain(Owner::is_current);
    Ok(open)
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
    printable(String::from_utf8_lossy(&name).trim_end_matches('\n'))
}

/// What somebody else chose, without what controls a terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::{Effort, is_kafka, of, printable};
    use std::collections::BTreeSet;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    const ENOUGH: Effort = Effort(u32::MAX);

    fn inode(listener: &TcpListener) -> u64 {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        super::inode_of(&link).unwrap()
    }

    #[test]
    fn a_socket_of_ours_is_ours_until_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let twice = listener.try_clone().unwrap();
        let inode = inode(&listener);
        let owner = of(&BTreeSet::from([inode]), &mut { ENOUGH }).found[&inode].clone();
        assert_eq!((owner.pid, owner.others), (std::process::id(), 0));
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(owner.name, own.trim_end());
        assert!(owner.is_current() && !owner.is_kafka());
        drop((listener, twice));
        assert!(!owner.is_current());
        assert!(
            of(&BTreeSet::from([inode]), &mut { ENOUGH })
                .found
                .is_empty()
        );
    }

    #[test]
    fn nobody_has_what_does_not_exist() {
        assert!(
            of(&BTreeSet::from([u64::MAX]), &mut { ENOUGH })
                .found
                .is_empty()
        );
    }

    #[test]
    fn what_was_cut_short_says_so() {
        let mut effort = Effort(1);
        let owners = of(&BTreeSet::from([1]), &mut effort);
        assert!(owners.cut_short && owners.found.is_empty());
        assert!(!effort.spend());
    }

    #[test]
    fn a_broker_is_known_by_its_main_class() {
        assert!(is_kafka(
            b"java\0-Xmx1G\0kafka.Kafka\0config/server.properties\0"
        ));
        for other in [
            &b"java\0-Dnote=kafka.Kafka\0Main\0"[..],
            b"java\0kafka.admin.ConfigCommand\0",
            b"vi\0kafka.Kafka.java\0",
            b"",
        ] {
            assert!(!is_kafka(other), "{other:?}");
        }
    }

    #[test]
    fn names_do_not_control_a_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a?[2Jb?");
    }
}
