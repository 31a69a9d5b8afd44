//! The last run of the full matrix, kept so that what failed in it can be run again alone, and what
//! is new since can be added: a scenario takes seconds, the matrix takes hours.
//!
//! Constraint: the documents say of each answer when it was given, and at which commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::build::{self, Binaries};
use crate::command;
use crate::kernels::{self, Kernel, TABLE};
use crate::paths;
use crate::setup;
use crate::test::{self, FULL_TIMEOUT, write_full};
use crate::vm::agent_tests;
use crate::vm::results::{Outcome, Place, Results, Row, Tally, WHOLE_VM};
use crate::vm::test::{Choice, Run, run_all};

/// Its answers, and those that replaced some of them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Last {
    /// Of the scenarios.
    pub scenarios: Results,
    /// Of the unit tests that need a VM.
    pub tests: Results,
    /// Of the scenarios of places where nothing can be had.
    #[serde(default)]
    pub nowhere: Results,
    /// Of what only a full run has beside them.
    #[serde(default)]
    pub longer: Vec<Check>,
}

/// One answer for all of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Check {
    /// What it is called.
    pub name: String,
    /// Whether it held.
    pub held: bool,
}

impl Last {
    /// Keeps it.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn keep(&self) -> anyhow::Result<()> {
        let file = file()?;
        let text = serde_json::to_string_pretty(self)?;
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))
    }

    fn read() -> anyhow::Result<Self> {
        let file = file()?;
        let text = fs::read_to_string(&file).with_context(|| {
            format!(
                "no full run to go on from: read {}; cargo xtask test --full makes one",
                file.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| format!("read {}", file.display()))
    }

    /// Of everything in it.
    pub fn tally(&self) -> Tally {
        let mut tally = self.scenarios.tally();
        tally.add(self.tests.tally());
        tally.add(self.nowhere.tally());
        for check in &self.longer {
            tally.count(check.held);
        }
        tally
    }

    /// The matrices.
    pub fn matrix(&self) -> String {
        [
            self.scenarios.matrix("scenario"),
            self.tests.matrix("unit test"),
            self.nowhere.matrix("where nothing can be had"),
        ]
        .join("\n")
    }

    /// Puts new answers of scenarios in the place of what was kept of the same boots (where some were
    /// `named`, of these alone), keeps it, and writes the documents anew.
    ///
    /// # Errors
    ///
    /// When what was kept cannot be read, or a file cannot be written.
    pub fn add(new: Results, named: &[String]) -> anyhow::Result<()> {
        Self::put(|last| &mut last.scenarios, new, named)
    }

    /// As [`Last::add`], of all unit tests.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn add_tests(new: Results) -> anyhow::Result<()> {
        Self::put(|last| &mut last.tests, new, &[])
    }

    fn put(
        whose: impl FnOnce(&mut Self) -> &mut Results,
        new: Results,
        named: &[String],
    ) -> anyhow::Result<()> {
        let mut last = match file()?.exists() {
            true => Self::read()?,
            false => Self::default(),
        };
        let places = new.rows.iter().map(Row::place);
        let replaced = places.map(|place| (place, named.to_vec())).collect();
        replace(whose(&mut last), &replaced, new);
        last.keep()?;
        write_full(&last).map(drop)
    }
}

fn file() -> anyhow::Result<PathBuf> {
    Ok(paths::vm_folder()?.join("full.json"))
}

