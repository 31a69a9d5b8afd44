//! Playing scenarios one after the other, and telling how each ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use serde::Serialize;

use super::provoked::Row;
use super::{ALL, Bench, Scenario, Unsupported};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How a scenario ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Passed,
    Failed,
    Unsupported,
}

#[derive(Debug, Serialize)]
struct Verdict<'a> {
    scenario: &'a str,
    mechanism: &'a str,
    outcome: Outcome,
    seconds: f64,
    detail: String,
    /// What was done on purpose, and what was reported of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    provoked: Vec<Row>,
}

/// Plays the scenarios with these names in the table's order, and returns whether none failed.
///
/// # Errors
/// When a name is not in the table.
pub fn run(names: &[String], bench: &Bench, format: Format) -> Result<bool> {
    if let Some(unknown) = names
        .iter()
        .find(|name| !ALL.iter().any(|known| known.name == **name))
    {
        bail!("there is no scenario {unknown}");
    }
    let mut none_failed = true;
    for scenario in ALL
        .iter()
        .filter(|known| names.iter().any(|name| name == known.name))
    {
        let verdict = play(scenario, bench);
        none_failed &= verdict.outcome != Outcome::Failed;
        match format {
            Format::Json => println!("{}", serde_json::to_string(&verdict)?),
            Format::Text => println!(
                "{:<24} {:<8} {:?} in {:.1} s: {}",
                verdict.scenario,
                verdict.mechanism,
                verdict.outcome,
                verdict.seconds,
                verdict.detail
            ),
        }
    }
    Ok(none_failed)
}

fn play<'a>(scenario: &'a Scenario, bench: &'a Bench) -> Verdict<'a> {
    let start = Instant::now();
    // A failed scenario must not keep the others from being played; what it made is gone.
    let played = catch_unwind(AssertUnwindSafe(|| (scenario.play)(bench)))
        .unwrap_or_else(|_| Err(anyhow!("panicked; the message is on standard error")));
    let provoked = bench.rows.take();
    let (outcome, detail) = match played {
        // Else the table would lack them where only such scenarios are played.
        Ok(_) if provoked.is_empty() == scenario.causes => (
            Outcome::Failed,
            format!("{} rows for the table of causes", provoked.len()),
        ),
        Ok(detail) => (Outcome::Passed, detail),
        Err(error) if error.is::<Unsupported>() => (Outcome::Unsupported, error.to_string()),
        Err(error) => (Outcome::Failed, format!("{error:#}")),
    };
    Verdict {
        scenario: scenario.name,
        mechanism: bench.launch.mechanism.name(),
        outcome,
        seconds: (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
        detail,
        provoked,
    }
}
