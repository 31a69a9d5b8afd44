//! Answers as the kernel gives them, cut and odd ones, and the kernel's own.

use super::{CONNECTED, HEADER, LISTEN, Socket, take, tcp};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = (HEADER + body.len()) as u32;
    let mut message = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10]].concat();
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

/// A listener on [::1]:9092 with 3 of 50 waiting, inode 77, and an attribute before that of its
/// memory.
fn body() -> Vec<u8> {
    let mut body = vec![0; 72];
    body[0] = libc::AF_INET6 as u8;
    body[1] = 10;
    body[4..6].copy_from_slice(&9092_u16.to_be_bytes());
    body[23] = 1;
    body[40..44].copy_from_slice(&4_u32.to_ne_bytes());
    body[44..48].copy_from_slice(&1_u32.to_ne_bytes());
    body[48..52].copy_from_slice(&2_u32.to_ne_bytes());
    body[56..60].copy_from_slice(&3_u32.to_ne_bytes());
    body[60..64].copy_from_slice(&50_u32.to_ne_bytes());
    body[68..72].copy_from_slice(&77_u32.to_ne_bytes());
    // One byte, padded.
    body.extend([5_u16.to_ne_bytes(), 8_u16.to_ne_bytes()].concat());
    body.extend([1, 0, 0, 0]);
    body.extend([12_u16.to_ne_bytes(), 7_u16.to_ne_bytes()].concat());
    body.extend([9_u32.to_ne_bytes(), 204_800_u32.to_ne_bytes()].concat());
    body.extend([5_u16.to_ne_bytes(), 11_u16.to_ne_bytes()].concat());
    body.extend([1, 0, 0, 0]);
    body
}

/// A connection of 10.9.0.1:9092 with 10.9.0.2:40000 that uses scale 7.
fn connection() -> Vec<u8> {
    let mut body = vec![0; 72];
    body[0] = libc::AF_INET as u8;
    body[1] = 1;
    body[4..6].copy_from_slice(&9092_u16.to_be_bytes());
    body[6..8].copy_from_slice(&40_000_u16.to_be_bytes());
    body[8..12].copy_from_slice(&[10, 9, 0, 1]);
    body[24..28].copy_from_slice(&[10, 9, 0, 2]);
    let mut info = [0; 104];
    info[5] = 5;
    info[6] = 0x70;
    body.extend([108_u16.to_ne_bytes(), 2_u16.to_ne_bytes()].concat());
    body.extend(info);
    body
}

fn taken(answer: &[u8]) -> (Vec<Socket>, std::io::Result<bool>) {
    let mut sockets = Vec::new();
    let last = take(answer, &mut sockets);
    (sockets, last)
}

#[test]
fn an_answer_is_read() {
    let answer = [message(20, &body()), message(3, &[0; 4])].concat();
    let (sockets, last) = taken(&answer);
    assert!(last.unwrap());
    let expected = Socket {
        addr: Ipv6Addr::LOCALHOST.into(),
        port: 9092,
        remote_addr: Ipv6Addr::UNSPECIFIED.into(),
        remote_port: 0,
        ifindex: 4,
        cookie: 0x2_0000_0001,
        receive_queue: 3,
        send_queue: 50,
        inode: 77,
        rcvbuf: Some(204_800),
        only_v6: true,
        info: None,
    };
    assert_eq!(sockets, [expected]);
}

#[test]
fn a_connection_is_read_with_what_it_says_of_itself() {
    let (sockets, _) = taken(&message(20, &connection()));
    let socket = &sockets[0];
    assert_eq!(socket.addr, IpAddr::from([10, 9, 0, 1]));
    assert_eq!(socket.remote_addr, IpAddr::from([10, 9, 0, 2]));
    assert_eq!((socket.port, socket.remote_port), (9092, 40_000));
    assert_eq!(socket.info.unwrap().used(), Some(7));
    // Cut anywhere: left out, or without it, and never made up.
    let whole = connection();
    for length in 0..whole.len() {
        let (sockets, _) = taken(&message(20, &whole[..length]));
        assert_eq!(sockets.len(), usize::from(length >= 72), "{length}");
        assert!(sockets.iter().all(|one| one.info.is_none()), "{length}");
    }
}

#[test]
fn without_its_memory_the_buffer_is_not_known() {
    let (sockets, last) = taken(&message(20, &body()[..80]));
    assert!(!last.unwrap());
    assert_eq!((sockets.len(), sockets[0].rcvbuf), (1, None));
}

#[test]
fn an_error_is_the_kernels() {
    for kind in [2, 3] {
        let (_, last) = taken(&message(kind, &(-libc::ENOENT).to_ne_bytes()));
        assert_eq!(last.unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }
}

#[test]
fn what_is_cut_is_left_out_and_ends() {
    let whole = message(20, &body());
    for length in 0..whole.len() {
        let (sockets, last) = taken(&whole[..length]);
        assert!(sockets.is_empty() && !last.unwrap(), "{length}");
        let short = message(20, &body()[..length.min(71)]);
        assert!(taken(&short).0.is_empty(), "{length}");
    }
    // Lengths that lead nowhere.
    let (sockets, _) = taken(&[0; 64]);
    assert!(sockets.is_empty());
    let mut endless = body();
    endless[72..74].copy_from_slice(&0_u16.to_ne_bytes());
    assert_eq!(taken(&message(20, &endless)).0[0].rcvbuf, None);
}

#[test]
fn the_kernel_lists_a_listener_of_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let sockets = match tcp(LISTEN) {
        Ok(sockets) => sockets,
        // A kernel without it; the laboratory's have it, and a scenario asks for it.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return,
        Err(error) => panic!("{error}"),
    };
    let ours = sockets.iter().find(|one| one.port == addr.port()).unwrap();
    assert_eq!(ours.addr, addr.ip());
    // What std::net asks for.
    assert!(
        ours.receive_queue == 0 && ours.send_queue >= 128,
        "{ours:?}"
    );
    let link = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
    assert_eq!(link.to_str().unwrap(), format!("socket:[{}]", ours.inode));
    assert!(ours.rcvbuf.unwrap() > 0);
}

#[test]
fn the_kernel_lists_both_ends_of_a_connection_of_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_server, peer) = listener.accept().unwrap();
    let sockets = match tcp(CONNECTED) {
        Ok(sockets) => sockets,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return,
        Err(error) => panic!("{error}"),
    };
    let ends = [
        (listener.local_addr().unwrap(), peer),
        (client.local_addr().unwrap(), client.peer_addr().unwrap()),
    ];
    let mut cookies = Vec::new();
    for (local, remote) in ends {
        let mut all = sockets.iter();
        let found = all.find(|one| (one.port, one.remote_port) == (local.port(), remote.port()));
        let found = found.unwrap();
        assert_eq!(found.addr, IpAddr::from(Ipv4Addr::LOCALHOST));
        assert_eq!(found.remote_addr, IpAddr::from(Ipv4Addr::LOCALHOST));
        assert!(found.info.unwrap().pmtu >= 1_500, "{found:?}");
        cookies.push(found.cookie);
    }
    assert_ne!(cookies[0], cookies[1]);
    assert!(sockets.iter().all(|one| one.remote_port != 0));
}
