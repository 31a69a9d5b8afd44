//! A process that looks like a Kafka broker to whoever lists processes: its name is `java`, its
//! command line has the broker's main class, and it listens.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::socket::ListenOptions;
use crate::wait;

const MAIN_CLASS: &str = "kafka.Kafka";

/// The state LISTEN in /proc/net/tcp6 (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// The process: this program under another name. Dropping it kills it.
#[derive(Debug)]
pub struct KafkaStandIn {
    child: Child,
    /// The name is that of the file, so there has to be one.
    _file: tempfile::TempDir,
}

impl KafkaStandIn {
    /// Starts it in the calling thread's network namespace and waits until it listens, without
    /// connecting to it. Only port, backlog and receive buffer are taken from the options.
    ///
    /// # Errors
    /// When it does not come to listen.
    pub fn start(listen: &ListenOptions) -> Result<Self> {
        let directory = tempfile::tempdir().context("failed to make a directory")?;
        let java = directory.path().join("java");
        let this = std::env::current_exe().context("this program has no file")?;
        std::os::unix::fs::symlink(this, &java).context("failed to make a link")?;
        let child = Command::new(java)
            // Any argument will do, and all others have a meaning.
            .arg0(MAIN_CLASS)
            .args(["broker", "--port", &listen.port.to_string()])
            .args(["--backlog", &listen.backlog.to_string()])
            .args(["--receive-buffer"])
            .arg(listen.receive_buffer.unwrap_or(0).to_string())
            .stdin(Stdio::null())
            .spawn()
            .context("failed to start a stand-in for Kafka")?;
        let stand_in = Self {
            child,
            _file: directory,
        };
        wait::until_true(wait::PATIENCE, "a stand-in for Kafka to listen", || {
            is_listening(listen.port)
        })?;
        Ok(stand_in)
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for KafkaStandIn {
    fn drop(&mut self) {
        // It fails only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_listening(port: u16) -> Result<bool> {
    let sockets = std::fs::read_to_string("/proc/thread-self/net/tcp6")
        .context("failed to read /proc/thread-self/net/tcp6")?;
    let mut lines = sockets.lines();
    Ok(lines.any(|line| is_listener(line, port)))
}

/// A line is `0: ADDRESS:PORT ADDRESS:PORT STATE …`, in hexadecimal digits.
fn is_listener(line: &str, port: u16) -> bool {
    let mut fields = line.split_whitespace().skip(1);
    let local = fields.next().unwrap_or_default();
    local.ends_with(&format!(":{port:04X}")) && fields.nth(1) == Some(LISTEN)
}

#[cfg(test)]
mod tests {
    use super::is_listener;

    #[test]
    fn a_listener_is_told_from_its_connections() {
        let line = |state| {
            format!(
                "   0: 00000000000000000000000000000000:2384 \
                 00000000000000000000000000000000:0000 {state} 00000000:00000000 00:00000000"
            )
        };
        assert!(is_listener(&line("0A"), 9092));
        assert!(!is_listener(&line("01"), 9092) && !is_listener(&line("0A"), 9093));
        assert!(!is_listener(
            "  sl  local_address  remote_address  st tx_queue",
            9092
        ));
    }
}
