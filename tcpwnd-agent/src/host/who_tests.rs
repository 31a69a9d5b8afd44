//! Names of a listener of this test's own, and of none.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::time::Duration;

use tcpwnd_core::findings::Finding;

use super::{Directory, Effort, Left, PERIOD};
use crate::testing;

/// A finding about a connection that came in at this socket.
fn finding(inode: u64) -> Finding {
    let mut record = testing::handshake(9092, 1, 1, 7);
    record.handshake.inputs.listener = inode;
    record.handshake.cookie_inputs.listener = inode;
    testing::finding(&mut testing::engine(), &record)
}

#[test]
fn a_listener_has_the_name_of_its_process_until_that_closes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let inode = testing::inode(&listener);
    let mut directory = Directory::default();
    let mut named = finding(inode);
    directory.name(&mut named);
    let process = named.listener.process.unwrap();
    assert_eq!((process.pid, process.others), (std::process::id(), 0));
    assert!(!process.kafka);
    let local: IpAddr = Ipv4Addr::new(10, 9, 0, 1).into();
    let netns = named.flow.netns();
    assert_eq!(directory.of(netns, local, 9092).len(), 1);
    assert_eq!(
        directory
            .of(netns, Ipv4Addr::UNSPECIFIED.into(), 9092)
            .len(),
        1
    );
    // Another address, port or namespace is another listener's.
    assert!(
        directory
            .of(netns, Ipv4Addr::LOCALHOST.into(), 9092)
            .is_empty()
    );
    assert!(directory.of(netns, local, 9093).is_empty());
    assert!(directory.of(netns + 1, local, 9092).is_empty());

    drop(listener);
    for known in directory.known.values_mut() {
        known.checked -= Duration::from_secs(2);
    }
    let mut later = finding(inode);
    directory.name(&mut later);
    assert_eq!(later.listener.process, None);
}

#[test]
fn nobody_is_named_for_a_socket_that_is_gone_or_was_not_seen() {
    let mut directory = Directory::default();
    let mut gone = finding(u64::MAX);
    directory.name(&mut gone);
    assert_eq!(gone.listener.process, None);
    assert_eq!(gone.listener.cgroup, None);
    let mut unknown = finding(0);
    directory.name(&mut unknown);
    assert_eq!(unknown.listener, tcpwnd_core::findings::Listener::default());
}

#[test]
fn looking_is_bounded() {
    let mut left = Left {
        effort: Effort(0),
        ..Left::default()
    };
    let begun = left.since;
    left.renew(begun + PERIOD / 2);
    assert!(!left.effort.spend());
    left.renew(begun + PERIOD);
    assert!(left.effort.spend());

    let mut directory = Directory::default();
    directory.left.effort = Effort(0);
    directory.name(&mut finding(1));
    assert!(directory.known.is_empty());
    assert_eq!(directory.said.len(), 1);
    directory.name(&mut finding(2));
    assert_eq!(directory.said.len(), 1);
}
