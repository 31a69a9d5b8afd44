//! Connections of this process, as this kernel finds them.

use super::Lookup;
use crate::host::netns;
use std::net::{SocketAddr, TcpListener, TcpStream};
use tcpwnd_core::Flow;

/// `None` where the kernel has no sock_diag for TCP.
fn lookup() -> Option<Lookup> {
    match Lookup::open(netns::own().unwrap()) {
        Ok(lookup) => Some(lookup),
        Err(error) => {
            assert!(Lookup::is_unsupported(&error), "{error}");
            None
        }
    }
}

struct Connection {
    accepted: TcpStream,
    client: TcpStream,
    _listener: TcpListener,
}

impl Connection {
    fn to(address: &str, dial: impl Fn(u16) -> SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let client = TcpStream::connect(dial(listener.local_addr().unwrap().port())).unwrap();
        Self {
            accepted: listener.accept().unwrap().0,
            client,
            _listener: listener,
        }
    }

    fn v4() -> Self {
        Self::to("127.0.0.1:0", |port| ([127, 0, 0, 1], port).into())
    }

    /// Of the accepting end.
    fn flow(&self, netns: u32) -> Flow {
        let end = |address: std::io::Result<SocketAddr>| address.unwrap();
        let (local, remote) = (self.accepted.local_addr(), self.accepted.peer_addr());
        Flow::between(netns, 0, end(local), end(remote))
    }
}

#[test]
fn a_connection_is_found_by_its_addresses_and_then_by_its_cookie() {
    let Some(mut lookup) = lookup() else { return };
    let here = lookup.netns();
    let all = [
        Connection::v4(),
        Connection::to("[::1]:0", |port| {
            (std::net::Ipv6Addr::LOCALHOST, port).into()
        }),
        // An IPv4 client of a dual-stack listener.
        Connection::to("[::]:0", |port| ([127, 0, 0, 1], port).into()),
    ];
    let mut cookies = Vec::new();
    for connection in &all {
        let flow = connection.flow(here);
        let found = lookup.connection(flow, None).unwrap().unwrap();
        assert!(found.info.window_scaling, "{found:?}");
        let again = lookup.connection(flow, Some(found.cookie)).unwrap();
        assert_eq!(again.unwrap().cookie, found.cookie);
        let other = lookup.connection(flow, Some(found.cookie + 1));
        assert_eq!(other.unwrap(), None);
        cookies.push(found.cookie);
    }
    cookies.dedup();
    assert_eq!(cookies.len(), all.len());
}

#[test]
fn what_is_not_there_is_not_found() {
    let Some(mut lookup) = lookup() else { return };
    let connection = Connection::v4();
    let flow = connection.flow(lookup.netns());
    let cookie = lookup.connection(flow, None).unwrap().unwrap().cookie;
    // Nobody is bound to an interface here.
    let mut bound = flow;
    bound.0.bound_ifindex = 1;
    assert_eq!(lookup.connection(bound, None).unwrap(), None);
    // A listener is there, but no connection.
    let mut nobody = flow;
    nobody.0.remote_port = 1;
    assert_eq!(lookup.connection(nobody, None).unwrap(), None);
    // The accepting end closes last and is gone at once; the other is in TIME_WAIT.
    let Connection {
        accepted, client, ..
    } = connection;
    let other = Flow::between(flow.netns(), 0, flow.remote(), flow.local());
    drop(client);
    let half = lookup.connection(flow, Some(cookie)).unwrap();
    assert!(half.is_some(), "it is in CLOSE_WAIT");
    drop(accepted);
    assert_eq!(lookup.connection(flow, Some(cookie)).unwrap(), None);
    assert_eq!(lookup.connection(other, None).unwrap(), None);
    lookup.answers().unwrap();
}
