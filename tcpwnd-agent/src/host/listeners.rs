//! The listening TCP sockets of this process' network namespace, and whose they are.

use std::collections::BTreeSet;

use tcpwnd_core::risk::Listener;

use super::owners::{self, Effort};
use super::{reason, sock_diag};

/// Reads them, and says what could not be seen.
#[must_use]
pub fn read() -> (Option<Vec<Listener>>, Option<String>) {
    let sockets = match sock_diag::tcp(sock_diag::LISTEN) {
        Ok(sockets) => sockets,
        Err(error) => return (None, Some(not_listed(&error))),
    };
    let inodes: BTreeSet<u64> = sockets.iter().map(|one| one.inode).collect();
    let mut owners = owners::of(&inodes, &mut Effort(u32::MAX));
    let listeners: Vec<_> = sockets
        .into_iter()
        .map(|socket| Listener {
            addr: socket.addr,
            port: socket.port,
            queue_len: socket.receive_queue,
            queue_limit: socket.send_queue,
            rcvbuf: socket.rcvbuf,
            process: owners.found.remove(&socket.inode).map(Into::into),
        })
        .collect();
    let unknown = listeners.iter().filter(|one| one.process.is_none()).count();
    let unseen = no_names(unknown, owners.hidden);
    (Some(listeners), unseen)
}

fn not_listed(error: &std::io::Error) -> String {
    let way_out = match error.raw_os_error() {
        // No handler for the family: tcp_diag is a module that could not be loaded.
        Some(libc::ENOENT) => {
            "no sock_diag for TCP in this kernel (try modprobe tcp_diag)".to_owned()
        }
        _ => reason(error),
    };
    format!("listeners: {way_out}")
}

/// What is to be said of listeners whose process is not known, if `hidden` processes must not be
/// looked into.
pub fn no_names(unknown: usize, hidden: usize) -> Option<String> {
    let why = match (unknown, hidden) {
        (0, _) => return None,
        (_, 0) => "the kernel's own, or in another PID namespace",
        _ => "descriptors of other users' processes are hidden (run as root)",
    };
    Some(format!(
        "the processes of listeners, {unknown} of them: {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::{no_names, not_listed};
    use std::io::Error;

    #[test]
    fn names_that_are_missing_are_accounted_for() {
        assert_eq!(no_names(0, 9), None);
        let hidden = no_names(2, 9).unwrap();
        assert!(
            hidden.contains("listeners, 2") && hidden.contains("root"),
            "{hidden}"
        );
        assert!(no_names(1, 0).unwrap().contains("PID namespace"));
    }

    #[test]
    fn a_kernel_that_lists_nothing_is_told_of() {
        let line = not_listed(&Error::from_raw_os_error(libc::ENOENT));
        assert!(line.contains("modprobe tcp_diag"), "{line}");
        let line = not_listed(&Error::from_raw_os_error(libc::EACCES));
        assert_eq!(line, "listeners: permission denied");
    }

    #[test]
    fn a_listener_of_ours_is_listed_as_ours() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let (listeners, unseen) = super::read();
        let Some(listeners) = listeners else {
            assert!(unseen.unwrap().starts_with("listeners: "));
            return;
        };
        let ours = listeners.iter().find(|one| one.port == port).unwrap();
        assert_eq!(ours.process.as_ref().unwrap().pid, std::process::id());
    }
}
