//! TCP-AO together with SYN cookies: its SYN+ACK has no room for timestamps, in which a cookie keeps
//! what was agreed, so that every connection loses what its SYN+ACK announced.

use anyhow::{Result, ensure};

use super::bench::Bench;
use super::provoked::{Expected, Provocation};
use super::signed::{self, Signature};
use crate::ao;
use crate::broker::Broker;

const AO: Signature = Signature {
    of_listener: Broker::add_ao_key,
    of_client: ao::add_key,
    missing: "this kernel has no TCP-AO",
};

pub fn play(bench: &Bench) -> Result<String> {
    let report = signed::report(bench, &AO)?;
    let [normal, by_cookie] = signed::both(&report)?;
    bench.provoked(
        &Provocation::near_miss("cookie_tcp_ao", "TCP-AO without a cookie", Expected::Ok)
            .by("normal"),
        normal,
    )?;
    bench.provoked(
        &Provocation::mismatch("cookie_tcp_ao", "TCP-AO, nothing changed"),
        by_cookie,
    )?;
    ensure!(
        by_cookie.advertised() == normal.advertised() && by_cookie.used().is_none(),
        "reported was {by_cookie:?}"
    );
    Ok(format!(
        "ok without cookies; by cookie {:?} to none",
        by_cookie.advertised()
    ))
}
