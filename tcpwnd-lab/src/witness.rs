//! Outside witnesses: what tcpdump saw on the wire, and what the kernel counted.
//!
//! Constraint: nothing here knows of tcpwnd; what it says is compared with tcpwnd's word.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, Result};

use crate::net::Namespace;
use crate::wait;

/// A SYN+ACK as tcpdump printed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireSynAck {
    /// The port that it went to.
    pub to_port: u16,
    /// Its window scale option.
    pub window_scale: Option<u8>,
    /// Whether it has timestamps.
    pub timestamps: bool,
}

/// A running tcpdump that prints SYN+ACKs.
#[derive(Debug)]
pub struct Tcpdump {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<WireSynAck>,
}

impl Tcpdump {
    /// Starts tcpdump on a namespace's `device`, and waits until it listens.
    ///
    /// # Errors
    /// When there is no tcpdump, or it does not start.
    pub fn start(at: &Namespace, device: &str) -> Result<Self> {
        let mut child = at.enter(|| {
            Command::new("tcpdump")
                .args(["-n", "-l", "-U", "--immediate-mode", "-i", device])
                // In this mode each packet takes a slot of the snapshot's length, 64 KiB unless
                // told otherwise: a burst of 32 SYN+ACKs would fill the buffer.
                .args(["-s", "256", "-B", "4096"])
                // SYN and ACK set; the filter language has no TCP flags for IPv6.
                .arg("tcp[13] & 18 = 18 or (ip6 and ip6[6] = 6 and ip6[53] & 18 = 18)")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .context("failed to start tcpdump")
        })?;
        let stdout = child
            .stdout
            .take()
            .context("tcpdump has no standard output")?;
        let stderr = child
            .stderr
            .take()
            .context("tcpdump has no standard error")?;
        let mut head = BufReader::new(stderr).lines().map_while(Result::ok);
        head.find(|line| line.contains("listening on"))
            .context("tcpdump does not listen")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // The other end goes with the capture.
            let printed = BufReader::new(stdout).lines().map_while(Result::ok);
            printed
                .map(|line| sender.send(line))
                .take_while(Result::is_ok)
                .for_each(drop);
        });
        Ok(Self {
            child,
            lines,
            seen: Vec::new(),
        })
    }

    /// Waits until `count` SYN+ACKs were seen since the start, and returns them in order.
    ///
    /// # Errors
    /// When they do not come.
    pub fn synacks(&mut self, count: usize) -> Result<Vec<WireSynAck>> {
        wait::until_true(
            wait::PATIENCE,
            &format!("tcpdump to see {count} SYN+ACKs"),
            || {
                self.seen
                    .extend(self.lines.try_iter().filter_map(|line| parse(&line)));
                Ok(self.seen.len() >= count)
            },
        )?;
        Ok(self.seen.clone())
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        // Harmless when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a line such as
/// `… IP 10.9.0.1.9092 > 10.9.0.2.40000: Flags [S.], seq 1, …, options [mss 1460,…,wscale 1], …`.
fn parse(line: &str) -> Option<WireSynAck> {
    let (head, tail) = line.split_once(": Flags [S")?;
    let options = tail.split_once("options [")?.1.split(']').next()?;
    let mut options = options.split(',').map(str::trim);
    Some(WireSynAck {
        to_port: head.rsplit('.').next()?.parse().ok()?,
        window_scale: options
            .clone()
            .find_map(|option| option.strip_prefix("wscale "))
            .and_then(|scale| scale.parse().ok()),
        timestamps: options.any(|option| option.starts_with("TS ")),
    })
}

/// A counter of a namespace's TCP, for example `TcpExt` `SyncookiesRecv` or `Tcp` `PassiveOpens`.
///
/// # Errors
/// When the kernel has no such counter.
pub fn counter(at: &Namespace, group: &str, name: &str) -> Result<u64> {
    let file = if group.ends_with("Ext") {
        "netstat"
    } else {
        "snmp"
    };
    // Not /proc/net, which is the process's and not the thread's.
    let path = format!("/proc/thread-self/net/{file}");
    let text = at.enter(|| std::fs::read_to_string(&path).context("failed to read counters"))?;
    find(&text, group, name).with_context(|| format!("the kernel does not count {group} {name}"))
}

/// Finds a counter in pairs of lines, the first with names, the second with values.
fn find(text: &str, group: &str, name: &str) -> Option<u64> {
    let prefix = format!("{group}:");
    let mut lines = text.lines().filter(|line| line.starts_with(&prefix));
    let (names, values) = (lines.next()?, lines.next()?);
    let column = names.split_whitespace().position(|word| word == name)?;
    values.split_whitespace().nth(column)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synack_of_tcpdump_is_read() {
        let line = "12:00:00.0 IP6 fd09::1.9092 > fd09::2.40000: Flags [S.], seq 1, ack 2, win \
                    65535, options [mss 1440,sackOK,TS val 1 ecr 2,nop,wscale 10], length 0";
        let seen = WireSynAck {
            to_port: 40_000,
            window_scale: Some(10),
            timestamps: true,
        };
        assert_eq!(parse(line), Some(seen));
        let bare = "12:00:00.0 IP 10.9.0.1.9092 > 10.9.0.2.40000: Flags [S.], seq 1, ack 2, win \
                    65535, options [mss 1460], length 0";
        let seen = WireSynAck {
            to_port: 40_000,
            window_scale: None,
            timestamps: false,
        };
        assert_eq!(parse(bare), Some(seen));
    }

    #[test]
    fn a_counter_is_found_by_its_column() {
        let text = "TcpExt: SyncookiesSent SyncookiesRecv\nTcpExt: 3 4\nIpExt: A\nIpExt: 1\n";
        assert_eq!(find(text, "TcpExt", "SyncookiesRecv"), Some(4));
        assert_eq!(find(text, "TcpExt", "Nothing"), None);
    }
}
