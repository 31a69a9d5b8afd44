//! Connections without window scaling, each for another reason. Nothing is misread, but the window
//! is limited to 64 KiB.

use anyhow::{Result, ensure};

use super::bench::{Bench, compare};
use super::ignored;
use super::impact::Slow;
use super::provoked::{Expected, Provocation};
use super::stage::{COOKIES, PORT, Stage, unlocked};
use crate::peer::Offer;

const WINDOW_SCALING: &str = "net/ipv4/tcp_window_scaling";

/// By cookie, to a client without timestamps: the cookie has no room for the scale.
pub fn cookie_without_timestamps(bench: &Bench) -> Result<String> {
    let offer = Offer {
        timestamps: false,
        ..Offer::default()
    };
    let what = Provocation::scale_lost(
        "cookie_without_timestamps",
        "a cookie for a client without timestamps",
    );
    let near = Provocation::near_miss(
        "cookie_without_timestamps",
        "a client without timestamps, without a cookie",
        Expected::Ok,
    );
    kept(bench, &[], offer.clone(), &near.by("normal"), |_| Ok(()))?;
    lost(bench, COOKIES, offer, &what)
}

/// The client offers no window scale; and some that do not are not worth a finding.
pub fn peer_without_scale(bench: &Bench) -> Result<String> {
    let offer = Offer {
        window_scale: None,
        ..Offer::default()
    };
    let zero = Offer {
        window_scale: Some(0),
        ..Offer::default()
    };
    let near = Provocation::near_miss(
        "peer_did_not_offer",
        "a client that offers a window scale of 0",
        Expected::Ok,
    );
    kept(bench, COOKIES, zero, &near, |_| Ok(()))?;
    let what = |done| Provocation::scale_lost("peer_did_not_offer", done);
    let normal = what("a client that offers no window scale, without a cookie");
    lost(bench, &[], offer.clone(), &normal.by("normal"))?;
    let by_cookie = what("a client that offers no window scale");
    let lost = lost(bench, COOKIES, offer, &by_cookie)?;
    let ignored = ignored::play(bench)?;
    Ok(format!("{lost}; {ignored}"))
}

/// Window scaling is switched off on this host.
pub fn scaling_disabled(bench: &Bench) -> Result<String> {
    let near = Provocation::near_miss(
        "disabled_here",
        "`tcp_window_scaling` set to 0 after the SYN+ACK, without a cookie",
        Expected::Ok,
    );
    let switch_off = |stage: &Stage| stage.server.set(WINDOW_SCALING, "0");
    kept(bench, &[], Offer::default(), &near.by("normal"), switch_off)?;
    let settings = [(WINDOW_SCALING, "0")];
    let what = Provocation::scale_lost("disabled_here", "`tcp_window_scaling` is 0");
    lost(bench, &settings, Offer::default(), &what.by("normal"))
}

/// A connection that keeps its scaling, whatever `change` does between SYN+ACK and ACK.
fn kept(
    bench: &Bench,
    settings: &[(&str, &str)],
    offer: Offer,
    what: &Provocation,
    change: impl Fn(&Stage) -> Result<()>,
) -> Result<()> {
    let stage = Stage::new(&unlocked(), settings)?;
    let mut agent = bench.trace()?;
    let mut peer = stage.peer_offering(1, offer);
    peer.syn()?;
    let synack = peer.synack()?;
    change(&stage)?;
    peer.ack(&synack)?;
    let accepted = stage.broker.wait_accepted(1)?;
    agent.wait_handshakes(1)?;
    let report = agent.finish()?;
    bench.provoked_all(what, 1, &report)?;
    compare(&report, PORT, &accepted, &[])?;
    ensure!(
        report.of(peer.local())?.advertised() == synack.options.window_scale,
        "the SYN+ACK was {synack:?}, but reported was {report:?}"
    );
    Ok(())
}

/// A connection without scaling.
fn lost(
    bench: &Bench,
    settings: &[(&str, &str)],
    offer: Offer,
    what: &Provocation,
) -> Result<String> {
    let stage = Stage::new(&unlocked(), settings)?;
    let mut agent = bench.trace()?;
    let mut peer = stage.peer_offering(1, offer);
    let slow = Slow::begin(&mut peer)?;
    let synack = slow.synack();
    ensure!(
        synack.options.window_scale.is_none(),
        "the SYN+ACK has a scale: {synack:?}"
    );
    peer.ack(synack)?;
    let accepted = stage.broker.wait_accepted(1)?;
    let timestamps = peer.timestamps(synack);
    let seen = slow.seen(&mut peer, timestamps)?;
    agent.wait_handshakes(1)?;
    let report = agent.finish()?;
    bench.provoked_all(what, 1, &report)?;
    compare(&report, PORT, &accepted, &[])?;
    let finding = report.of(peer.local())?;
    ensure!(
        finding.advertised().is_none(),
        "reported was a scale: {finding:?}"
    );
    seen.check(finding, accepted[0].info.used(), Some(seen.held()))?;
    Ok(format!(
        "scale_lost: {}; at most {} bytes a round trip, as reported",
        what.done, seen.window
    ))
}
