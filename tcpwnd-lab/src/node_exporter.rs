//! A real node_exporter beside the agent: the dashboard shows what it counts of the host as a whole.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::net::{Namespace, run};

/// Where it listens, and the other end of the link.
const ADDRESS: &str = "10.98.0.2:9100";
const THERE: &str = "10.98.0.2/30";
const HERE: &str = "10.98.0.1/30";

/// A running node_exporter. Dropping it kills it.
#[derive(Debug)]
pub struct NodeExporter {
    child: Child,
    /// Where it answers, in the network namespace of the laboratory.
    pub address: SocketAddr,
}

impl NodeExporter {
    /// Starts one that counts in `at`, on a link of its own from there to the laboratory's namespace.
    ///
    /// # Errors
    /// When there is none, or no link can be made.
    pub fn start(at: &Namespace) -> Result<Self> {
        let here = format!("/proc/{}/ns/net", std::process::id());
        at.enter(|| {
            run(&format!(
                "ip link add node0 type veth peer name node1 netns {here}"
            ))?;
            run(&format!("ip addr add {THERE} dev node0"))?;
            run("ip link set node0 up")
        })?;
        run(&format!("ip addr add {HERE} dev node1"))?;
        run("ip link set node1 up")?;
        let child = at.enter(|| {
            Command::new("prometheus-node-exporter")
                .args(["--collector.disable-defaults", "--collector.netstat"])
                .args(["--web.listen-address", ADDRESS, "--log.level", "error"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .context("failed to start prometheus-node-exporter")
        })?;
        let address = ADDRESS.parse().context("no address")?;
        Ok(Self { child, address })
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        // Harmless when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
