//! Timestamps are taken out of the ACK of a cookie on its way: the socket has no scaling at all,
//! although both sides were told a scale. The server takes the client's window for a tiny one, and
//! sends in tiny pieces.

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, compare};
use super::changed::EITHER;
use super::impact::{Held, Seen, Slow};
use super::provoked::{Expected, Provocation};
use super::stage::{PORT, Stage, unlocked};
use crate::broker::{self, Accepted};
use crate::findings::Handshake;
use crate::packet::Segment;
use crate::peer::{OFFERED_SCALE, Peer};

/// Window that the clients announce, in bytes, and what that is on the wire.
const WINDOW: u32 = 65_536;
const ON_WIRE: u16 = (WINDOW >> OFFERED_SCALE) as u16;

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::with_cookies()?;
    let mut agent = bench.trace()?;
    let (mut stripped, mut sound) = (stage.peer(1), stage.peer(2));
    stripped.window = ON_WIRE;
    sound.window = ON_WIRE;
    let slow = Slow::begin(&mut stripped)?;
    ensure!(
        slow.synack().options.timestamps.is_some(),
        "the SYN+ACK has no timestamps: {:?}",
        slow.synack()
    );
    stripped.ack_with(None)?;
    stage.wait_accepted_from(stripped.local())?;
    let seen = slow.seen(&mut stripped, None)?;
    stripped.data(&broker::encode(0, broker::LONGEST_ANSWER), None)?;
    let first = stripped.receive()?;
    // By the time that this one has all of its answer, the other one has what it will get.
    let all = sound.connect()?;
    let timestamps = sound.timestamps(&all);
    sound.data(&broker::encode(0, broker::LONGEST_ANSWER), timestamps)?;
    let whole = answer(&stage, &mut sound, broker::LONGEST_ANSWER)?;
    let piece = sent_so_far(&stage, &stripped, first)?;
    ensure!(
        piece == u32::from(ON_WIRE) && whole == broker::LONGEST_ANSWER,
        "the server sent {piece} and {whole} bytes at once"
    );
    let near_misses = near_misses()?;
    let mut accepted = stage.broker.wait_accepted(2)?;
    agent.wait_handshakes(4)?;
    let report = agent.finish()?;
    for (what, near) in near_misses {
        bench.provoked(&what, report.of(near.peer)?)?;
        accepted.push(near);
    }
    report.of(sound.local())?.expect("ok", "cookie", None)?;
    let finding = report.of(stripped.local())?;
    let what = Provocation::mismatch(
        "cookie_timestamps_missing",
        "timestamps taken out of the ACK",
    );
    bench.provoked(&what, finding)?;
    compare(&report, PORT, &accepted, &[])?;
    check(finding, &seen, accepted[0].info.used(), piece)
}

/// Both directions have lost their scale. Of the client's window the server used `piece` bytes.
fn check(finding: &Handshake, seen: &Seen, used: Option<u8>, piece: u32) -> Result<String> {
    let send = finding.send.as_ref();
    let send = send.context("nothing is said about sending")?;
    ensure!(
        finding.advertised() == seen.told
            && finding.used().is_none()
            && send.offered == Some(OFFERED_SCALE)
            && send.used.is_none()
            && send.damage == "too_small"
            && send.factor == f64::from(WINDOW / piece),
        "of {WINDOW} bytes the server used {piece}, but reported was {finding:?}"
    );
    let held = Held {
        window: piece.into(),
        step: 1,
    };
    seen.check(finding, used, Some(held))?;
    Ok(format!(
        "mismatch {:?} to none; of a window of {WINDOW} bytes the server used {piece}",
        finding.advertised()
    ))
}

/// What only looks like it, each to a server of its own.
fn near_misses() -> Result<[(Provocation, Accepted); 2]> {
    let stage = Stage::new(&unlocked(), &[])?;
    let mut peer = stage.peer(3);
    peer.syn()?;
    peer.synack()?;
    peer.ack_with(None)?;
    let what = Provocation::near_miss(
        "cookie_timestamps_missing",
        "timestamps taken out of the ACK, without a cookie",
        Expected::Ok,
    );
    let without_cookie = (what.by("normal"), stage.wait_accepted_from(peer.local())?);

    let stage = Stage::with_cookies()?;
    let mut peer = stage.peer(4);
    peer.syn()?;
    peer.synack()?;
    stage.server.set("net/ipv4/tcp_timestamps", "0")?;
    peer.ack_with(None)?;
    let what = Provocation::near_miss(
        "cookie_timestamps_missing",
        "timestamps taken out of the ACK, and `tcp_timestamps` switched off",
        Expected::Ok,
    );
    let both = (
        what.unknown(EITHER),
        stage.wait_accepted_from(peer.local())?,
    );
    Ok([without_cookie, both])
}

/// Waits for the whole answer, without acknowledging any of it, and returns its length in bytes.
fn answer(stage: &Stage, peer: &mut Peer<'_>, length: u32) -> Result<u32> {
    let first = peer.receive()?;
    let start = first.sequence;
    let mut end = start.wrapping_add(first.payload.len() as u32);
    while end.wrapping_sub(start) < length {
        let local = peer.local();
        let next = stage
            .tun
            .wait(crate::wait::PATIENCE, "the rest of an answer", |segment| {
                segment.destination == local && !segment.payload.is_empty()
            })?;
        let next_end = next.sequence.wrapping_add(next.payload.len() as u32);
        if next_end.wrapping_sub(start) > end.wrapping_sub(start) {
            end = next_end;
        }
    }
    Ok(end.wrapping_sub(start))
}

/// Bytes of an answer that have come so far, retransmissions not counted.
fn sent_so_far(stage: &Stage, peer: &Peer<'_>, first: Segment) -> Result<u32> {
    let local = peer.local();
    let start = first.sequence;
    let mut longest = first.payload.len() as u32;
    while let Some(next) = stage.tun.take(|segment| segment.destination == local)? {
        let length = next
            .sequence
            .wrapping_sub(start)
            .wrapping_add(next.payload.len() as u32);
        longest = longest.max(length);
    }
    Ok(longest)
}
