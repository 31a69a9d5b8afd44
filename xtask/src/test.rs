//! The gate: everything that must hold before a change is taken.
//!
//! The last line says how many checks passed and failed, so that a run of nothing is seen.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::build::{self, Binaries};
use crate::deploy;
use crate::docs;
use crate::kernels::{self, Kernel, Source, TABLE, WITHOUT};
use crate::last::{self, Check, Last};
use crate::lint;
use crate::release::Release;
use crate::release::install;
use crate::setup::{self, Missing};
use crate::unit_tests;
use crate::vm::agent_tests;
use crate::vm::alert;
use crate::vm::causes_table::CausesTable;
use crate::vm::packages;
use crate::vm::results::{Outcome, Results, Tally};
use crate::vm::soak;
use crate::vm::test::{Caps, Choice, DEFAULT_TIMEOUT, Mechanism, Run, State, Transport, run_all};
use crate::vm::verifier;

/// The kernels on which the gate runs everything: the oldest, with the bug, and the newest.
const GATE_KERNELS: [&str; 2] = ["5.10-affected", "newest"];

/// The scenario that the gate runs on the others.
const SMOKE: &str = "smoke";

/// What the gate runs over perf buffers, on one kernel, a minute's worth: what a transport has a say in.
/// That is every kind of record but those of connections opened here and of suspects, losses, a flood,
/// and settings from a map with the offsets of a BTF file.
const OVER_PERF: (&str, [&str; 8]) = (
    "5.10-affected",
    [
        SMOKE,
        "ordinary",
        "cookies",
        "rcvbuf_raised",
        "odd",
        "ring_too_small",
        "flood",
        "own_btf",
    ],
);

/// The scenario of kernels that are locked down.
const LOCKDOWN: &str = "lockdown";

/// What one kernel's part of the full matrix may take.
pub const FULL_TIMEOUT: Duration = Duration::from_secs(5400);

/// How much is tested.
#[derive(Args)]
pub struct Options {
    /// Everything on every kernel, the scenarios with either mechanism and with the service's
    /// capabilities alone, the alerts in a real Prometheus, and the packages installed in a clean
    /// Debian (as root); writes the matrix and the verifier's figures to docs/kernels.md, and what
    /// was reported of each cause to docs/detection.md
    #[arg(long)]
    full: bool,
    /// Only what failed in the last full run of this checkout, and scenarios and boots that are new
    /// since; writes the matrix anew, which says of each answer when it was given
    #[arg(long, requires = "full")]
    last_failed: bool,
}

