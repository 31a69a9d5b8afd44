//! What the options resolve to.
//!
//! Constraint: everything that can be wrong with an option is found here, before anything is
//! loaded into the kernel.

mod networks;

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, bail, ensure};
use tcpwnd_common::{
    Config, FAMILY_IPV4, FAMILY_IPV6, FlowKey, MAX_PORT_RANGES, PortRange, ROLE_CLIENT, ROLE_SERVER,
};

use crate::cli::{
    self, FilterArgs, IgnoreArgs, KernelArgs, MechanismArg, RoleArg, RoleArgs, RunArgs,
    TransportArg,
};
use crate::host::netns;
use crate::probes::{self, MechanismChoice, TransportChoice};

pub use networks::Networks;

/// Where `run` serves its metrics by default. Prometheus' public list of exporter ports gives
/// away 9100 to 9999 completely, so this lies outside of it.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:10435";

/// Findings that --recent-findings may keep; about 300 MB.
const MAX_RECENT_FINDINGS: usize = 100_000;

/// Which connections to look at, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Local ports, sorted and without overlaps; empty for all.
    pub ports: Vec<PortRange>,
    /// The peers' ports; empty for all.
    pub remote_ports: Vec<PortRange>,
    /// The peers' networks; empty for all.
    pub hosts: Networks,
    /// [`FAMILY_IPV4`], [`FAMILY_IPV6`] or both.
    pub families: u32,
    /// Inode number of the only network namespace; 0 for all.
    pub netns: u32,
}

impl Default for Filter {
    /// Everything passes.
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            remote_ports: Vec::new(),
            hosts: Networks::default(),
            families: FAMILY_IPV4 | FAMILY_IPV6,
            netns: 0,
        }
    }
}

impl Filter {
    /// Resolves what was typed.
    ///
    /// # Errors
    /// When a port, a network or a namespace cannot be understood.
    pub fn resolve(args: &FilterArgs) -> Result<Self> {
        let ports = port_ranges(&args.port, "--port")?;
        let remote_ports = port_ranges(&args.remote_port, "--remote-port")?;
        let hosts = Networks::resolve(&args.host, "--host")?;
        let families = match (args.ipv4, args.ipv6) {
            (true, false) => FAMILY_IPV4,
            (false, true) => FAMILY_IPV6,
            _ => FAMILY_IPV4 | FAMILY_IPV6,
        };
        let netns = args.netns.as_deref().map_or(Ok(0), netns::resolve)?;
        Ok(Self {
            ports,
            remote_ports,
            hosts,
            families,
            netns,
        })
    }

    /// The part of the filter that the kernel programs apply.
    #[must_use]
    pub fn kernel_config(&self, role: RoleArg, confirm: bool) -> Config {
        let mut config = Config {
            families: self.families,
            netns: self.netns,
            // Windows are watched of connections that this host accepted.
            confirm: u32::from(confirm && role != RoleArg::Client),
            roles: match role {
                RoleArg::Server => ROLE_SERVER,
                RoleArg::Client => ROLE_CLIENT,
                RoleArg::Both => ROLE_SERVER | ROLE_CLIENT,
            },
            ..Config::ALL
        };
        for (slot, range) in config.port_ranges.iter_mut().zip(&self.ports) {
            *slot = *range;
            config.port_range_count += 1;
        }
        let slots = config.remote_port_ranges.iter_mut();
        for (slot, range) in slots.zip(&self.remote_ports) {
            *slot = *range;
            config.remote_port_range_count += 1;
        }
        config
    }

