//! Ordinary handshakes, all by cookie. On the affected kernel each is damaged: LINE's case.

use anyhow::{Result, ensure};

use super::bench::Bench;
use super::ordinary::{Visited, visit_all};
use super::provoked::{Expected, Provocation};
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
    let counted = [
        kernel("SyncookiesSent")?,
        kernel("SyncookiesRecv")?,
        kernel("SyncookiesFailed")?,
    ];
    let opened = witness::counter(&pair.server, "Tcp", "PassiveOpens")?;
    for at in &report.summary.listeners {
        ensure!(
            at.cookies_sent == at.synacks,
            "every SYN+ACK of port {} was a cookie: {at:?}",
            at.port
        );
    }
    let sum = |of: fn(&Listener) -> u64| report.summary.listeners.iter().map(of).sum::<u64>();
    // A segment that was held up until the client had reset its connection carries no good
    // cookie, if it is not the ACK of the handshake: rare, and the kernel counts it.
    let reported = [
        sum(|at| at.cookies_sent),
        sum(|at| at.cookies_valid),
        sum(|at| at.cookies_rejected),
    ];
    let [_, valid, rejected] = counted;
    ensure!(
        counted == reported && valid >= 3 * EACH as u64 && rejected <= EACH as u64 / 10,
        "cookies sent, valid and rejected: the kernel counted {counted:?}, tcpwnd {reported:?}"
    );
    // Each valid cookie makes a child, and each child but the second of one handshake is a
    // connection.
    let (accepted, reported) = (sum(|at| at.cookies_accepted), report.summary.handshakes);
    ensure!(
        opened == valid && accepted == reported,
        "the kernel made {opened} children of {valid} valid cookies; tcpwnd saw {accepted} \
         accepted and reported {reported} handshakes"
    );
    let late = if late == 0 {
        String::new()
    } else {
        format!("; {late} opened once more by a late ACK")
    };
    let ordinary = Provocation::mismatch(
        "cookie_ignored_rcvbuf",
        "Kafka's SO_RCVBUF, nothing changed",
    );
    if !bench.affected {
        let heeded = "this kernel's cookie path heeds SO_RCVBUF";
        bench.provoked_all(&ordinary.here(Expected::Ok, heeded), 3 * EACH, &report)?;
        return Ok(format!("{} ok, path cookie{late}", report.summary.ok));
    }
    bench.provoked_all(&ordinary, 3 * EACH, &report)?;
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
