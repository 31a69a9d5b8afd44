//! `scan`: which of the connections that exist already are suspect, by what the kernel lists of
//! them. Wants no probes, and no root for the connections of its own network namespace.
//!
//! Constraint: only `--confirm` loads anything into the kernel.

use std::collections::HashSet;
use std::io::{self, BufWriter, IsTerminal};
use std::time::Instant;

use anyhow::{Result, ensure};
use tcpwnd_core::Role;
use tcpwnd_core::scan::{self, Outcome, Scan};

use super::{CLEAN, FINDINGS, INCONCLUSIVE, confirm};
use crate::cli::{RoleArgs, ScanArgs, ScanFailOn, TraceFormat};
use crate::config::{self, Filter};
use crate::host::namespaces::{self, Seen};
use crate::host::netns;
use crate::kernel;
use crate::output::reconnect;
use crate::output::scan::{self as output, Totals};
use crate::output::table::Style;

/// Why a suspect is undecided whose socket is gone.
const ENDED: &str = "the connection ended";

/// Runs `scan`.
///
/// # Errors
/// When an option is wrong, nothing at all can be seen, or the output cannot be written.
pub fn run(args: &ScanArgs) -> Result<u8> {
    let filter = Filter::resolve(&args.filter)?;
    let settings = config::settings(&filter, RoleArgs::default(), &args.kernel, false)?;
    ensure!(
        args.confirm || !args.fail_on.iter().any(is_settled_by_watching),
        "--fail-on mismatch and scale-lost need --confirm: without it nothing is settled"
    );
    let begun = Instant::now();
    let Seen { namespaces, unseen } = look(args, filter.netns);
    ensure!(
        !namespaces.is_empty(),
        "failed to list connections: {}",
        unseen.join("; ")
    );
    let mut scan = Scan::default();
    for namespace in namespaces.values() {
        scan.add(scan::scan(namespace, |flow| filter.selects(&flow.0)));
    }
    let took = begun.elapsed();
    let mut watched = None;
    if args.confirm {
        watched = Some(confirm::watch(args, &settings, &mut scan)?);
        note_ended(&mut scan, &look(args, filter.netns));
    }
    let mut totals = Totals::new(&scan, namespaces.len(), unseen, took);
    if let Some(watched) = watched {
        let damaged = scan.suspects.iter().filter(|suspect| suspect.is_damaged());
        // A suspect came through a listener.
        let reconnect = reconnect::of(
            damaged.map(|suspect| (suspect.flow, Role::Server)),
            netns::entering,
        );
        totals.confirmed(&scan, watched, reconnect);
    }
    totals.exit_code = exit_code(&args.fail_on, &scan, &totals);
    let out = BufWriter::new(io::stdout().lock());
    if args.json || args.format == TraceFormat::Json {
        output::json(out, &scan, &totals)?;
    } else {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let style = Style {
            wide: args.wide,
            colour: io::stdout().is_terminal() && !no_color,
            roles: false,
        };
        output::table(out, style, &scan, &totals)?;
    }
    Ok(totals.exit_code)
}

fn look(args: &ScanArgs, only: u32) -> Seen {
    let btf = args.kernel.btf.as_deref();
    namespaces::read(only, &|| {
        // Without BTF it is taken to be heeded: 5.10 to 6.5 are the kernels that may have none.
        kernel::heeds_adv_win_scale(btf).unwrap_or(true)
    })
}

/// What is not settled of connections that are gone never will be; and nothing is left to close of
/// those that are damaged.
fn note_ended(scan: &mut Scan, seen: &Seen) {
    let sockets = seen.namespaces.values().flat_map(|at| &at.sockets);
    let open: HashSet<u64> = sockets.map(|socket| socket.cookie).collect();
    for suspect in &mut scan.suspects {
        suspect.ended = !open.contains(&suspect.cookie);
        if let Some(settled) = &mut suspect.settled
            && suspect.ended
            && settled.verdict == Outcome::Undecided
        {
            settled.why = Some(ENDED);
        }
    }
}

