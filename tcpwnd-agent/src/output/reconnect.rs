//! Which connections to close: the damaged ones that are open, by the host that they lead to, each
//! group with the command that closes exactly these.
//!
//! Constraint: the commands are printed, never run.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use tcpwnd_core::{Flow, OpenFlows, Role};

/// Connections that one command closes: `ss` sends its filter in one netlink attribute, whose
/// length has 16 bits, and a line should stay one that can be pasted.
const PER_COMMAND: usize = 100;

/// Damaged connections of one listener's address with one host, or of this host with one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The other host.
    pub host: IpAddr,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// How many connections.
    pub connections: usize,
    /// What closes them, as root. Empty where nothing is known by which to enter the namespace.
    pub commands: Vec<String>,
}

/// Remote address, namespace, local address, role, and the port of the server's end: what one command
/// can have in common.
type Common = (IpAddr, u32, IpAddr, Role, u16);

/// The groups, the largest first. `entering` says what a command in a namespace begins with.
#[must_use]
pub fn groups(open: &OpenFlows, entering: impl Fn(u32) -> Option<String>) -> Vec<Group> {
    of(
        open.iter().map(|(key, open)| (Flow(*key), open.role)),
        entering,
    )
}

/// The same of these connections, each with the end that this host is.
#[must_use]
pub fn of(
    damaged: impl Iterator<Item = (Flow, Role)>,
    entering: impl Fn(u32) -> Option<String>,
) -> Vec<Group> {
    let mut ports: BTreeMap<Common, Vec<u16>> = BTreeMap::new();
    for (flow, role) in damaged {
        let (local, remote) = (flow.local(), flow.remote());
        let (service, client) = match role {
            Role::Server => (local.port(), remote.port()),
            Role::Client => (remote.port(), local.port()),
        };
        let common = (remote.ip(), flow.netns(), local.ip(), role, service);
        ports.entry(common).or_default().push(client);
    }
    let mut prefixes: BTreeMap<u32, Option<String>> = BTreeMap::new();
    let mut groups: Vec<Group> = ports
        .into_iter()
        .map(|(common, mut ports)| {
            ports.sort_unstable();
            let prefix = prefixes
                .entry(common.1)
                .or_insert_with_key(|netns| entering(*netns));
            let commands = prefix.iter().flat_map(|prefix| {
                let chunks = ports.chunks(PER_COMMAND);
                chunks.map(move |ports| command(prefix, common, ports))
            });
            Group {
                host: common.0,
                netns: common.1,
                connections: ports.len(),
                commands: commands.collect(),
            }
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.connections));
    groups
}

/// `ss -K` closes what its filter matches (SOCK_DESTROY), and lists it.
fn command(prefix: &str, (remote, _, local, role, service): Common, ports: &[u16]) -> String {
    let (service_end, client_end) = match role {
        Role::Server => ("sport", "dport"),
        Role::Client => ("dport", "sport"),
    };
    let ports: Vec<String> = ports
        .iter()
        .map(|port| format!("{client_end} = {port}"))
        .collect();
    format!(
        "{prefix}ss -tKn 'src {} and {service_end} = {service} and dst {} and ( {} )'",
        bracketed(local),
        bracketed(remote),
        ports.join(" or ")
    )
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::groups;
    use crate::testing;

    const OWN: u32 = 4_026_531_840;

    fn open(ports: &[u16]) -> tcpwnd_core::Engine {
        let mut engine = testing::engine();
        for port in ports {
            testing::ingest(&mut engine, &testing::handshake(9092, *port, 1, 7));
        }
        engine
    }

    #[test]
    fn exactly_the_damaged_connections_that_are_open_are_named() {
        let mut engine = open(&[40_002, 40_001, 40_003]);
        testing::ingest(&mut engine, &testing::handshake(9092, 40_004, 1, 1));
        let ended = testing::handshake(9092, 40_003, 1, 7);
        testing::ingest(&mut engine, &testing::closed(&ended, 1_000));
        let groups = groups(engine.flows(), |_| Some(String::new()));
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].connections, 2);
        assert_eq!(
            groups[0].commands,
            [
                "ss -tKn 'src 10.9.0.1 and sport = 9092 and dst 10.9.0.2 and ( dport = 40001 or dport \
                 = 40002 )'"
            ]
        );
    }

    #[test]
    fn connections_opened_here_are_named_by_their_local_ports() {
        let mut engine = open(&[]);
        for (port, granted) in [(40_001, false), (40_002, true), (40_003, false)] {
            testing::ingest(&mut engine, &testing::opened(port, 9092, granted));
        }
        testing::ingest(&mut engine, &testing::opened(40_004, 9093, false));
        let groups = groups(engine.flows(), |_| Some(String::new()));
        assert_eq!(groups.len(), 2);
        assert_eq!(
            groups[0].commands,
            [
                "ss -tKn 'src 10.9.0.1 and dport = 9092 and dst 10.9.0.2 and ( sport = 40001 or sport \
                 = 40003 )'"
            ]
        );
    }

    #[test]
    fn another_namespace_is_entered_or_nothing_is_offered() {
        let engine = open(&[1]);
        let by_name = groups(engine.flows(), |netns| {
            (netns == OWN).then(|| "ip netns exec blue ".to_owned())
        });
        assert!(by_name[0].commands[0].starts_with("ip netns exec blue ss -tKn '"));
        let unknown = groups(engine.flows(), |_| None);
        assert_eq!((unknown[0].connections, unknown[0].commands.len()), (1, 0));
    }

    #[test]
    fn many_connections_take_several_commands() {
        let ports: Vec<u16> = (1..=250).collect();
        let engine = open(&ports);
        let groups = groups(engine.flows(), |_| Some(String::new()));
        assert_eq!(groups[0].connections, 250);
        assert_eq!(groups[0].commands.len(), 3);
        let dports: usize = groups[0]
            .commands
            .iter()
            .map(|command| command.matches("dport").count())
            .sum();
        assert_eq!(dports, 250);
    }
}
