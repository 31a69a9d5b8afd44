//! The TCP sockets of every network namespace that can be entered.
//!
//! Constraint: a namespace is entered by a thread of its own, which ends there, so that nothing of
//! this process is ever left in another one. What could not be seen is said.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use tcpwnd_core::risk::Settings;
use tcpwnd_core::scan::{Listener, Namespace, Socket};

use super::{netns, reason, sock_diag, sysctl, sysctls};

/// Where a container engine keeps the namespaces that it makes.
const CONTAINERS: &str = "/run/docker/netns";

/// What was read.
#[derive(Debug, Default)]
pub struct Seen {
    /// The namespaces, by inode number.
    pub namespaces: BTreeMap<u32, Namespace>,
    /// What could not be seen, and why, a sentence each.
    pub unseen: Vec<String>,
}

/// Reads the namespaces, or only the one with this inode number where it is not 0.
/// `heeds_adv_win_scale` is asked where it matters.
pub fn read(only: u32, heeds_adv_win_scale: &(dyn Fn() -> bool + Sync)) -> Seen {
    let mut seen = Seen::default();
    let (mut found, hidden) = find();
    if only != 0 {
        found.retain(|inode, _| *inode == only);
        if found.is_empty() {
            seen.unseen.push(format!(
                "network namespace {only}: neither a name nor a process that can be looked into \
                 leads to it"
            ));
        }
    } else if hidden > 0 {
        seen.unseen.push(format!(
            "the network namespaces of {hidden} processes: theirs are hidden (run as root, or with \
             CAP_SYS_PTRACE)"
        ));
    }
    let own = netns::own();
    for (inode, path) in found {
        let work = || namespace(inode, heeds_adv_win_scale);
        let read = if own == Some(inode) {
            work()
        } else {
            inside(&path, work)
        };
        match read {
            Ok(namespace) => {
                seen.namespaces.insert(inode, namespace);
            }
            // Its last process ended meanwhile, and its connections with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => {}
            Err(error) => seen.unseen.push(not_entered(inode, &error)),
        }
    }
    share_rmem_max(&mut seen.namespaces);
    seen
}

/// It is one value for the whole machine, which 5.10 and 6.1 show in the first namespace only.
fn share_rmem_max(namespaces: &mut BTreeMap<u32, Namespace>) {
    let shown = namespaces.values().find_map(|at| at.settings.rmem_max);
    let known = shown.or_else(|| sysctl("net/core/rmem_max"));
    for namespace in namespaces.values_mut() {
        let settings = &mut namespace.settings;
        settings.rmem_max = settings.rmem_max.or(known);
    }
}

fn not_entered(inode: u32, error: &io::Error) -> String {
    let way_out = match error.raw_os_error() {
        Some(libc::EPERM) => "entering it takes CAP_SYS_ADMIN (run as root)".to_owned(),
        // No handler for the family: tcp_diag is a module that could not be loaded.
        Some(libc::ENOENT) => {
            "no sock_diag for TCP in this kernel (try modprobe tcp_diag)".to_owned()
        }
        _ => reason(error),
    };
    format!("network namespace {inode}: {way_out}")
}

/// Every namespace that has a name or a process, with a path to it; and of how many processes that
/// must not be known.
fn find() -> (BTreeMap<u32, PathBuf>, usize) {
    let mut found = BTreeMap::new();
    let entries = |folder: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path())
    };
    let own = Path::new("/proc/self/ns/net");
    found.extend(netns::inode_of(own).map(|inode| (inode, own.to_owned())));
    for path in entries(netns::NAMED).chain(entries(CONTAINERS)) {
        if let Ok(Some(inode)) = netns::namespace_at(&path) {
            found.entry(inode).or_insert(path);
        }
    }
    let mut hidden = 0;
    let is_number = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.parse::<u32>().is_ok())
    };
    for process in entries("/proc").filter(|path| is_number(path)) {
        let path = process.join("ns/net");
        match netns::namespace_at(&path) {
            Ok(Some(inode)) => {
                found.entry(inode).or_insert(path);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => hidden += 1,
            // Others have ended meanwhile.
            Ok(None) | Err(_) => {}
        }
    }
    (found, hidden)
}

