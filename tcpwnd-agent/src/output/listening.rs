//! What `/metrics` says of listeners: SYN cookies and accept queues, by local port.

use tcpwnd_common::ListenerSlot;

use super::exposition::Family;
use super::metrics::{by_label, port_label};
use super::ports::PortLabels;

/// The listeners of one label.
#[derive(Clone, Copy, Default)]
struct Listening {
    sent: u64,
    accepted: u64,
    rejected: u64,
    overflows: u64,
    drops: u64,
    syns: u64,
    queue: Option<(u32, u32)>,
}

impl Listening {
    fn add(&mut self, item: Self) {
        self.sent += item.sent;
        self.accepted += item.accepted;
        self.rejected += item.rejected;
        self.overflows += item.overflows;
        self.drops += item.drops;
        self.syns += item.syns;
        // Of several listeners the one whose queue is nearest to its limit.
        let full = |queue: Option<(u32, u32)>| {
            queue.map_or(-1.0, |(len, limit)| {
                f64::from(len) / f64::from(limit.max(1))
            })
        };
        if full(item.queue) > full(self.queue) {
            self.queue = item.queue;
        }
    }
}

/// The metrics of `listeners`.
pub fn families(ports: &PortLabels, listeners: &[ListenerSlot]) -> Vec<Family> {
    let slots = listeners.iter().map(|slot| {
        let listening = Listening {
            sent: slot.cookies_sent,
            accepted: slot.cookies_accepted,
            rejected: slot.cookies_rejected,
            overflows: slot.overflows,
            drops: slot.drops.into(),
            syns: slot.syn_queue_len.into(),
            queue: Some((slot.accept_queue_len, slot.accept_queue_limit)),
        };
        (slot.key.port, listening)
    });
    let sums = by_label(ports, slots, Listening::add);
    let fill = |family: Family, value: fn(&Listening) -> Option<f64>| {
        sums.iter()
            .fold(family, |family, (port, sum)| match value(sum) {
                Some(value) => family.with(port_label(port.clone()), value),
                None => family,
            })
    };
    vec![
        fill(
            Family::counter(
                "tcpwnd_syncookies_sent",
                "SYN+ACKs that carried a SYN cookie",
            ),
            |l| Some(l.sent as f64),
        ),
        fill(
            Family::counter(
                "tcpwnd_syncookies_accepted",
                "SYN cookies that became a connection",
            ),
            |l| Some(l.accepted as f64),
        ),
        fill(
            Family::counter(
                "tcpwnd_syncookies_rejected",
                "ACKs whose SYN cookie was wrong",
            ),
            |l| Some(l.rejected as f64),
        ),
        fill(
            Family::counter(
                "tcpwnd_listen_overflows",
                "SYNs, and ACKs of handshakes, that were turned away while the accept queue was full",
            ),
            |l| Some(l.overflows as f64),
        ),
        fill(
            Family::counter(
                "tcpwnd_listen_drops",
                "Packets that the kernel dropped at listeners since they began to listen, modulo 2^32 \
                 each, as of the last SYN+ACK or overflow",
            ),
            |l| Some(l.drops as f64),
        ),
        fill(
            Family::gauge(
                "tcpwnd_syn_queue_length",
                "Handshakes that were under way when the last SYN+ACK was built",
            ),
            |l| Some(l.syns as f64),
        ),
        fill(
            Family::gauge(
                "tcpwnd_accept_queue_length",
                "Connections that waited to be accepted when the last SYN+ACK was built",
            ),
            |l| l.queue.map(|(len, _)| len.into()),
        ),
        fill(
            Family::gauge(
                "tcpwnd_accept_queue_limit",
                "Most connections that may wait to be accepted, as of the last SYN+ACK",
            ),
            |l| l.queue.map(|(_, limit)| limit.into()),
        ),
    ]
}
