//! What a listener is in for when many clients come at once.

use std::net::IpAddr;

use serde::Serialize;

use super::{Finding, Level, Listener, Process, QUEUE, Settings};

/// What the settings of a listener are called to whoever makes them.
struct Names {
    backlog: &'static str,
    rcvbuf: &'static str,
}

/// To whoever runs a Kafka broker.
const OF_KAFKA: Names = Names {
    backlog: "socket.listen.backlog.size (in Kafka from 3.2 on)",
    rcvbuf: "socket.receive.buffer.bytes (-1: SO_RCVBUF is not set)",
};

/// To anybody else.
const OF_OTHERS: Names = Names {
    backlog: "backlog that the application passes to listen()",
    rcvbuf: "SO_RCVBUF (-1: not set)",
};

/// Where it is not known which of the two it is.
const OF_EITHER: Names = Names {
    backlog: "backlog that the application passes to listen() \
              (socket.listen.backlog.size in Kafka, from 3.2 on)",
    rcvbuf: "SO_RCVBUF (socket.receive.buffer.bytes in Kafka; -1: not set)",
};

impl Names {
    const fn of(process: Option<&Process>) -> &'static Self {
        match process {
            Some(Process { kafka: true, .. }) => &OF_KAFKA,
            Some(_) => &OF_OTHERS,
            None => &OF_EITHER,
        }
    }
}

/// A listener and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerReport {
    /// Local address.
    pub addr: IpAddr,
    /// Local port.
    pub port: u16,
    /// Who has it open.
    pub process: Option<Process>,
    /// Connections that wait for accept().
    pub queue_len: u32,
    /// How many may.
    pub queue_limit: u32,
    /// Receive buffer, bytes.
    pub rcvbuf: Option<u32>,
    /// Whether SO_RCVBUF was set. Inferred: the kernel does not tell, but the buffer differs from
    /// `tcp_rmem[1]`.
    pub rcvbuf_set: Option<bool>,
    /// What its connections get.
    pub scale: Option<Scale>,
    /// The highest level of its findings.
    pub level: Level,
    /// What there is to say.
    pub findings: Vec<Finding>,
}

/// Shift counts of a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Scale {
    /// What its SYN+ACKs announce.
    pub announced: u8,
    /// What a cookie path uses that ignores SO_RCVBUF.
    pub ignoring_rcvbuf: u8,
    /// How many times too small the peer then takes this host's windows to be; 1: not.
    pub factor: u32,
}

impl ListenerReport {
    pub(super) fn of(listener: &Listener, settings: &Settings) -> Self {
        let default = settings.tcp_rmem_default;
        let rcvbuf_set = listener
            .rcvbuf
            .zip(default)
            .map(|(is, default)| is != default);
        let scale = scale(listener, rcvbuf_set, settings);
        let findings = vec![
            queue(listener, settings),
            buffer(listener, rcvbuf_set, scale, settings),
        ];
        let level = findings.iter().map(|finding| finding.level).max();
        Self {
            addr: listener.addr,
            port: listener.port,
            process: listener.process.clone(),
            queue_len: listener.queue_len,
            queue_limit: listener.queue_limit,
            rcvbuf: listener.rcvbuf,
            rcvbuf_set,
            scale,
            level: level.unwrap_or(Level::Ok),
            findings,
        }
    }
}

fn scale(listener: &Listener, rcvbuf_set: Option<bool>, settings: &Settings) -> Option<Scale> {
    let listening = settings.listening(listener.rcvbuf?, rcvbuf_set?)?;
    let (announced, ignoring_rcvbuf) = (listening.announced(), listening.ignoring_rcvbuf());
    Some(Scale {
        announced,
        ignoring_rcvbuf,
        factor: 1 << ignoring_rcvbuf.saturating_sub(announced),
    })
}

/// The one limit is of both queues: `inet_csk_reqsk_queue_is_full` compares the SYN queue's length
/// with the accept queue's limit (include/net/inet_connection_sock.h, 6.12).
fn queue(listener: &Listener, settings: &Settings) -> Finding {
    let (len, limit) = (listener.queue_len, listener.queue_limit);
    let read = format!("{len} waiting, limit {limit}");
    // sk_acceptq_is_full (include/net/sock.h, 6.12).
    let full = len > limit;
    let then = if settings.cookies() {
        "are answered with SYN cookies"
    } else {
        "are dropped, and sent again after 1 s"
    };
    let (level, why) = if full {
        let why = "the accept queue is full now: handshakes to this listener are dropped, because \
                   the application does not accept fast enough";
        (Level::Risk, why.to_owned())
    } else if settings.cookies_always() {
        let why = "every SYN is answered with a SYN cookie while tcp_syncookies is 2, whatever the \
                   limit is";
        (Level::Ok, why.to_owned())
    } else if limit < QUEUE {
        let why = format!("SYNs that come while {limit} handshakes are under way {then}");
        (Level::Notice, why)
    } else {
        let why = format!("only SYNs beyond {limit} handshakes at once {then}");
        (Level::Ok, why)
    };
    let mut finding = Finding::new(level, "listen queue", read, why);
    if limit < QUEUE && (full || !settings.cookies_always()) {
        let names = Names::of(listener.process.as_ref());
        finding = finding.set(names.backlog, limit, QUEUE);
        finding = match settings.somaxconn {
            Some(most) if most < QUEUE => finding.set("net.core.somaxconn", most, QUEUE),
            _ => finding,
        };
    }
    finding
}

fn buffer(
    listener: &Listener,
    rcvbuf_set: Option<bool>,
    scale: Option<Scale>,
    settings: &Settings,
) -> Finding {
    const ABOUT: &str = "receive buffer";
    let (Some(rcvbuf), Some(set), Some(scale)) = (listener.rcvbuf, rcvbuf_set, scale) else {
        return Finding::new(
            Level::Notice,
            ABOUT,
            "unknown",
            "whether a SYN cookie could come to another scale than was announced is not known",
        );
    };
    let read = if set {
        format!("{rcvbuf} bytes, by SO_RCVBUF (inferred: it is not tcp_rmem[1])")
    } else {
        format!("{rcvbuf} bytes, not set by SO_RCVBUF (inferred: it is tcp_rmem[1])")
    };
    let Scale {
        announced,
        ignoring_rcvbuf,
        factor,
    } = scale;
    if factor == 1 {
        let why = format!("it announces scale {announced}, as without SO_RCVBUF");
        return Finding::new(Level::Ok, ABOUT, read, why);
    }
    let (level, condition) = if settings.cookies() {
        (Level::Risk, "")
    } else {
        (Level::Notice, "if tcp_syncookies were on: ")
    };
    let why = format!(
        "{condition}it announces scale {announced}, and without SO_RCVBUF that would be \
         {ignoring_rcvbuf}: a kernel whose cookie path ignores SO_RCVBUF (before commit \
         909172a14974: it is in 5.10, and in a distribution's kernel earlier or not at all) uses {ignoring_rcvbuf} on every connection by SYN cookie, \
         and the peer takes each window for {factor} times smaller than it is"
    );
    // The kernel doubles what the application passes (sock_setsockopt, net/core/sock.c).
    let names = Names::of(listener.process.as_ref());
    Finding::new(level, ABOUT, read, why).set(names.rcvbuf, rcvbuf / 2, -1)
}
