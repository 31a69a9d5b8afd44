//! Connections without window scaling, each for another reason. Nothing is misread, but the window
//! is limited to 64 KiB.

use anyhow::{Result, ensure};

use super::bench::{Bench, compare};
use super::provoked::Provocation;
use super::stage::{COOKIES, PORT, Stage, unlocked};
use crate::peer::Offer;

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
    lost(bench, COOKIES, offer, &what)
}

/// The client offers no window scale.
pub fn peer_without_scale(bench: &Bench) -> Result<String> {
    let offer = Offer {
        window_scale: None,
        ..Offer::default()
    };
    let what = |done| Provocation::scale_lost("peer_did_not_offer", done);
    let normal = what("a client that offers no window scale, without a cookie");
    lost(bench, &[], offer.clone(), &normal.by("normal"))?;
    lost(
        bench,
        COOKIES,
        offer,
        &what("a client that offers no window scale"),
    )
}

/// Window scaling is switched off on this host.
pub fn scaling_disabled(bench: &Bench) -> Result<String> {
    let settings = [("net/ipv4/tcp_window_scaling", "0")];
    let what = Provocation::scale_lost("disabled_here", "`tcp_window_scaling` is 0");
    lost(bench, &settings, Offer::default(), &what.by("normal"))
}

fn lost(
    bench: &Bench,
    settings: &[(&str, &str)],
    offer: Offer,
    what: &Provocation,
) -> Result<String> {
    let stage = Stage::new(&unlocked(), settings)?;
    let mut agent = bench.trace()?;
    let mut peer = stage.peer_offering(1, offer);
    let synack = peer.connect()?;
    ensure!(
        synack.options.window_scale.is_none(),
        "the SYN+ACK has a scale: {synack:?}"
    );
    let accepted = stage.broker.wait_accepted(1)?;
    agent.wait_handshakes(1)?;
    let report = agent.finish()?;
    bench.provoked_all(what, 1, &report)?;
    compare(&report, PORT, &accepted, &[])?;
    let finding = report.of(peer.local())?;
    ensure!(
        finding.advertised().is_none(),
        "reported was a scale: {finding:?}"
    );
    Ok(format!("scale_lost: {}", what.done))
}