/// Runs the gate.
///
/// # Errors
///
/// When set-up fails or something cannot be run at all; what does not hold is no error.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.last_failed {
        return last::run_failed();
    }
    let begin = Instant::now();
    let wanted = |kernel: &&_| TABLE.contains(kernel) || (options.full && WITHOUT.contains(kernel));
    let kernels: Vec<_> = kernels::every().filter(wanted).collect();
    let missing = step("set-up", || setup::ensure(&kernels, false))?;
    let mut tally = Tally::default();
    for lint in lint::all() {
        let name = lint.name;
        let passed = step(name, || lint.passes());
        if !passed {
            eprintln!("FAILED: {name}");
        }
        tally.count(passed);
    }
    let units = step("unit tests", unit_tests::run)?;
    tally.add(units.tally);
    tally.add(step("deploy", || deploy::check("", false)));
    let Some(last) = in_vms(options.full, &missing, &units.for_vms) else {
        // Nothing was run: the last full run stays what it is.
        tally.count(false);
        println!("{tally}");
        return Ok(ExitCode::FAILURE);
    };
    for (what, results) in [
        ("scenario", &last.scenarios),
        ("unit test in a VM", &last.tests),
        ("scenario where nothing can be had", &last.nowhere),
    ] {
        if results.tally().passed + results.tally().failed == 0 {
            eprintln!("FAILED: no {what} ran");
            tally.count(false);
        }
    }
    println!("{}", last.matrix());
    for test in units.skipped {
        println!("- skipped: unit test {test}");
    }
    tally.add(if options.full {
        last.keep()?;
        write_full(&last)?
    } else {
        last.tally()
    });
    eprintln!("took {} s", begin.elapsed().as_secs());
    for line in gaps(&missing) {
        println!("{line}");
    }
    println!("{tally}");
    Ok(if tally.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the tally must not be taken for.
fn gaps(missing: &[Missing]) -> Vec<String> {
    let gaps = missing.iter().map(|missing| missing.kernel.name);
    gaps.filter(|name| GATE_KERNELS.contains(name))
        .map(|name| format!("not the whole gate: {name} was not tested"))
        .collect()
}

/// Writes what a full run answered into the documents, and counts it.
///
/// # Errors
///
/// When one of them cannot be written.
pub fn write_full(last: &Last) -> anyhow::Result<Tally> {
    let mut tally = last.tally();
    docs::write_matrix(&last.matrix(), tally)?;
    tally.add(write_causes(&last.scenarios)?);
    Ok(tally)
}

/// Writes the table of causes, and counts what is wrong about it beside the scenarios themselves:
/// documented causes that it lacks.
fn write_causes(scenarios: &Results) -> anyhow::Result<Tally> {
    let table = CausesTable::of(scenarios, &docs::causes()?);
    docs::write_causes(&table)?;
    let mut tally = Tally::default();
    for gap in &table.gaps {
        eprintln!("FAILED: {gap}");
        tally.count(false);
    }
    Ok(tally)
}

/// Says what is done and how long it took.
fn step<T>(name: &str, work: impl FnOnce() -> T) -> T {
    eprintln!("== {name}");
    let begin = Instant::now();
    let result = work();
    eprintln!("== {name}: {:.1} s", begin.elapsed().as_secs_f64());
    result
}

/// Runs the scenarios, and the unit tests that need a VM, and what only the full matrix has; nothing
/// where the build fails.
fn in_vms(full: bool, missing: &[Missing], expected: &[String]) -> Option<Last> {
    let build = || anyhow::Ok((build::run()?, build::agent_tests()?));
    let (binaries, program) = match step("build", build) {
        Ok(built) => built,
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            return None;
        }
    };
    let tests = step("unit tests in VMs", || {
        agent_tests::run_on(every(full), missing, &binaries, &program, expected)
    });
    let timeout = if full {
        FULL_TIMEOUT
    } else {
        Duration::from_secs(DEFAULT_TIMEOUT)
    };
    let scenarios = step("scenarios", || {
        run_all(runs(full), missing, &binaries, timeout)
    });
    let nowhere = step("where nothing can be had", || {
        run_nowhere(nowhere(full), missing, &binaries)
    });
    let longer = match full {
        true => longer(missing, &binaries, |_| true),
        false => Vec::new(),
    };
    Some(Last {
        scenarios,
        tests,
        nowhere,
        longer,
    })
}

/// Runs what is booted for one scenario alone: that nothing there can be said of it is a failure.
pub fn run_nowhere(runs: Vec<Run>, missing: &[Missing], binaries: &Binaries) -> Results {
    let mut results = run_all(runs, missing, binaries, FULL_TIMEOUT);
    for row in &mut results.rows {
        if row.answer.outcome == Outcome::Unsupported {
            row.answer.outcome = Outcome::Failed;
        }
    }
    results
}

/// What takes too long for anything but the full matrix, as far as it is `wanted` by its name.
pub fn longer(
    missing: &[Missing],
    binaries: &Binaries,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Check> {
    let of_packages = || Release::of(&binaries.agent);
    let works: [(&str, &dyn Fn() -> anyhow::Result<()>); 6] = [
        ("figures of the verifier", &|| {
            verifier::hold(missing, binaries)
        }),
        ("alerts", &|| alert::hold(missing, binaries)),
        ("minutes of storms", &|| soak::hold(missing, binaries)),
        ("packages in a clean Debian", &|| {
            install::in_root(of_packages()?).map(|said| eprint!("{said}"))
        }),
        ("packages under systemd", &|| {
            packages::hold(missing, of_packages()?)
        }),
        ("files under deploy/, cut off", &deploy::mutate::hold),
    ];
    let wanted = works.into_iter().filter(|(name, _)| wanted(name));
    wanted
        .map(|(name, work)| {
            let held = step(name, work);
            if let Err(error) = &held {
                eprintln!("FAILED: {name}: {error:#}");
            }
            Check {
                name: name.to_owned(),
                held: held.is_ok(),
            }
        })
        .collect()
}

/// The kernels on which everything runs.
fn every(full: bool) -> Vec<&'static Kernel> {
    TABLE
        .iter()
        .filter(|kernel| full || GATE_KERNELS.contains(&kernel.name))
        .collect()
}

