//! What the kernel has counted: that it has happened already.
//!
//! Constraint: the counters are the namespace's, since it began; which listener or connection it
//! was they do not say.

use std::collections::BTreeMap;

use super::{Finding, Level, Settings};

/// A counter of TcpExt, and what it means that it is not 0.
struct Counter {
    name: &'static str,
    why: &'static str,
    remedy: &'static str,
}

const LONGER: &str = "make the listen queues longer: see the listeners";
const FORCED: &str = "set net.ipv4.tcp_syncookies to 1: at 2 every SYN gets a SYN cookie, however \
                      long the listen queues are";
const TRACE: &str = "run `tcpwnd trace` while clients connect: it says which of them are damaged";
const ACCEPT: &str = "see whether the application accepts fast enough; make its queue longer";

const COUNTERS: [Counter; 7] = [
    Counter {
        name: "SyncookiesSent",
        why: "SYNs that were answered with a SYN cookie",
        remedy: LONGER,
    },
    Counter {
        name: "SyncookiesRecv",
        why: "ACKs that brought a valid SYN cookie back: connections that can be damaged, and \
              stay so until they are closed",
        remedy: TRACE,
    },
    Counter {
        name: "SyncookiesFailed",
        why: "ACKs that should have brought a SYN cookie back, but a wrong or too old one: clients that believe \
              to be connected, or a flood",
        remedy: LONGER,
    },
    Counter {
        name: "TCPReqQFullDoCookies",
        why: "SYNs that found a listener's SYN queue full, or tcp_syncookies at 2, and got a \
              SYN cookie",
        remedy: LONGER,
    },
    Counter {
        name: "TCPReqQFullDrop",
        why: "SYNs that found a listener's SYN queue full and were dropped; clients sent them \
              again after 1 s",
        remedy: LONGER,
    },
    Counter {
        name: "ListenOverflows",
        why: "handshakes that found a listener's accept queue full when they began or ended",
        remedy: ACCEPT,
    },
    Counter {
        name: "ListenDrops",
        why: "SYNs and ACKs to a listener that were dropped, those of full queues among them",
        remedy: ACCEPT,
    },
];

/// Those that the kernel has.
pub(super) fn looked_at(read: &BTreeMap<String, u64>) -> BTreeMap<&'static str, u64> {
    let known = COUNTERS.iter().map(|counter| counter.name);
    known
        .filter_map(|name| Some((name, *read.get(name)?)))
        .collect()
}

/// One for each that is not 0.
pub(super) fn findings(read: &BTreeMap<String, u64>, settings: &Settings) -> Vec<Finding> {
    let counted = COUNTERS
        .iter()
        .filter_map(|counter| Some((counter, *read.get(counter.name)?)));
    counted
        .filter(|(_, count)| *count > 0)
        .map(|(counter, count)| {
            let remedy = match counter.remedy {
                LONGER if settings.cookies_always() => FORCED,
                remedy => remedy,
            };
            Finding::new(Level::Notice, counter.name, count, counter.why).instead(remedy)
        })
        .collect()
}