/// Runs again what failed, and what is new since, and writes the documents anew.
///
/// # Errors
///
/// When there is no full run to go on from, set-up or a build fails, or a file cannot be written.
pub fn run_failed() -> anyhow::Result<ExitCode> {
    let mut last = Last::read()?;
    let binaries = build::run()?;
    let program = build::agent_tests()?;
    let (known, known_tests) = (known(&binaries)?, agent_tests::names(&program)?);
    last.scenarios.rows.retain(|row| is_known(row, &known));
    last.tests.rows.retain(|row| is_known(row, &known_tests));
    let places = |runs: Vec<Run>| runs.iter().map(Run::place).collect::<Vec<_>>();
    let scenarios = open(&last.scenarios, &known, &places(test::runs(true)));
    let tests = open(&last.tests, &known_tests, &agent_tests::places());
    // Each boot there is for one scenario.
    let nowhere = open(&last.nowhere, &[], &places(test::nowhere(true)));
    let failed = last.longer.iter().filter(|check| !check.held);
    let longer: Vec<String> = failed.map(|check| check.name.clone()).collect();
    let places: Vec<_> = [&scenarios, &tests, &nowhere]
        .into_iter()
        .flat_map(BTreeMap::keys)
        .collect();
    if places.is_empty() && longer.is_empty() {
        println!("nothing failed in the last full run, and nothing is new since");
    }
    let mut wanted: Vec<&'static Kernel> = Vec::new();
    for (name, _) in places {
        let kernel = kernels::find(name).with_context(|| {
            format!("{name} cannot be run again: it is not among the kernels any more")
        })?;
        if !wanted.contains(&kernel) {
            wanted.push(kernel);
        }
    }
    if !longer.is_empty() {
        wanted.extend(TABLE);
    }
    let missing = setup::ensure(&wanted, false)?;
    let answers = run_all(runs(&scenarios)?, &missing, &binaries, FULL_TIMEOUT);
    replace(&mut last.scenarios, &scenarios, answers);
    let whole = |places: BTreeMap<Place, Vec<String>>| {
        let places = places.into_keys().map(|place| (place, Vec::new()));
        places.collect::<BTreeMap<_, _>>()
    };
    let nowhere = whole(nowhere);
    let mut of_nowhere = test::nowhere(true);
    of_nowhere.retain(|run| nowhere.contains_key(&run.place()));
    let answers = test::run_nowhere(of_nowhere, &missing, &binaries);
    replace(&mut last.nowhere, &nowhere, answers);
    let tests = whole(tests);
    let of_tests = tests.keys().filter_map(|(name, _)| kernels::find(name));
    let of_tests = of_tests.collect();
    let answers = agent_tests::run_on(of_tests, &missing, &binaries, &program, &known_tests);
    replace(&mut last.tests, &tests, answers);
    let again = test::longer(&missing, &binaries, |name| {
        longer.iter().any(|failed| failed == name)
    });
    last.longer.retain(|check| check.held);
    last.longer.extend(again);
    last.keep()?;
    let tally = write_full(&last)?;
    println!("{}\n{tally}", last.matrix());
    Ok(if tally.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What failed, by place; nothing in particular where the VM did.
fn failed(results: &Results) -> BTreeMap<Place, Vec<String>> {
    let mut failed: BTreeMap<Place, Vec<String>> = BTreeMap::new();
    let rows = results.rows.iter();
    for row in rows.filter(|row| row.answer.outcome == Outcome::Failed) {
        failed
            .entry(row.place())
            .or_default()
            .push(row.answer.scenario.clone());
    }
    for names in failed.values_mut() {
        if names.iter().any(|name| name == WHOLE_VM) {
            names.clear();
        }
    }
    failed
}

/// The scenarios that there are now.
fn known(binaries: &Binaries) -> anyhow::Result<Vec<String>> {
    let said = command::output(Command::new(&binaries.lab).args(["scenario", "list", "--json"]))?;
    let names: anyhow::Result<Vec<_>> = said.lines().map(name_of).collect();
    Ok(names?.into_iter().flatten().collect())
}

/// The name in a line of the laboratory's list; none of one that is for kernels of its own.
fn name_of(line: &str) -> anyhow::Result<Option<String>> {
    let scenario: serde_json::Value = serde_json::from_str(line)?;
    let name = scenario["scenario"].as_str();
    let name = name.context("a scenario of the laboratory has no name")?;
    let elsewhere = scenario["elsewhere"] == true;
    Ok((!elsewhere).then(|| name.to_owned()))
}

fn is_known(row: &Row, known: &[String]) -> bool {
    let name = &row.answer.scenario;
    name == WHOLE_VM || known.contains(name)
}

/// What failed, what each boot has no answer of, and boots that have none at all, by place.
fn open(results: &Results, known: &[String], every: &[Place]) -> BTreeMap<Place, Vec<String>> {
    let mut answered: BTreeMap<Place, Vec<&str>> = BTreeMap::new();
    for row in &results.rows {
        let names = answered.entry(row.place()).or_default();
        names.push(&row.answer.scenario);
    }
    let mut open = failed(results);
    let new = every.iter().filter(|place| !answered.contains_key(place));
    open.extend(new.map(|place| (place.clone(), Vec::new())));
    for (place, names) in answered {
        // All of that boot run again anyway.
        if open.get(&place).is_some_and(Vec::is_empty) {
            continue;
        }
        let new = known.iter().filter(|name| !names.contains(&name.as_str()));
        let new: Vec<String> = new.cloned().collect();
        if !new.is_empty() {
            open.entry(place).or_default().extend(new);
        }
    }
    open
}

/// The boots that this takes.
fn runs(open: &BTreeMap<Place, Vec<String>>) -> anyhow::Result<Vec<Run>> {
    let boot = |((kernel, variant), names): (&Place, &Vec<String>)| {
        let choice = if names.is_empty() {
            Choice::All
        } else {
            Choice::Named(names.clone())
        };
        let run = kernels::find(kernel).and_then(|kernel| Run::of_variant(kernel, variant, choice));
        run.with_context(|| {
            format!("{kernel} {variant} cannot be run again: no boot is called that")
        })
    };
    open.iter().map(boot).collect()
}

/// Puts new answers in the place of what was `open`. What has no new answer stays as it is, with the
/// reason where its kernel could not be had.
fn replace(results: &mut Results, open: &BTreeMap<Place, Vec<String>>, new: Results) {
    let answered: BTreeSet<Place> = new.rows.iter().map(Row::place).collect();
    results.rows.retain(|row| {
        let names = open
            .get(&row.place())
            .filter(|_| answered.contains(&row.place()));
        !names.is_some_and(|names| names.is_empty() || names.contains(&row.answer.scenario))
    });
    let of_new = |kernel: &str| {
        answered.iter().any(|(name, _)| name == kernel)
            || new
                .not_tested
                .iter()
                .any(|missing| missing.kernel == kernel)
    };
    results
        .not_tested
        .retain(|missing| !of_new(&missing.kernel));
    results.rows.extend(new.rows);
    results.not_tested.extend(new.not_tested);
}

#[cfg(test)]
mod tests {
    use super::{is_known, name_of, open, replace, runs};
    use crate::vm::results::{Answer, NotTested, Outcome, Results, Row, WHOLE_VM};
    use crate::vm::test::Choice;

    fn row(kernel: &str, variant: &str, scenario: &str, outcome: Outcome) -> Row {
        Row {
            kernel: kernel.to_owned(),
            version: "1".to_owned(),
            variant: variant.to_owned(),
            run: String::new(),
            answer: Answer {
                scenario: scenario.to_owned(),
                outcome,
                seconds: 1.0,
                detail: String::new(),
                provoked: Vec::new(),
            },
        }
    }

    fn of(rows: Vec<Row>, missing: &[&str]) -> Results {
        let not_tested = |kernel: &&str| NotTested {
            kernel: (*kernel).to_owned(),
            reason: "gone".to_owned(),
        };
        Results {
            rows,
            not_tested: missing.iter().map(not_tested).collect(),
        }
    }

    fn answers(results: &Results) -> Vec<(&str, &str, Outcome)> {
        let of = |row: &'_ Row| row.answer.outcome;
        let rows = results.rows.iter();
        rows.map(|row| (row.variant.as_str(), row.answer.scenario.as_str(), of(row)))
            .collect()
    }

    #[test]
    fn only_what_failed_is_run_again_and_replaced() {
        let mut results = Results {
            rows: vec![
                row("6.1", "fentry", "smoke", Outcome::Passed),
                row("6.1", "fentry", "flood", Outcome::Failed),
                row("6.1", "fentry service", "smoke", Outcome::Passed),
                row("6.1", "fentry service", "flood", Outcome::Passed),
                row("newest", "kprobe", "smoke", Outcome::Passed),
                row("newest", "kprobe", WHOLE_VM, Outcome::Failed),
            ],
            not_tested: Vec::new(),
        };
        // What was kept comes back as it was.
        let text = serde_json::to_string(&results).unwrap();
        let back: Results = serde_json::from_str(&text).unwrap();
        assert_eq!(answers(&back), answers(&results));

        let known = ["smoke", "flood"].map(str::to_owned);
        let failed = open(&results, &known, &[]);
        let runs = runs(&failed).unwrap();
        let choices: Vec<_> = runs
            .iter()
            .map(|run| (run.kernel.name, run.variant(), run.choice.clone()))
            .collect();
        let flood = Choice::Named(vec!["flood".to_owned()]);
        assert_eq!(
            choices,
            [
                ("6.1", "fentry".to_owned(), flood),
                ("newest", "kprobe".to_owned(), Choice::All),
            ]
        );
        let new = vec![
            row("6.1", "fentry", "flood", Outcome::Passed),
            row("newest", "kprobe", "smoke", Outcome::Failed),
        ];
        replace(&mut results, &failed, of(new, &[]));
        assert_eq!(
            answers(&results),
            [
                ("fentry", "smoke", Outcome::Passed),
                ("fentry service", "smoke", Outcome::Passed),
                ("fentry service", "flood", Outcome::Passed),
                ("fentry", "flood", Outcome::Passed),
                ("kprobe", "smoke", Outcome::Failed),
            ]
        );
    }

    #[test]
    fn a_kernel_that_was_not_tested_is_so_until_it_answers() {
        let kernels = |results: &Results| -> Vec<String> {
            let kernels = results.not_tested.iter();
            kernels.map(|missing| missing.kernel.clone()).collect()
        };
        let failed = row("6.1", "fentry", "flood", Outcome::Failed);
        let mut results = of(vec![failed], &["5.10"]);
        let open = open(&results, &[], &[("5.10".to_owned(), "fentry".to_owned())]);
        assert_eq!(open.len(), 2);
        // Neither can be had now: what failed did fail.
        replace(&mut results, &open, of(Vec::new(), &["5.10", "6.1"]));
        assert_eq!(kernels(&results), ["5.10", "6.1"]);
        assert_eq!(answers(&results).len(), 1);
        let new = vec![
            row("5.10", "fentry", "smoke", Outcome::Passed),
            row("6.1", "fentry", "flood", Outcome::Passed),
        ];
        replace(&mut results, &open, of(new, &[]));
        assert!(results.not_tested.is_empty());
        assert_eq!(
            answers(&results),
            [
                ("fentry", "smoke", Outcome::Passed),
                ("fentry", "flood", Outcome::Passed)
            ]
        );
        let renamed = [(("6.1".to_owned(), "fprobe".to_owned()), Vec::new())];
        assert!(runs(&renamed.into()).is_err());
    }

    #[test]
    fn what_is_new_is_run_where_it_has_not_been() {
        let mut results = Results {
            rows: vec![
                row("6.1", "fentry", "smoke", Outcome::Passed),
                row("6.1", "kprobe", "smoke", Outcome::Failed),
                row("6.1", "kprobe", "new", Outcome::Unsupported),
                row("6.1", "kprobe", "gone", Outcome::Failed),
                row("newest", "fentry", "smoke", Outcome::Passed),
                row("newest", "fentry", "new", Outcome::Passed),
            ],
            not_tested: Vec::new(),
        };
        let list = [
            r#"{"about":"sound","scenario":"smoke"}"#,
            r#"{"scenario":"new"}"#,
        ];
        let known = list.map(|line| name_of(line).unwrap().unwrap());
        results.rows.retain(|row| is_known(row, &known));
        let place = |variant: &str| ("6.1".to_owned(), variant.to_owned());
        let of = |variant: &str, name: &str| (place(variant), vec![name.to_owned()]);
        let every = ["fentry", "kprobe", "kprobe perf"].map(place);
        let open: Vec<_> = open(&results, &known, &every).into_iter().collect();
        let never = (place("kprobe perf"), Vec::new());
        assert_eq!(open, [of("fentry", "new"), of("kprobe", "smoke"), never]);
        assert!(name_of("{}").is_err());
        let elsewhere = r#"{"scenario":"x","elsewhere":true}"#;
        assert_eq!(name_of(elsewhere).unwrap(), None);
    }
}
