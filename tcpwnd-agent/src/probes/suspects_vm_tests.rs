//! The program on a real kernel: as `vm_tests` of this folder.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use tcpwnd_common::{Config, FlowKey, ProgressRecord};
use tcpwnd_core::decode::{Record, decode};

use super::{Settings, Suspects};
use crate::host::netns;
use crate::probes::{MechanismChoice, TransportChoice};

const CHUNK: usize = 3_000;
const CHUNKS: usize = 20;

/// A connection over loopback: the client's end, and the server's.
fn connection(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// The key of a server's end.
fn key(server: &TcpStream) -> FlowKey {
    let bytes = |addr: SocketAddr| match addr {
        SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped().octets(),
        SocketAddr::V6(v6) => v6.ip().octets(),
    };
    let (local, remote) = (server.local_addr().unwrap(), server.peer_addr().unwrap());
    FlowKey {
        local_addr: bytes(local),
        remote_addr: bytes(remote),
        netns: netns::own().unwrap(),
        bound_ifindex: 0,
        local_port: local.port(),
        remote_port: remote.port(),
    }
}

/// Sends chunks one way, each answered with a byte.
fn exchange((client, server): &mut (TcpStream, TcpStream)) {
    for _ in 0..CHUNKS {
        client.write_all(&[1; CHUNK]).unwrap();
        server.read_exact(&mut [0; CHUNK]).unwrap();
        server.write_all(&[2]).unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
}

fn suspects_are_seen(mechanism: MechanismChoice, address: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listener = TcpListener::bind(address).unwrap();
    let [mut suspect, mut other] = [connection(&listener), connection(&listener)];
    let flow = key(&suspect.1);
    let settings = Settings {
        config: Config::ALL,
        mechanism,
        transport: TransportChoice::Auto,
        ring_bytes: 1 << 20,
        perf_bytes: 1 << 18,
        handshakes: 1,
        btf: None,
    };
    runtime.block_on(async {
        let mut suspects = Suspects::watch(&settings, &[flow]).unwrap();
        let mut ring = suspects.take_events().unwrap();
        let records = |ring: &mut crate::transport::Records| {
            let mut records: Vec<ProgressRecord> = Vec::new();
            ring.drain(|bytes| match decode(bytes) {
                Ok(Record::Progress(record)) => records.push(record),
                other => panic!("{other:?}"),
            });
            records
        };
        exchange(&mut other);
        assert_eq!(records(&mut ring), []);
        exchange(&mut suspect);
        let seen = records(&mut ring);
        let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
        let came_in = last.rcv_nxt.wrapping_sub(first.rcv_nxt) as usize;
        // All but what came in before the first window was chosen.
        let expected = (CHUNKS - 2) * CHUNK..=CHUNKS * CHUNK;
        assert!(expected.contains(&came_in), "{came_in}");
        for (number, record) in seen.iter().enumerate() {
            assert_eq!((record.flow, record.number), (flow, number as u32));
            assert!(record.rcv_nxt.wrapping_sub(record.rcv_wup).cast_signed() >= 0);
            assert!(record.rcv_wnd > 0 && record.rcv_wscale <= 14);
            let now_ms = (record.header.ktime_ns / 1_000_000) as u32;
            assert!(now_ms.wrapping_sub(record.rcv_tsecr) < 60_000, "{record:?}");
        }
        let sent = last.snd_nxt.wrapping_sub(first.snd_nxt);
        assert!(sent as usize <= CHUNKS && sent > 0, "{sent}");
        suspects.release(flow);
        exchange(&mut suspect);
        assert_eq!(records(&mut ring), []);
        assert_eq!(suspects.lost(), 0);
        suspects.detach();
    });
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn suspects_are_seen_with_fentry() {
    suspects_are_seen(MechanismChoice::Fentry, "127.0.0.1:0");
    suspects_are_seen(MechanismChoice::Fentry, "[::1]:0");
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn suspects_are_seen_with_kprobes() {
    suspects_are_seen(MechanismChoice::Kprobe, "127.0.0.1:0");
    suspects_are_seen(MechanismChoice::Kprobe, "[::1]:0");
}