    /// What is odd about this filter for this role, if anything.
    #[must_use]
    pub fn doubt(&self, role: RoleArg) -> Option<&'static str> {
        let by_local_port = !self.ports.is_empty() && self.remote_ports.is_empty();
        (by_local_port && role != RoleArg::Server).then_some(
            "--port is the local port, which of a connection that this host opens is seldom a \
             service's: use --remote-port for the port it connects to",
        )
    }

    /// Whether the whole filter lets a flow pass.
    #[must_use]
    pub fn selects(&self, flow: &FlowKey) -> bool {
        let family = if flow.is_ipv4() {
            FAMILY_IPV4
        } else {
            FAMILY_IPV6
        };
        let port =
            one_of(&self.ports, flow.local_port) && one_of(&self.remote_ports, flow.remote_port);
        let netns = self.netns == 0 || self.netns == flow.netns;
        port && netns && self.families & family != 0 && self.admits(flow)
    }

    /// Whether the part of the filter that the programs leave to the agent lets a flow pass.
    #[must_use]
    pub fn admits(&self, flow: &FlowKey) -> bool {
        self.hosts.is_empty() || self.hosts.contain(flow.remote_addr)
    }
}

/// Whether a port lies in one of the ranges; all do where there is none.
fn one_of(ranges: &[PortRange], port: u16) -> bool {
    ranges.is_empty() || ranges.iter().any(|r| (r.first..=r.last).contains(&port))
}

/// Parses `9092` and `9093-9099`, joins what touches, and sees that the programs have room for it.
fn port_ranges(list: &[String], option: &str) -> Result<Vec<PortRange>> {
    let mut ranges = Vec::new();
    for text in list {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first, text, option)?, port(last, text, option)?);
        ensure!(
            first <= last,
            "invalid value '{text}' for {option}: the range ends before it begins"
        );
        ranges.push(PortRange { first, last });
    }
    ranges.sort_by_key(|range| range.first);
    let mut joined: Vec<PortRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if u32::from(range.first) <= u32::from(last.last) + 1 => {
                last.last = last.last.max(range.last);
            }
            _ => joined.push(range),
        }
    }
    ensure!(
        joined.len() <= MAX_PORT_RANGES,
        "{option} names {} separate ranges, but only {MAX_PORT_RANGES} fit: write neighbours as \
         A-B, or leave the option out and filter the output",
        joined.len()
    );
    Ok(joined)
}

fn port(text: &str, whole: &str, option: &str) -> Result<u16> {
    match text.trim().parse() {
        Ok(0) | Err(_) => bail!(
            "invalid value '{whole}' for {option}: a port is a number from 1 to 65535, a range \
             is A-B"
        ),
        Ok(port) => Ok(port),
    }
}

/// The peers whose own lack of window scaling is not worth a finding.
///
/// # Errors
/// When a network cannot be understood.
pub fn ignored_peers(args: &IgnoreArgs) -> Result<Networks> {
    Networks::resolve(&args.ignore_peer, "--ignore-peer")
}

/// Checks the size of the ring buffer.
///
/// # Errors
/// When the kernel would refuse it: it wants a power of two and whole pages.
pub fn ring_bytes(args: &KernelArgs) -> Result<u32> {
    buffer_bytes(args.ring_bytes, "--ring-bytes")
}

/// Checks the size of the perf buffers.
///
/// # Errors
/// As [`ring_bytes`].
pub fn perf_bytes(args: &KernelArgs) -> Result<u32> {
    buffer_bytes(args.perf_bytes, "--perf-bytes")
}

fn buffer_bytes(bytes: u32, option: &str) -> Result<u32> {
    ensure!(
        bytes.is_power_of_two() && (4096..=1 << 30).contains(&bytes),
        "invalid value '{bytes}' for {option}: the kernel wants a power of two, from 4096 to {}",
        1 << 30
    );
    Ok(bytes)
}

