//! Records that the kernel's programs sent, and others like them.

use std::mem::offset_of;

use tcpwnd_common::{ClosedRecord, FlowKey, HandshakeRecord};
use tcpwnd_core::decode::{Record, decode};
use tcpwnd_core::engine::{Engine, Settings};

/// Recorded in a VM with Linux 6.12 by `cargo xtask bench --part records`: 32 handshakes with a request, 32
/// by cookie, 32 by cookie that are damaged, and the ends of those; each behind its length.
const RECORDED: &[u8] = include_bytes!("../records.bin");

/// The records of a sort.
pub struct Records {
    /// Handshakes without damage.
    pub sound: Vec<Vec<u8>>,
    /// Handshakes with damage.
    pub damaged: Vec<Vec<u8>>,
    /// Their ends.
    pub closed: Vec<Vec<u8>>,
}

/// Reads what was recorded.
pub fn recorded() -> Records {
    let (mut sound, mut damaged, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = RECORDED;
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let (record, more) = more.split_at(u32::from_le_bytes(*length) as usize);
        rest = more;
        match decode(record).expect("a recorded record: record them anew") {
            Record::Closed(_) => closed.push(record.to_vec()),
            Record::Handshake(known, _) => {
                let scales = (known.child.rcv_wscale, known.handshake.first.rcv_wscale);
                let sort = if scales.0 == scales.1 {
                    &mut sound
                } else {
                    &mut damaged
                };
                sort.push(record.to_vec());
            }
            other => panic!("nothing like this was recorded: {other:?}"),
        }
    }
    Records {
        sound,
        damaged,
        closed,
    }
}

/// The same record of another connection: the client's address is another one for each number.
pub fn of_client(record: &[u8], number: u32) -> Vec<u8> {
    let is_closed = matches!(decode(record), Ok(Record::Closed(_)));
    let flow = if is_closed {
        offset_of!(ClosedRecord, flow)
    } else {
        offset_of!(HandshakeRecord, flow)
    };
    let at = flow + offset_of!(FlowKey, remote_addr) + 12;
    let mut record = record.to_vec();
    record[at..at + 4].copy_from_slice(&(0x0a00_0000 + number).to_be_bytes());
    record
}

/// An engine as the agent has it, that began before anything was recorded.
pub fn engine(flow_limit: usize) -> Engine {
    Engine::new(Settings {
        watching_since_ktime_ns: 0,
        rcvbuf_sets_clamp: false,
        sees_synproxy: true,
        flow_limit,
    })
}
