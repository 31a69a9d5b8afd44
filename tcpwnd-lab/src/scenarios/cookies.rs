//! Ordinary handshakes, all by cookie. On the affected kernel each is damaged: LINE's case.

use anyhow::{Result, ensure};

use super::bench::Bench;
use super::ordinary::visit_all;
use super::stage::COOKIES;
use crate::net::{Pair, PairOptions};
use crate::witness;

const EACH: usize = 100;

pub fn play(bench: &Bench) -> Result<String> {
    let pair = Pair::new(PairOptions::default())?;
    for (name, value) in COOKIES {
        pair.server.set(name, value)?;
    }
    let report = visit_all(bench, &pair, EACH)?;
    let valid = witness::counter(&pair.server, "TcpExt", "SyncookiesRecv")?;
    let counted: u64 = report
        .summary
        .listeners
        .iter()
        .map(|at| at.cookies_valid)
        .sum();
    ensure!(
        valid == 3 * EACH as u64 && counted == valid,
        "the kernel counted {valid} valid cookies, tcpwnd {counted}"
    );
    if !bench.affected {
        report.expect_all(3 * EACH, "ok", "cookie", None)?;
        return Ok(format!("{} ok, path cookie", report.summary.ok));
    }
    report.expect_all(3 * EACH, "mismatch", "cookie", Some("cookie_recomputed"))?;
    for handshake in &report.handshakes {
        let receive = handshake.receive.as_ref();
        ensure!(
            handshake.advertised() == Some(1)
                && handshake.used() == Some(7)
                && receive.is_some_and(|at| at.factor == 64.0 && at.damage == "too_small"),
            "not 1 to 7, factor 64: {handshake:?}"
        );
    }
    Ok(format!(
        "{} mismatches, advertised 1, used 7",
        report.summary.mismatch
    ))
}