/// The gate's boots, or all of the matrix.
pub fn runs(full: bool) -> Vec<Run> {
    let mut runs = Vec::new();
    for kernel in TABLE {
        let every = every(full).contains(&kernel);
        let run = |mechanism, transport, caps| Run {
            kernel,
            mechanism,
            transport,
            caps,
            choice: if every {
                Choice::All
            } else {
                Choice::Named(vec![SMOKE.to_owned()])
            },
            state: State::Usual,
        };
        runs.push(run(Mechanism::Fentry, Transport::Ring, Caps::All));
        // Kernels without ring buffer have no fentry either, but for 5.5 to 5.7.
        let perf = run(Mechanism::Kprobe, Transport::Perf, Caps::All);
        if full {
            runs.push(run(Mechanism::Kprobe, Transport::Ring, Caps::All));
            runs.push(perf);
            // What the service's capabilities are good for is a matter of stock kernels.
            if kernel.source != Source::Affected {
                runs.push(run(Mechanism::Fentry, Transport::Ring, Caps::Service));
            }
        } else if kernel.name == OVER_PERF.0 {
            let names = OVER_PERF.1.map(str::to_owned).into();
            let choice = Choice::Named(names);
            runs.push(Run { choice, ..perf });
        }
    }
    // The long ones first: two run at a time.
    runs.sort_by_key(|run| matches!(run.choice, Choice::Named(_)));
    runs
}

/// Boots in which nothing may be used, or nothing exists.
pub fn nowhere(full: bool) -> Vec<Run> {
    let run = |kernel, state, scenario: &str| Run {
        kernel,
        mechanism: Mechanism::Fentry,
        transport: Transport::Ring,
        caps: Caps::All,
        choice: Choice::Named(vec![scenario.to_owned()]),
        state,
    };
    let stock = every(full).into_iter();
    let stock = stock.filter(|kernel| kernel.source != Source::Affected);
    let mut runs: Vec<_> = stock
        .map(|kernel| run(kernel, State::LockedDown, LOCKDOWN))
        .collect();
    // Building them takes too long for the gate.
    if full {
        let scenario = |kernel: &Kernel| kernel.name.replace('-', "_");
        runs.extend(
            WITHOUT
                .iter()
                .map(|kernel| run(kernel, State::Without, &scenario(kernel))),
        );
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::{gaps, nowhere, runs};
    use crate::kernels::{TABLE, WITHOUT};
    use crate::setup::Missing;
    use crate::vm::test::{Choice, Transport};

    #[test]
    fn the_gate_leaves_no_kernel_out() {
        let over_perf = |full: bool| {
            let runs = runs(full).into_iter();
            runs.filter(|run| run.transport == Transport::Perf).count()
        };
        assert_eq!(over_perf(false), 1);
        assert_eq!(runs(false).len(), TABLE.len() + 1);
        assert_eq!(over_perf(true), TABLE.len());
        assert_eq!(runs(true).len(), 4 * TABLE.len() - 1);
        let all = |full| {
            runs(full)
                .iter()
                .filter(|run| run.choice == Choice::All)
                .count()
        };
        assert_eq!(all(true), runs(true).len());
        assert_eq!(all(false), 2);
    }

    #[test]
    fn where_nothing_can_be_had_only_that_is_asked() {
        assert_eq!(nowhere(false).len(), 1);
        let full = nowhere(true);
        assert_eq!(full.len(), TABLE.len() - 1 + WITHOUT.len());
        let names = |run: &_| matches!(run, Choice::Named(names) if names.len() == 1);
        assert!(full.iter().all(|run| names(&run.choice)));
    }

    #[test]
    fn a_kernel_of_the_gate_that_was_not_tested_is_named_at_the_end() {
        let missing: Vec<_> = TABLE
            .iter()
            .map(|kernel| Missing {
                kernel,
                reason: "gone".to_owned(),
            })
            .collect();
        assert_eq!(
            gaps(&missing),
            [
                "not the whole gate: 5.10-affected was not tested",
                "not the whole gate: newest was not tested",
            ]
        );
        assert!(gaps(&missing[1..2]).is_empty());
        assert!(gaps(&[]).is_empty());
    }
}
