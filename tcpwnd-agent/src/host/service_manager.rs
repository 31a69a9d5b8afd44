//! What systemd is told where it started the agent (sd_notify(3)), and anybody else who sets
//! NOTIFY_SOCKET. Without that nothing is sent.
//!
//! Constraint: called by the event loop and by nothing else, the watchdog's pings included: if the
//! loop is stuck, they stay away. The socket is made at the start, for later none can be.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::future;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::reason;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Interval>,
    status: String,
    failed: bool,
}

impl ServiceManager {
    /// Reads from the environment whether there is one, and how often it wants a ping: twice in
    /// the time after which it takes the agent for stuck.
    #[must_use]
    pub fn new() -> Self {
        let patience = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero());
        let watchdog = patience.map(|patience| {
            let mut pings = interval((patience / 2).max(Duration::from_millis(1)));
            pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pings
        });
        let mut manager = Self {
            socket: None,
            watchdog,
            status: String::new(),
            failed: false,
        };
        if let Some(name) = std::env::var_os("NOTIFY_SOCKET") {
            match connect(&name) {
                Ok(socket) => manager.socket = Some(socket),
                Err(error) => manager.complain(&error),
            }
        }
        manager
    }

    /// Everything is attached and served.
    pub fn ready(&mut self, status: String) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        self.status = status;
    }

    /// What `systemctl status` shows; sent when it is new.
    pub fn status(&mut self, status: String) {
        if status != self.status {
            self.tell(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    /// It is about to end.
    pub fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// Waits until a ping is due; forever without a watchdog. Safe to cancel.
    pub async fn ping_due(&mut self) {
        match &mut self.watchdog {
            Some(pings) => drop(pings.tick().await),
            None => future::pending().await,
        }
    }

    /// The event loop is alive.
    pub fn ping(&mut self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&mut self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let mut message = String::new();
        for state in states {
            // Writing to a String cannot fail.
            let _ = writeln!(message, "{state}");
        }
        if let Err(error) = socket.send(message.as_bytes()) {
            self.complain(&error);
        }
    }

    /// Once: systemd ends a service that it hears nothing of, and this says why.
    fn complain(&mut self, error: &io::Error) {
        if !self.failed {
            self.failed = true;
            eprintln!(
                "tcpwnd: failed to notify the service manager: {}",
                reason(error)
            );
        }
    }
}

/// A name that begins with @ is in no file system (unix(7)).
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::connect;
    use std::ffi::OsStr;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    #[test]
    fn both_kinds_of_names_are_connected_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let there = UnixDatagram::bind(&path).unwrap();
        connect(path.as_os_str()).unwrap().send(b"x").unwrap();
        assert_eq!(there.recv(&mut [0; 8]).unwrap(), 1);

        let name = format!("tcpwnd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let there = UnixDatagram::bind_addr(&address).unwrap();
        let name = format!("@{name}");
        connect(OsStr::new(&name)).unwrap().send(b"xy").unwrap();
        assert_eq!(there.recv(&mut [0; 8]).unwrap(), 2);
    }
}
