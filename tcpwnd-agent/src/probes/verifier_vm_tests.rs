//! What the verifier takes to check each program, against a budget: as `vm_tests` of this folder.
//! `cargo xtask vm verifier` shows the figures of every kernel.
//!
//! Constraint: the agent's own loader loads the programs, so that the verifier sees them as it does
//! in use. The loader shows the verifier's log of a refused program only, so each is refused, after
//! the verifier has taken it: this process may open no descriptor meanwhile, and a program's own is
//! made last (bpf_prog_load, kernel/bpf/syscall.c, 5.10 to 7.3).

use std::collections::BTreeMap;

use aya::programs::ProgramError;
use aya::{Btf, Ebpf, VerifierLogLevel};
use tcpwnd_common::{Config, FAMILY_IPV4, MAX_PORT_RANGES, PortRange, ROLE_CLIENT, ROLE_SERVER};

use super::facts::KernelFacts;
use super::hook::candidates;
use super::object::{self, Purpose, VERIFIER_LOG};
use super::suspects::PROGRESS;
use super::table::{HOOKS, SYNPROXY, WINDOW};
use super::vm_tests::{in_runtime, settings};
use super::{MechanismChoice, Settings, program};
use crate::kernel::features::errno;

/// What each program may take, on any kernel.
const BUDGET: &str = include_str!("verifier_budget.txt");

/// How the verifier names the figures (print_verification_stats, kernel/bpf/verifier.c).
const PROCESSED: &str = "processed";
const PEAK_STATES: &str = "peak_states";
const STACK_DEPTH: &str = "stack depth ";

/// Instructions walked through, the most states kept at once, and bytes of stack, those of functions
/// that are called included.
type Cost = [u64; 3];

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn no_program_takes_more_of_the_verifier_than_its_budget() {
    let mut costs = BTreeMap::new();
    for config in [everything(), filtered()] {
        for (name, cost) in in_runtime(async { measure(config) }) {
            let known: &mut Cost = costs.entry(name).or_default();
            *known = std::array::from_fn(|figure| known[figure].max(cost[figure]));
        }
    }
    println!("program instructions states stack");
    for (name, [instructions, states, stack]) in &costs {
        println!("{name:<34} {instructions:>8} {states:>6} {stack:>5}");
    }
    let (budget, mut over) = (budget(BUDGET), Vec::new());
    for (name, cost) in &costs {
        match budget.get(name.as_str()) {
            Some(most) if (0..cost.len()).all(|figure| cost[figure] <= most[figure]) => {}
            most => over.push(format!("{name}: {cost:?}, budget {most:?}")),
        }
    }
    assert!(over.is_empty(), "over budget: {over:#?}");
    let gone = |name: &&&str| !costs.contains_key(**name);
    assert_eq!(budget.keys().find(gone), None, "there is no such program");
}

/// The figures of each program of the object, loaded with `config`.
fn measure(config: Config) -> BTreeMap<String, Cost> {
    VERIFIER_LOG.set(VerifierLogLevel::STATS);
    let settings = Settings {
        config,
        ..settings(MechanismChoice::Auto)
    };
    let facts = KernelFacts::read(&settings).unwrap();
    let loaded = object::load(
        &settings,
        &facts.btf,
        facts.offsets.table,
        Purpose::Connections { synproxy: true },
        &facts.host,
    );
    let mut loaded = loaded.unwrap();
    let ebpf = &mut loaded.ebpf;
    let btf = Btf::from_sys_fs().unwrap();
    let mut costs = BTreeMap::new();
    for hook in HOOKS.iter().chain(&SYNPROXY).chain([&WINDOW, &PROGRESS]) {
        for choice in [MechanismChoice::Fentry, MechanismChoice::Kprobe] {
            for way in candidates(hook, choice, |name| facts.presence(name)) {
                for name in way.programs {
                    let log = verified(ebpf, name, way.symbol, &btf);
                    costs.insert((*name).to_owned(), cost(&log));
                }
            }
        }
    }
    let forgotten: Vec<_> = ebpf
        .programs()
        .filter(|(name, _)| !costs.contains_key(*name))
        .collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
    costs
}

/// What the verifier wrote about a program that it has taken.
fn verified(ebpf: &mut Ebpf, name: &str, symbol: &str, btf: &Btf) -> String {
    let program = ebpf.program_mut(name).unwrap();
    let before = descriptors(0);
    let refused = program::load(program, symbol, Some(btf)).unwrap_err();
    descriptors(before);
    assert_eq!(errno(&refused), Some(libc::EMFILE), "{name}: {refused}");
    match refused {
        ProgramError::LoadError { verifier_log, .. } => verifier_log.to_string(),
        other => panic!("{name}: {other}"),
    }
}

/// Lets this process open descriptors below `number` from now on; returns what it was.
fn descriptors(number: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes the struct it is given.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let before = std::mem::replace(&mut limit.rlim_cur, number);
    // SAFETY: reads the struct, changes a limit of this process.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!((read, set), (0, 0));
    before
}

/// Reads the figures out of what the verifier wrote.
fn cost(log: &str) -> Cost {
    let words: Vec<_> = log.split_whitespace().collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name);
        at.and_then(|at| words.get(at + 1)?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {log}"))
    };
    // `stack depth 248+16+0`: the program's own, and those of its functions. 7.3 adds up what can be
    // in use at once: `stack depth max 264`.
    let stack = log
        .lines()
        .find_map(|line| line.strip_prefix(STACK_DEPTH))
        .unwrap_or_else(|| panic!("no {STACK_DEPTH}in {log}"));
    let stack = stack.trim().trim_start_matches("max ");
    let stack = stack.split('+').map(|own| own.parse::<u64>());
    [
        after(PROCESSED),
        after(PEAK_STATES),
        stack
            .sum::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("{error}: {log}")),
    ]
}

/// A program a line, with the most that it may take of each; `#` begins a remark.
fn budget(text: &str) -> BTreeMap<&str, Cost> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let read = |line| -> Option<(&str, Cost)> {
        let mut words = str::split_whitespace(line);
        let name = words.next()?;
        let figures: Result<Vec<u64>, _> = words.map(str::parse).collect();
        Some((name, figures.ok()?.try_into().ok()?))
    };
    lines
        .map(|line| read(line).unwrap_or_else(|| panic!("not a line of a budget: {line}")))
        .collect()
}

/// As the agent runs when it is told nothing, and confirms: constants prune what they exclude.
fn everything() -> Config {
    Config {
        confirm: 1,
        roles: ROLE_SERVER | ROLE_CLIENT,
        ..Config::ALL
    }
}

/// With every filter there is.
fn filtered() -> Config {
    let range = PortRange {
        first: 1,
        last: 9092,
    };
    Config {
        port_ranges: [range; MAX_PORT_RANGES],
        port_range_count: MAX_PORT_RANGES as u32,
        families: FAMILY_IPV4,
        netns: 1,
        remote_port_ranges: [range; MAX_PORT_RANGES],
        remote_port_range_count: MAX_PORT_RANGES as u32,
        ..everything()
    }
}
