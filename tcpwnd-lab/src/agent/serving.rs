//! `tcpwnd run` of one port, as most who start it want it.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::{Agent, Launch};

impl Launch {
    /// Starts `tcpwnd run` for port 9092 with its pages at `listen`, and waits until every probe is
    /// attached.
    ///
    /// # Errors
    /// As [`Self::trace`].
    pub fn serve(&self, listen: SocketAddr, more: &[&str]) -> Result<Agent> {
        let listen = listen.to_string();
        let mut arguments = vec!["run", "--port", "9092", "--listen", &listen];
        arguments.extend(["--mechanism", self.mechanism.name()]);
        arguments.extend(more);
        self.start(&arguments)
    }
}

impl Agent {
    /// Ends it with SIGTERM, and returns what it wrote to standard error.
    ///
    /// # Errors
    /// When it fails.
    pub fn stop(mut self) -> Result<String> {
        self.signal(libc::SIGTERM)?;
        let (_, code, said) = self.end()?;
        ensure!(code == 0, "tcpwnd ended with {code}: {said}");
        Ok(said)
    }
}
