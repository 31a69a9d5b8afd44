//! Options that say which connections are looked at.

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

/// Which connections to look at.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Local ports, as in 9092,9093-9099
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub port: Vec<String>,

    /// Ports of the peers, as in 40000-50000
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub remote_port: Vec<String>,

    /// Networks of the peers, as in 10.0.0.0/8 or 2001:db8::1
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub host: Vec<String>,

    /// IPv4 only
    #[arg(short = '4', long = "ipv4", value_parser = FalseyValueParser::new())]
    pub ipv4: bool,

    /// IPv6 only
    #[arg(short = '6', long = "ipv6", value_parser = FalseyValueParser::new())]
    pub ipv6: bool,

    /// Only this network namespace: its inode number, its name, or a path to it
    #[arg(long, value_name = "INODE|NAME|PATH")]
    pub netns: Option<String>,
}

/// Which peers are not worth a finding.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters")]
pub struct IgnoreArgs {
    /// Networks of peers that never scale and are not worth a finding, as in 10.1.0.0/16: what such
    /// a peer did not offer or grant is only counted; damage that this host did stays a finding
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub ignore_peer: Vec<String>,
}

/// Values of --role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Those that this host accepts
    #[default]
    Server,
    /// Those that this host opens
    Client,
    /// All of them
    Both,
}

/// Which end of its connections this host is.
#[derive(Args, Clone, Copy, Debug, Default)]
#[command(next_help_heading = "Filters")]
pub struct RoleArgs {
    /// Which connections to look at: --port is the local port and --remote-port the peer's either
    /// way, so that a service that this host connects to is named by --remote-port
    #[arg(long, value_enum, default_value_t = RoleArg::Server)]
    pub role: RoleArg,
}
