//! One connection by cookie after the other, to a server of its own each, with something changed
//! between SYN+ACK and ACK: what it did is seen by the sockets, and the cause that is named must be
//! what was changed, wherever there was damage.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, compare};
use super::stage::{PORT, Stage, unlocked};
use crate::agent::Report;
use crate::broker::Accepted;
use crate::socket::ListenOptions;

/// What is changed, and what must be said of it.
pub struct Case {
    /// For messages.
    pub name: &'static str,
    /// How the listener is opened.
    pub listen: ListenOptions,
    /// Done before the SYN.
    pub before: fn(&Stage) -> Result<()>,
    /// Done between SYN+ACK and ACK.
    pub change: fn(&mut Stage) -> Result<()>,
    /// What must come of it in this kernel.
    pub expected: Expected,
    /// Names of the inputs that differ.
    pub inputs: &'static [&'static str],
}

/// What must come of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: the same scale.
    Ok,
    /// A mismatch of this cause.
    Mismatch(&'static str),
}

impl Case {
    /// A change after which a listener without SO_RCVBUF, to which nothing was done before, takes
    /// the ACK.
    pub fn new(
        name: &'static str,
        change: fn(&mut Stage) -> Result<()>,
        expected: Expected,
        inputs: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            listen: unlocked(),
            before: nothing,
            change,
            expected,
            inputs,
        }
    }
}

/// Does nothing.
fn nothing(_: &Stage) -> Result<()> {
    Ok(())
}

/// Plays the cases under one agent.
///
/// # Errors
/// When one has other consequences, or is reported otherwise, than it must be.
pub fn play(bench: &Bench, cases: &[Case]) -> Result<String> {
    let mut agent = bench.trace()?;
    let mut seen = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let accepted = make(case, number as u16 + 1);
        seen.push(accepted.with_context(|| format!("case \"{}\"", case.name))?);
    }
    agent.wait_handshakes(cases.len())?;
    let report = agent.finish()?;
    compare(&report, PORT, &seen, &[])?;
    let mut said = String::new();
    for (case, accepted) in cases.iter().zip(&seen) {
        check(case, &report, accepted).with_context(|| format!("case \"{}\"", case.name))?;
        if let Expected::Mismatch(cause) = case.expected {
            write!(said, "{}{cause}", if said.is_empty() { "" } else { ", " })?;
        }
    }
    Ok(said)
}

/// Makes the connection; returns what the server's socket says.
fn make(case: &Case, number: u16) -> Result<Accepted> {
    let mut stage = Stage::with_cookies_to(&case.listen)?;
    (case.before)(&stage)?;
    let (local, acknowledge) = {
        let mut peer = stage.peer(number);
        peer.syn()?;
        let synack = peer.synack()?;
        let timestamps = peer.timestamps(&synack);
        (peer.local(), peer.prepared(timestamps))
    };
    (case.change)(&mut stage)?;
    stage.tun.send(&acknowledge)?;
    stage.broker.wait_accepted_from(local)
}

fn check(case: &Case, report: &Report, accepted: &Accepted) -> Result<()> {
    let handshake = report.of(accepted.peer)?;
    match case.expected {
        Expected::Ok => handshake.expect("ok", "cookie", None)?,
        Expected::Mismatch(cause) => {
            handshake.expect("mismatch", "cookie", Some(cause))?;
            // It is read now and then: whether it is among what differed without being the cause
            // depends on the moment.
            let matters = |name: &&str| *name != "rmem_max" || case.inputs.contains(name);
            let names = handshake.inputs.keys().map(String::as_str);
            let names: Vec<_> = names.filter(matters).collect();
            ensure!(
                names == case.inputs,
                "{:?} differ, but reported was {handshake:?}",
                case.inputs
            );
        }
    }
    Ok(())
}
