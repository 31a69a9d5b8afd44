//! Connections that are signed by MD5 (RFC 2385), as BGP's are. Such a SYN offers no timestamps, for
//! there is no room for them (`tcp_syn_options`, net/ipv4/tcp_output.c, 5.10 to 7.3): without cookies
//! nothing is lost by that, and with them the scale is, which is said.

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::signed::{self, Signature};
use crate::broker::Broker;
use crate::findings::Handshake;
use crate::md5;

const MD5: Signature = Signature {
    of_listener: Broker::sign,
    of_client: md5::sign,
    missing: "this kernel has no TCP_MD5SIG",
};

pub fn play(bench: &Bench) -> Result<String> {
    let report = signed::report(bench, &MD5)?;
    let [normal, by_cookie] = signed::both(&report)?;
    normal.expect("ok", "normal", None)?;
    by_cookie.expect("scale_lost", "cookie", Some("cookie_without_timestamps"))?;
    let [told, told_by_cookie] = [announced(normal)?, announced(by_cookie)?];
    ensure!(
        matches!(told, (Some(_), false)) && told_by_cookie == (None, false),
        "no timestamps were offered: {normal:?}, {by_cookie:?}"
    );
    Ok(format!(
        "ok without cookies, scale {:?}; by cookie: scale lost",
        normal.used()
    ))
}

/// Scale of the SYN+ACK, and whether it has timestamps.
fn announced(handshake: &Handshake) -> Result<(Option<u8>, bool)> {
    let synack = handshake.evidence.synack.context("no SYN+ACK")?;
    Ok((synack.window_scale, synack.timestamps))
}
