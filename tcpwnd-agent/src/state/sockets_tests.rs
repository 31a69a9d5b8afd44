//! Look-ups that do not work. Those that do are in `keeper_tests`, with real connections.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use tcpwnd_core::{Flow, Listed, OpenFlow};

use super::{Lookup, Sockets, not_to_be_had};
use crate::testing;

/// Somebody who gives every question the same answer: an error of this number.
fn sockets(netns: u32, errno: i32) -> Sockets {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    std::thread::spawn(move || {
        let mut question = [0; 256];
        while let Ok(length @ 16..) = theirs.recv(&mut question) {
            // struct nlmsghdr with the question's number, the error, and what it is about.
            let mut answer = Vec::new();
            answer.extend(36_u32.to_ne_bytes());
            answer.extend((libc::NLMSG_ERROR as u16).to_ne_bytes());
            answer.extend([0; 2]);
            answer.extend(&question[8..12]);
            answer.extend([0; 4]);
            answer.extend((-errno).to_ne_bytes());
            answer.extend(&question[..16.min(length)]);
            if theirs.send(&answer).is_err() {
                break;
            }
        }
    });
    Sockets::by(Lookup::over(File::from(OwnedFd::from(ours)), netns))
}

fn connection() -> (Flow, OpenFlow) {
    let mut engine = testing::engine();
    testing::ingest(&mut engine, &testing::handshake(9092, 1, 1, 7));
    let (key, open) = engine.flows().iter().next().unwrap();
    let listed = Listed::As(7);
    (Flow(*key), OpenFlow { listed, ..*open })
}

#[test]
fn a_kernel_without_tcp_diag_does_not_say_that_connections_have_ended() {
    let (flow, open) = connection();
    let mut sockets = sockets(flow.netns(), libc::ENOENT);
    assert_eq!(sockets.is_open(flow, &open), None);
    assert_eq!(sockets.identify(flow, &open), None);
    assert_eq!(sockets.errors, 2);
}

#[test]
fn failing_look_ups_are_counted_and_said_once() {
    let (flow, open) = connection();
    let mut sockets = sockets(flow.netns(), libc::EPERM);
    assert_eq!(sockets.trouble(), None);
    for _ in 0..3 {
        assert_eq!(sockets.is_open(flow, &open), None);
    }
    let said = sockets.trouble().unwrap();
    let begin = "a damaged connection could not be looked up: operation not permitted: ";
    assert!(said.starts_with(begin), "{said}");
    assert_eq!(sockets.is_open(flow, &open), None);
    assert_eq!((sockets.trouble(), sockets.errors), (None, 4));
}

#[test]
fn a_module_is_proposed_only_where_one_is_missing() {
    let said = |errno| not_to_be_had(&std::io::Error::from_raw_os_error(errno));
    assert!(said(libc::ENOENT).ends_with(": no such file or directory (try modprobe tcp_diag)"));
    assert!(said(libc::EPERM).ends_with(": operation not permitted"));
}

#[test]
fn other_namespaces_are_not_asked_about() {
    let (flow, open) = connection();
    let mut sockets = sockets(flow.netns() + 1, libc::EPERM);
    assert_eq!(sockets.is_open(flow, &open), None);
    assert_eq!(sockets.errors, 0);
}
