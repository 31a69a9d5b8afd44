//! `scan`: which of the connections that exist already are suspect, by what the kernel lists of
//! them. Wants no probes, and no root for the connections of its own network namespace.

use std::io::{self, BufWriter, IsTerminal};
use std::time::Instant;

use anyhow::Result;
use tcpwnd_core::scan::{self, Scan};

use super::{CLEAN, FINDINGS, INCONCLUSIVE};
use crate::cli::{ScanArgs, ScanFailOn, TraceFormat};
use crate::config::Filter;
use crate::host::namespaces;
use crate::kernel;
use crate::output::scan::{self as output, Totals};
use crate::output::table::Style;

/// Runs `scan`.
///
/// # Errors
/// When an option is wrong, nothing at all can be seen, or the output cannot be written.
pub fn run(args: &ScanArgs) -> Result<u8> {
    let filter = Filter::resolve(&args.filter)?;
    let begun = Instant::now();
    let btf = args.btf.as_deref();
    let seen = namespaces::read(filter.netns, &|| {
        // Without BTF it is taken to be heeded: 5.10 to 6.5 are the kernels that may have none.
        kernel::heeds_adv_win_scale(btf).unwrap_or(true)
    });
    anyhow::ensure!(
        !seen.namespaces.is_empty(),
        "failed to list connections: {}",
        seen.unseen.join("; ")
    );
    let mut scan = Scan::default();
    for namespace in seen.namespaces.values() {
        scan.add(scan::scan(namespace, |flow| filter.selects(&flow.0)));
    }
    let count = seen.namespaces.len();
    let mut totals = Totals::new(&scan, count, seen.unseen, begun.elapsed());
    totals.exit_code = exit_code(&args.fail_on, &totals);
    let out = BufWriter::new(io::stdout().lock());
    if args.json || args.format == TraceFormat::Json {
        output::json(out, &scan, &totals)?;
    } else {
        let style = Style {
            wide: args.wide,
            colour: io::stdout().is_terminal(),
        };
        output::table(out, style, &scan, &totals)?;
    }
    Ok(totals.exit_code)
}

/// A gate that did not see everything does not pass.
fn exit_code(fail_on: &[ScanFailOn], totals: &Totals) -> u8 {
    match (
        fail_on.is_empty(),
        totals.suspects,
        totals.unseen.is_empty(),
    ) {
        (true, _, _) | (false, 0, true) => CLEAN,
        (false, 0, false) => INCONCLUSIVE,
        (false, _, _) => FINDINGS,
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
        exit_code(fail_on, &Totals::new(&scan, 1, unseen, Duration::ZERO))
    }

    #[test]
    fn suspects_fail_a_gate_that_asks_for_them() {
        let gate = [ScanFailOn::Any];
        assert_eq!(code(&[], &[(1, 7)], &["a"]), CLEAN);
        assert_eq!(code(&gate, &[(1, 7)], &["a"]), FINDINGS);
        assert_eq!(code(&gate, &[(1, 1)], &[]), CLEAN);
        assert_eq!(code(&gate, &[(1, 1)], &["a"]), INCONCLUSIVE);
    }
}