/// What the probes need to know. A filter that leaves out what was asked for is spoken of.
///
/// # Errors
/// When an option about the kernel is wrong.
pub fn settings(
    filter: &Filter,
    RoleArgs { role }: RoleArgs,
    args: &KernelArgs,
    confirm: bool,
) -> Result<probes::Settings> {
    if let Some(doubt) = filter.doubt(role) {
        eprintln!("tcpwnd: {doubt}");
    }
    Ok(probes::Settings {
        config: filter.kernel_config(role, confirm),
        mechanism: match args.mechanism {
            MechanismArg::Auto => MechanismChoice::Auto,
            MechanismArg::Fentry => MechanismChoice::Fentry,
            MechanismArg::Kprobe => MechanismChoice::Kprobe,
        },
        transport: match args.transport {
            TransportArg::Auto => TransportChoice::Auto,
            TransportArg::Ring => TransportChoice::Ring,
            TransportArg::Perf => TransportChoice::Perf,
        },
        ring_bytes: ring_bytes(args)?,
        perf_bytes: perf_bytes(args)?,
        handshakes: probes::DEFAULT_HANDSHAKES,
        btf: args.btf.clone(),
    })
}

/// Resolves the address to serve on. A bare `:10435` means every address.
///
/// # Errors
/// When it names no address.
pub fn listen_addr(text: &str) -> Result<SocketAddr> {
    let named = if text.starts_with(':') {
        format!("[::]{text}")
    } else {
        text.to_owned()
    };
    named.to_socket_addrs().ok().and_then(|mut addrs| addrs.next()).with_context(|| {
        format!("invalid value '{text}' for --listen: not an address and a port, as in {DEFAULT_LISTEN}")
    })
}

/// Checks how many findings `run` keeps.
///
/// # Errors
/// When it is none, or more than it may come to.
pub fn recent_findings(args: &RunArgs) -> Result<usize> {
    let findings = args.recent_findings;
    ensure!(
        (1..=MAX_RECENT_FINDINGS).contains(&findings),
        "invalid value '{findings}' for --recent-findings: from 1 to {MAX_RECENT_FINDINGS}"
    );
    Ok(findings)
}

/// The configuration of `run` as the environment variables that would give the same.
///
/// # Errors
/// When an option cannot be resolved.
pub fn print_run(args: &RunArgs) -> Result<String> {
    let filter = Filter::resolve(&args.filter)?;
    let listen = listen_addr(&args.listen)?;
    let ranges = |ranges: &[PortRange]| {
        let texts: Vec<String> = ranges
            .iter()
            .map(|r| {
                if r.first == r.last {
                    r.first.to_string()
                } else {
                    format!("{}-{}", r.first, r.last)
                }
            })
            .collect();
        texts.join(",")
    };
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref()
            .map(|p| p.display().to_string())
            .unwrap_or_default()
    };
    let only = |family| {
        if filter.families == family {
            "true".to_owned()
        } else {
            String::new()
        }
    };
    let values = [
        ("port", ranges(&filter.ports)),
        ("remote-port", ranges(&filter.remote_ports)),
        ("host", filter.hosts.to_string()),
        ("ipv4", only(FAMILY_IPV4)),
        ("ipv6", only(FAMILY_IPV6)),
        (
            "netns",
            if filter.netns == 0 {
                String::new()
            } else {
                filter.netns.to_string()
            },
        ),
        ("role", value_name(args.role.role)),
        ("ignore-peer", ignored_peers(&args.ignore)?.to_string()),
        ("mechanism", value_name(args.kernel.mechanism)),
        ("transport", value_name(args.kernel.transport)),
        ("ring-bytes", ring_bytes(&args.kernel)?.to_string()),
        ("perf-bytes", perf_bytes(&args.kernel)?.to_string()),
        ("btf", path(&args.kernel.btf)),
        ("listen", listen.to_string()),
        ("format", value_name(args.format)),
        ("log-limit", args.log_limit.to_string()),
        ("recent-findings", recent_findings(args)?.to_string()),
        ("state-file", path(&args.state_file)),
        ("ready-file", path(&args.ready_file)),
        (
            "no-sandbox",
            if args.no_sandbox { "true" } else { "" }.to_owned(),
        ),
    ];
    let lines = values.iter().filter(|(_, value)| !value.is_empty());
    Ok(lines
        .filter_map(|(long, value)| Some(format!("{}={value}\n", cli::env_name(long)?)))
        .collect())
}

fn value_name(value: impl clap::ValueEnum) -> String {
    value
        .to_possible_value()
        .map(|v| v.get_name().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