/// Does something in a thread that has entered a namespace.
fn inside<T: Send>(path: &Path, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let handle = File::open(path)?;
    let enter = move || {
        // SAFETY: takes a descriptor by value; affects the calling thread alone.
        if unsafe { libc::setns(handle.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        work()
    };
    std::thread::scope(|scope| scope.spawn(enter).join())
        .unwrap_or_else(|_| Err(io::Error::other("the reader panicked")))
}

/// What this thread's namespace says.
fn namespace(inode: u32, heeds_adv_win_scale: &(dyn Fn() -> bool + Sync)) -> io::Result<Namespace> {
    // The listeners first: a connection whose listener came later was not made by it.
    let listeners = sock_diag::tcp(sock_diag::LISTEN)?;
    let sockets = sock_diag::tcp(sock_diag::CONNECTED)?;
    Ok(Namespace {
        settings: settings(heeds_adv_win_scale),
        listeners: listeners
            .into_iter()
            .map(|socket| Listener {
                addr: socket.addr,
                port: socket.port,
                ifindex: socket.ifindex,
                only_v6: socket.only_v6,
                rcvbuf: socket.rcvbuf,
            })
            .collect(),
        sockets: sockets
            .into_iter()
            .filter_map(|socket| {
                Some(Socket {
                    flow: socket.flow(inode),
                    cookie: socket.cookie,
                    info: socket.info?,
                })
            })
            .collect(),
    })
}

fn settings(heeds_adv_win_scale: &(dyn Fn() -> bool + Sync)) -> Settings {
    let settings = sysctls::read(true);
    // With 1, the default, half of a receive buffer becomes window, as in kernels that do not heed
    // it. To find out takes reading all of the kernel's BTF.
    if settings.tcp_adv_win_scale == Some(1) || heeds_adv_win_scale() {
        return settings;
    }
    Settings {
        tcp_adv_win_scale: None,
        ..settings
    }
}

#[cfg(test)]
mod tests {
    use super::{Namespace, not_entered, read};
    use crate::host::netns;
    use std::io::Error;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_of_ours_is_seen_in_our_namespace() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let client = TcpStream::connect(local).unwrap();
        let own = netns::own().unwrap();
        let seen = read(own, &|| true);
        let Some(namespace) = seen.namespaces.get(&own) else {
            // A kernel without it says so.
            assert!(seen.unseen[0].contains("tcp_diag"), "{:?}", seen.unseen);
            return;
        };
        assert!(namespace.listeners.iter().any(|at| at.port == local.port()));
        let mut flows = namespace.sockets.iter().map(|socket| socket.flow);
        let ours = client.local_addr().unwrap();
        let found = flows.find(|flow| flow.remote() == ours && flow.local() == local);
        assert_eq!(found.unwrap().netns(), own);
    }

    #[test]
    fn what_one_namespace_shows_of_the_machine_counts_in_all() {
        let mut namespaces = std::collections::BTreeMap::from([
            (1, Namespace::default()),
            (2, Namespace::default()),
        ]);
        namespaces.get_mut(&2).unwrap().settings.rmem_max = Some(7);
        super::share_rmem_max(&mut namespaces);
        assert_eq!(namespaces[&1].settings.rmem_max, Some(7));
    }

    #[test]
    fn a_namespace_that_is_nowhere_is_told_of() {
        let seen = read(1, &|| true);
        assert!(seen.namespaces.is_empty());
        assert!(seen.unseen[0].starts_with("network namespace 1: "));
    }

    #[test]
    fn what_keeps_us_out_comes_with_its_way_out() {
        let line = not_entered(7, &Error::from_raw_os_error(libc::EPERM));
        assert!(line.contains("7: ") && line.contains("CAP_SYS_ADMIN"));
        let line = not_entered(7, &Error::from_raw_os_error(libc::ENOENT));
        assert!(line.contains("modprobe tcp_diag"));
    }
}
