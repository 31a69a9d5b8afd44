//! A BPF program answers in the stack's place: there is no SYN+ACK to judge by, and that is said.

use anyhow::Result;

use super::bench::{Bench, Unsupported, compare};
use super::provoked::{Expected, Provocation};
use super::stage::{COOKIES, PORT, Stage, unlocked};
use crate::bpf_request::{BpfRequests, SCALE};

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::new(&unlocked(), COOKIES)?;
    let Some(program) = BpfRequests::attach(&stage.server, "tun0")? else {
        return Err(Unsupported("this kernel has no bpf_sk_assign_tcp_reqsk".to_owned()).into());
    };
    let mut agent = bench.trace()?;
    // Nobody sent this one a SYN+ACK.
    let mut answered_elsewhere = stage.peer(1);
    answered_elsewhere.expects(0x0b9f_0000);
    answered_elsewhere.ack_with(None)?;
    stage.broker.wait_accepted(1)?;
    // These the stack did: what the program makes of it is judged like anything else.
    let mut overruled = stage.peer(2);
    overruled.connect()?;
    stage.broker.wait_accepted(2)?;
    drop(program);
    let mut ordinary = stage.peer(3);
    ordinary.connect()?;
    let accepted = stage.broker.wait_accepted(3)?;
    agent.wait_handshakes(3)?;
    let report = agent.finish()?;
    let foreign = report.of(answered_elsewhere.local())?;
    let cause = "bpf_cookie";
    let what = "an ACK of no SYN+ACK, for which a BPF program makes the request";
    bench.provoked(&Provocation::unverified(cause, what), foreign)?;
    let used = accepted.first().and_then(|accepted| accepted.info.used());
    anyhow::ensure!(
        used == Some(SCALE),
        "the program set {SCALE}, but the socket has {used:?}"
    );
    compare(&report, PORT, &accepted[1..], &[])?;
    let overruled = report.of(overruled.local())?;
    let what = "the same for the ACK of the stack's own cookie";
    let what = Provocation::near_miss(cause, what, Expected::Ok)
        .unknown("the program sets a shift count that the kernel computes from nothing");
    bench.provoked(&what, overruled)?;
    let what = Provocation::near_miss(cause, "the program is gone", Expected::Ok);
    bench.provoked(&what, report.of(ordinary.local())?)?;
    Ok(format!(
        "unverified, bpf_cookie; where the stack had answered: {:?} to {SCALE}",
        overruled.advertised()
    ))
}
