//! Why a connection is suspect: what its socket, its listener and its siblings say.
//!
//! Constraint: nothing here is evidence of what was announced; each reason says what was read.

use serde::Serialize;

use super::Socket;
use super::listener::Announced;
use crate::label::labels;

/// MSS values that a SYN cookie has room for, bytes (`msstab`, net/ipv4/syncookies.c and
/// net/ipv6/syncookies.c, 6.12).
const MSS_V4: [u32; 4] = [536, 1300, 1440, 1460];
const MSS_V6: [u32; 4] = [1220, 1420, 1440, 8940];

/// What IP and TCP headers take, bytes.
const HEADERS_V4: u32 = 40;
const HEADERS_V6: u32 = 60;

/// What timestamps take in each segment, bytes (TCPOLEN_TSTAMP_ALIGNED).
const TIMESTAMPS: u32 = 12;

labels! {
    /// What makes a connection suspect.
    Why {
        /// Its scale is not what its listener would announce now.
        DiffersFromListener = "differs_from_listener",
        /// Its scale is not that of most connections of the same listener.
        DiffersFromSiblings = "differs_from_siblings",
        /// It has neither window scaling nor timestamps.
        NoScalingNoTimestamps = "no_scaling_no_timestamps",
        /// Its MSS is one that a SYN cookie has room for, and the path takes a larger one.
        MssOfCookieTable = "mss_of_cookie_table",
    }
}

/// A reason, with what was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Which.
    pub reason: Why,
    /// What was read, in a sentence.
    pub read: String,
    /// How much it counts in the ranking.
    #[serde(skip)]
    pub weight: u32,
}

/// What most connections of a listener have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Siblings {
    /// Shift count that more than half of them use.
    pub scale: u8,
    /// How many do.
    pub agree: usize,
    /// How many there are that scale at all.
    pub of: usize,
}

/// The reasons to suspect a connection, the weightiest first.
pub(super) fn reasons(
    socket: &Socket,
    announced: Option<&Announced>,
    siblings: Option<&Siblings>,
) -> Vec<Reason> {
    let mut reasons: Vec<_> = [
        from_listener(socket, announced),
        no_scaling(socket),
        from_siblings(socket, siblings),
        mss(socket),
    ]
    .into_iter()
    .flatten()
    .collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.weight));
    reasons
}

/// The scale, where it can be wrong at all: a cookie keeps the scale in the timestamps, and a
/// connection that did not come by cookie keeps its own (`tcp_create_openreq_child`). So one that
/// scales without timestamps is sound.
fn doubtful(socket: &Socket) -> Option<u8> {
    socket.info.used().filter(|_| socket.info.timestamps)
}

fn from_listener(socket: &Socket, announced: Option<&Announced>) -> Option<Reason> {
    let (used, announced) = (doubtful(socket)?, announced?);
    if used == announced.scale {
        return None;
    }
    let set = if announced.rcvbuf_set {
        "by SO_RCVBUF, inferred"
    } else {
        "not set"
    };
    let mut read = format!(
        "uses scale {used}, and its listener (receive buffer {}, {set}) would announce {} now",
        announced.rcvbuf, announced.scale
    );
    // What that kernel does is known, so it weighs more than a difference that anything can make.
    let known = announced.rcvbuf_set && announced.ignoring_rcvbuf == Some(used);
    if known {
        read += "; it is the one that a cookie path comes to which ignores SO_RCVBUF";
    }
    Some(Reason {
        reason: Why::DiffersFromListener,
        read,
        weight: 4 + u32::from(known),
    })
}

fn from_siblings(socket: &Socket, siblings: Option<&Siblings>) -> Option<Reason> {
    let (used, siblings) = (doubtful(socket)?, siblings?);
    (used != siblings.scale).then(|| Reason {
        reason: Why::DiffersFromSiblings,
        read: format!(
            "uses scale {used}, and {} of the {} connections of its listener use {}",
            siblings.agree, siblings.of, siblings.scale
        ),
        weight: 2,
    })
}

fn no_scaling(socket: &Socket) -> Option<Reason> {
    let info = &socket.info;
    (!info.window_scaling && !info.timestamps).then(|| Reason {
        reason: Why::NoScalingNoTimestamps,
        read: "neither window scaling nor timestamps: a SYN cookie without timestamps leaves a \
               connection so, and so does a peer that offers neither"
            .to_owned(),
        weight: 3,
    })
}

fn mss(socket: &Socket) -> Option<Reason> {
    let info = &socket.info;
    let (table, headers) = if socket.flow.0.is_ipv4() {
        (MSS_V4, HEADERS_V4)
    } else {
        (MSS_V6, HEADERS_V6)
    };
    let mss = info.snd_mss + if info.timestamps { TIMESTAMPS } else { 0 };
    let room = info.pmtu.saturating_sub(headers);
    (table.contains(&mss) && room > mss).then(|| Reason {
        reason: Why::MssOfCookieTable,
        read: format!(
            "segments of {mss} bytes on a path with an MTU of {}: {mss} is one of the four sizes \
             that a SYN cookie has room for, or the peer asked for it",
            info.pmtu
        ),
        weight: 1,
    })
}
