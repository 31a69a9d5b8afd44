//! One connection by cookie after the other, to a server of its own each, with something changed
//! between SYN+ACK and ACK: what it did is seen by the sockets, and the cause that is named must be
//! what was changed, wherever there was damage.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, compare};
use super::provoked::{Expected, Provocation};
use super::stage::{PORT, Stage, unlocked};
use crate::agent::Report;
use crate::broker::Accepted;
use crate::socket::ListenOptions;

/// Why two changes have no cause.
pub const EITHER: &str = "either leads there by itself";

/// What is changed, and what must be said of it.
pub struct Case {
    /// What it brings about, or looks like, and what must come of it in this kernel.
    pub what: Provocation,
    /// How the listener is opened.
    pub listen: ListenOptions,
    /// Done before the SYN.
    pub before: fn(&mut Stage) -> Result<()>,
    /// Done between SYN+ACK and ACK.
    pub change: fn(&mut Stage) -> Result<()>,
    /// Names of the inputs that differ.
    pub inputs: &'static [&'static str],
}

impl Case {
    /// A change after which a listener without SO_RCVBUF, to which nothing was done before, takes
    /// the ACK.
    pub fn new(
        what: Provocation,
        change: fn(&mut Stage) -> Result<()>,
        inputs: &'static [&'static str],
    ) -> Self {
        Self {
            what,
            listen: unlocked(),
            before: |_| Ok(()),
            change,
            inputs,
        }
    }
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
        seen.push(accepted.with_context(|| format!("case \"{}\"", case.what.done))?);
    }
    agent.wait_handshakes(cases.len())?;
    let report = agent.finish()?;
    // All of them first: one that is wrong keeps no other's row out of the table.
    let checked: Vec<_> = cases
        .iter()
        .zip(&seen)
        .map(|(case, accepted)| {
            let checked = check(bench, case, &report, accepted);
            checked.with_context(|| format!("case \"{}\"", case.what.done))
        })
        .collect();
    checked.into_iter().collect::<Result<()>>()?;
    compare(&report, PORT, &seen, &[])?;
    let mut said = String::new();
    for case in cases {
        if let Some(cause) = case.what.expected.cause() {
            write!(said, "{}{cause}", if said.is_empty() { "" } else { ", " })?;
        }
    }
    Ok(said)
}

/// Makes the connection; returns what the server's socket says.
fn make(case: &Case, number: u16) -> Result<Accepted> {
    let mut stage = Stage::with_cookies_to(&case.listen)?;
    (case.before)(&mut stage)?;
    let (local, acknowledge) = {
        let mut peer = stage.peer(number);
        peer.syn()?;
        let synack = peer.synack()?;
        let timestamps = peer.timestamps(&synack);
        (peer.local(), peer.prepared(timestamps))
    };
    (case.change)(&mut stage)?;
    stage.tun.send(&acknowledge)?;
    stage.wait_accepted_from(local)
}

fn check(bench: &Bench, case: &Case, report: &Report, accepted: &Accepted) -> Result<()> {
    let handshake = report.of(accepted.peer)?;
    bench.provoked(&case.what, handshake)?;
    if case.what.expected == Expected::Ok {
        return Ok(());
    }
    // It is read now and then: whether it is among what differed without being the cause depends
    // on the moment.
    let matters = |name: &&str| *name != "rmem_max" || case.inputs.contains(name);
    let names = handshake.inputs.keys().map(String::as_str);
    let names: Vec<_> = names.filter(matters).collect();
    ensure!(
        names == case.inputs,
        "{:?} differ, but reported was {handshake:?}",
        case.inputs
    );
    Ok(())
}