fn is_settled_by_watching(fail_on: &ScanFailOn) -> bool {
    matches!(fail_on, ScanFailOn::Mismatch | ScanFailOn::ScaleLost)
}

/// A gate that did not see everything does not pass.
fn exit_code(fail_on: &[ScanFailOn], scan: &Scan, totals: &Totals) -> u8 {
    let named = |outcome| {
        fail_on.iter().any(|fail_on| match fail_on {
            ScanFailOn::Mismatch => outcome == Outcome::Mismatch,
            ScanFailOn::ScaleLost => outcome == Outcome::ScaleLost,
            ScanFailOn::Unverified => outcome == Outcome::Undecided,
            ScanFailOn::Any => outcome != Outcome::Cleared,
        })
    };
    if scan.suspects.iter().any(|suspect| named(suspect.outcome())) {
        FINDINGS
    } else if fail_on.is_empty() || totals.unseen.is_empty() {
        CLEAN
    } else {
        INCONCLUSIVE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::time::Duration;

    fn code(fail_on: &[ScanFailOn], connections: &[(u16, u8)], unseen: &[&str]) -> u8 {
        let scan = testing::scan(connections);
        let unseen = unseen.iter().map(|text| (*text).to_owned()).collect();
        exit_code(
            fail_on,
            &scan,
            &Totals::new(&scan, 1, unseen, Duration::ZERO),
        )
    }

    #[test]
    fn suspects_fail_a_gate_that_asks_for_them() {
        let gate = [ScanFailOn::Any];
        assert_eq!(code(&[], &[(1, 7)], &["a"]), CLEAN);
        assert_eq!(code(&gate, &[(1, 7)], &["a"]), FINDINGS);
        assert_eq!(code(&gate, &[(1, 1)], &[]), CLEAN);
        assert_eq!(code(&gate, &[(1, 1)], &["a"]), INCONCLUSIVE);
        assert_eq!(code(&[ScanFailOn::Unverified], &[(1, 7)], &[]), FINDINGS);
        assert_eq!(code(&[ScanFailOn::Mismatch], &[(1, 7)], &[]), CLEAN);
    }

    #[test]
    fn one_that_was_settled_fails_the_gate_that_names_it() {
        let mut scan = testing::scan(&[(1, 7)]);
        let totals = Totals::new(&scan, 1, Vec::new(), Duration::ZERO);
        for (outcome, trips) in [
            (Outcome::Mismatch, ScanFailOn::Mismatch),
            (Outcome::ScaleLost, ScanFailOn::ScaleLost),
            (Outcome::Undecided, ScanFailOn::Unverified),
        ] {
            scan.suspects[0].settled = Some(testing::settled(outcome));
            assert_eq!(exit_code(&[trips], &scan, &totals), FINDINGS);
            assert_eq!(exit_code(&[ScanFailOn::Any], &scan, &totals), FINDINGS);
        }
        scan.suspects[0].settled = Some(testing::settled(Outcome::Cleared));
        assert_eq!(exit_code(&[ScanFailOn::Any], &scan, &totals), CLEAN);
    }

    #[test]
    fn what_ended_is_not_offered_for_closing() {
        let mut scan = testing::scan(&[(1, 7), (2, 7)]);
        for suspect in &mut scan.suspects {
            suspect.settled = Some(testing::settled(Outcome::Mismatch));
        }
        scan.suspects[0].settled = Some(testing::settled(Outcome::Undecided));
        note_ended(&mut scan, &Seen::default());
        assert!(scan.suspects.iter().all(|suspect| !suspect.is_damaged()));
        let why = |at: usize| scan.suspects[at].settled.as_ref().unwrap().why;
        assert_eq!((why(0), why(1)), (Some(ENDED), None));
    }
}
