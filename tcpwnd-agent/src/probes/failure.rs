//! One attempt that failed, and what becomes of several in one line.
//!
//! Constraint: what the user reads about a refused program is made here and in `preflight` alone.

use aya::programs::ProgramError;

use super::Mechanism;
use super::hook::Candidate;
use crate::kernel::features::errno;
use crate::kernel::host::Host;
use crate::kernel::preflight::Action;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Giving the programs to the kernel.
    Load,
    /// Attaching them.
    Attach,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    step: Step,
    mechanism: Mechanism,
    symbol: &'static str,
    reason: String,
}

impl Failure {
    /// What `error` at `step` means on this host.
    pub fn new(step: Step, way: Candidate, error: &ProgramError, host: &Host) -> Self {
        let action = match (step, way.mechanism) {
            (Step::Load, _) => Action::Load,
            (Step::Attach, Mechanism::Fentry) => Action::AttachFentry,
            (Step::Attach, Mechanism::Kprobe) => Action::AttachKprobe,
            (Step::Attach, Mechanism::RawTracepoint) => Action::AttachRawTracepoint,
        };
        let reason = match (error, errno(error)) {
            (ProgramError::LoadError { verifier_log, .. }, Some(errno)) => {
                match host.explain(action, errno) {
                    Ok(explained) => explained,
                    Err(bare) => format!("{bare}{}", verdict(&verifier_log.to_string())),
                }
            }
            (_, Some(errno)) => host.explain(action, errno).unwrap_or_else(|bare| bare),
            (error, None) => error.to_string(),
        };
        Self::because(step, way, reason)
    }

    /// An attempt that cannot even be made.
    pub fn because(step: Step, way: Candidate, reason: String) -> Self {
        Self {
            step,
            mechanism: way.mechanism,
            symbol: way.symbol,
            reason,
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.step == other.step && self.symbol == other.symbol && self.reason == other.reason
    }
}

/// All of `failures`; what failed for the same reason is said once.
pub fn one_line(failures: &[Failure]) -> String {
    let lines: Vec<_> = failures
        .chunk_by(Failure::is_like)
        .filter_map(|alike| {
            let first = alike.first()?;
            let verb = match first.step {
                Step::Load => "load",
                Step::Attach => "attach",
            };
            let mechanisms: Vec<_> = alike.iter().map(|one| one.mechanism.name()).collect();
            let mechanisms = mechanisms.join(" and ");
            let Failure { symbol, reason, .. } = first;
            Some(format!("failed to {verb} {mechanisms} {symbol}: {reason}"))
        })
        .collect();
    lines.join("; ")
}

/// How the lines begin that the verifier adds at the end whatever happened.
const STATISTICS: [&str; 4] = [
    "processed ",
    "verification time ",
    "stack depth ",
    "subprog ",
];

/// The verifier's last word, in brackets; its whole log is for `-vv`.
fn verdict(log: &str) -> String {
    log.lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty() && !STATISTICS.iter().any(|begin| line.starts_with(begin)))
        .map(|line| format!(" (the verifier says: {line})"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(mechanism: Mechanism, reason: &str) -> Failure {
        Failure {
            step: Step::Load,
            mechanism,
            symbol: "tcp_make_synack",
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn the_same_reason_is_given_once() {
        let fentry = failure(Mechanism::Fentry, "no");
        assert_eq!(
            one_line(&[fentry.clone(), failure(Mechanism::Kprobe, "no")]),
            "failed to load fentry and kprobe tcp_make_synack: no"
        );
        assert_eq!(
            one_line(&[fentry, failure(Mechanism::Kprobe, "never")]),
            "failed to load fentry tcp_make_synack: no; \
             failed to load kprobe tcp_make_synack: never"
        );
        assert_eq!(one_line(&[]), "");
    }

    #[test]
    fn the_verifiers_last_word_is_found() {
        let log = "0: R1=ctx\ninvalid mem access 'scalar'\nverification time 9 usec\n\
                   stack depth 0\nsubprog 0 (a) main insns_self 0\nprocessed 9 insns (limit 1)\n\n";
        assert_eq!(
            verdict(log),
            " (the verifier says: invalid mem access 'scalar')"
        );
        assert_eq!(verdict(""), "");
    }
}
