//! The kernel's list of sockets, asked for connections that are to be found again: is it open, and
//! which socket is it?
//!
//! Constraint: "it has ended" is said only where look-ups work. One that fails says nothing, and is
//! counted.

use std::io;

use tcpwnd_core::{Flow, Listed, OpenFlow};

use crate::host::sock_diag::{Found, Lookup};
use crate::host::{netns, reason};

/// Where sockets are looked up, if they can be.
#[derive(Debug, Default)]
pub struct Sockets {
    lookup: Option<Lookup>,
    /// How often that failed.
    pub errors: u64,
    said: bool,
    trouble: Option<String>,
}

impl Sockets {
    /// Those of this process' network namespace.
    pub fn open() -> Self {
        let unknown = || io::Error::from(io::ErrorKind::NotFound);
        let lookup = netns::own().ok_or_else(unknown).and_then(Lookup::open);
        match lookup {
            Ok(lookup) => Self::by(lookup),
            Err(error) => Self {
                errors: u64::from(!Lookup::is_unsupported(&error)),
                trouble: Some(not_to_be_had(&error)),
                ..Self::default()
            },
        }
    }

    fn by(lookup: Lookup) -> Self {
        Self {
            lookup: Some(lookup),
            ..Self::default()
        }
    }

    /// Inode number of the only namespace whose sockets can be looked up.
    pub fn netns(&self) -> Option<u32> {
        self.lookup.as_ref().map(Lookup::netns)
    }

    /// Whether a connection is open with the very socket that it had; `None` where nobody can say.
    pub fn is_open(&mut self, flow: Flow, open: &OpenFlow) -> Option<bool> {
        let Listed::As(cookie) = open.listed else {
            return None;
        };
        match self.find(flow, Some(cookie))? {
            None => Some(false),
            // A socket never changes its scale after the handshake.
            Some(found) => (found.info.used() == open.used).then_some(true),
        }
    }

    /// What the list says of a connection that is open; `None` where nobody can say.
    pub fn identify(&mut self, flow: Flow, open: &OpenFlow) -> Option<Listed> {
        let found = self.find(flow, None)?;
        let same = found.filter(|found| found.info.used() == open.used);
        Some(same.map_or(Listed::Not, |found| Listed::As(found.cookie)))
    }

    fn find(&mut self, flow: Flow, cookie: Option<u64>) -> Option<Option<Found>> {
        let lookup = self.lookup.as_mut();
        let lookup = lookup.filter(|lookup| lookup.netns() == flow.netns())?;
        let found = lookup.connection(flow, cookie).and_then(|found| {
            // A kernel that answers nothing says the same of every socket.
            match found {
                None => lookup.answers().map(|()| None),
                found => Ok(found),
            }
        });
        found.map_err(|error| self.failed(&error)).ok()
    }

    fn failed(&mut self, error: &io::Error) {
        self.errors += 1;
        if !std::mem::replace(&mut self.said, true) {
            self.trouble = Some(format!(
                "a damaged connection could not be looked up: {}: it is tried again, and \
                 tcpwnd_state_file_errors_total counts on: restart tcpwnd if it does not end",
                reason(error)
            ));
        }
    }

    /// What there is to tell, once.
    pub fn trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }
}

/// That nothing can be looked up, and the way out where there is one.
fn not_to_be_had(error: &io::Error) -> String {
    let way_out = if Lookup::is_unsupported(error) {
        " (try modprobe tcp_diag)"
    } else {
        ""
    };
    format!(
        "sockets cannot be looked up, and so none is found again after a restart: {}{way_out}",
        reason(error)
    )
}

#[cfg(test)]
#[path = "sockets_tests.rs"]
mod tests;
