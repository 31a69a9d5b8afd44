//! Ordinary handshakes, all by cookie. On the affected kernel each is damaged: LINE's case.

use anyhow::{Result, ensure};

use super::bench::Bench;
use super::ordinary::{Visited, visit_all};
use super::stage::COOKIES;
use crate::findings::Listener;
use crate::net::{Pair, PairOptions};
use crate::witness;

const EACH: usize = 100;

pub fn play(bench: &Bench) -> Result<String> {
    let pair = Pair::new(PairOptions::default())?;
    for (name, value) in COOKIES {
        pair.server.set(name, value)?;
    }
    let Visited { report, late } = visit_all(bench, &pair, EACH)?;
    let kernel = |name| witness::counter(&pair.server, "TcpExt", name);
    let counted = (kernel("SyncookiesSent")?, kernel("SyncookiesRecv")?);
    let opened = witness::counter(&pair.server, "Tcp", "PassiveOpens")?;
    for at in &report.summary.listeners {
        ensure!(
            at.cookies_sent == at.synacks && at.cookies_rejected == 0,
            "every SYN+ACK of port {} was a cookie, and every cookie good: {at:?}",
            at.port
        );
    }
    let sum = |of: fn(&Listener) -> u64| report.summary.listeners.iter().map(of).sum::<u64>();
    let reported = (sum(|at| at.cookies_sent), sum(|at| at.cookies_valid));
    ensure!(
        counted == reported && counted.1 >= 3 * EACH as u64,
        "cookies sent and valid: the kernel counted {counted:?}, tcpwnd {reported:?}"
    );
    // Each valid cookie makes a child, and each child but the second of one handshake is a
    // connection.
    let (accepted, reported) = (sum(|at| at.cookies_accepted), report.summary.handshakes);
    ensure!(
        opened == counted.1 && accepted == reported,
        "the kernel made {opened} children of {} valid cookies; tcpwnd saw {accepted} accepted \
         and reported {reported} handshakes",
        counted.1
    );
    let late = if late == 0 {
        String::new()
    } else {
        format!("; {late} opened once more by a late ACK")
    };
    if !bench.affected {
        report.expect_all(3 * EACH, "ok", "cookie", None)?;
        return Ok(format!("{} ok, path cookie{late}", report.summary.ok));
    }
    report.expect_all(
        3 * EACH,
        "mismatch",
        "cookie",
        Some("cookie_ignored_rcvbuf"),
    )?;
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
        "{} mismatches, advertised 1, used 7{late}",
        report.summary.mismatch
    ))
}
