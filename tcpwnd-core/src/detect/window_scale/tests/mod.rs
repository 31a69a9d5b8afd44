//! Records and what is made of them: the scenarios, and their near-misses.

mod cases;
mod cause;
mod cookie_options;
mod impact;
mod initial;
mod listening;
mod lost;
mod mismatch;
mod near_misses;
mod opened;
mod rcvbuf;
mod rmem_max;
mod synproxy;
mod two_synacks;
mod unverified;

use super::*;
use crate::fixture::SINCE;
use tcpwnd_common::HandshakeRecord;

fn judged(record: &HandshakeRecord) -> Judgement {
    judge(
        record,
        &Context {
            watching_since_ktime_ns: SINCE,
            ..Context::default()
        },
    )
}

fn verdict(record: &HandshakeRecord) -> Verdict {
    judged(record).verdict
}

/// Option announced and option used, both directions.
type Shifts = (Option<u8>, Option<u8>);

fn shifts(record: &HandshakeRecord) -> (Shifts, Shifts) {
    let judgement = judged(record);
    let (receive, send) = (judgement.receive.unwrap(), judgement.send.unwrap());
    (
        (receive.announced, receive.used),
        (send.announced, send.used),
    )
}
