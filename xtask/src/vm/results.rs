//! What scenarios answered, on which kernel, and how that is shown.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use super::provoked::Provoked;
use super::runs;
use crate::kernels::{self, Kernel};
use crate::setup::Missing;

/// What stands for the whole VM where nothing that ran in it can be blamed.
pub const WHOLE_VM: &str = "(the VM)";

/// How a scenario ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It held.
    Passed,
    /// It did not.
    Failed,
    /// The kernel lacks what the scenario is about; `detail` says what.
    Unsupported,
}

/// One line of `tcpwnd-lab scenario run --json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The scenario's name.
    pub scenario: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// What failed or is lacking; empty when it passed.
    #[serde(default)]
    pub detail: String,
    /// What was done on purpose, and what was reported of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provoked: Vec<Provoked>,
}

/// An answer, and where it was given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// The kernel's name in the table.
    pub kernel: String,
    /// Its release and package version.
    pub version: String,
    /// How the programs were attached, and with which capabilities if not with all; empty where
    /// that is not told apart.
    pub variant: String,
    /// When, and at which commit.
    pub run: String,
    /// The scenario's own answer.
    #[serde(flatten)]
    pub answer: Answer,
}

/// A boot, by its kernel and its variant.
pub type Place = (String, String);

impl Row {
    /// Where the answer was given.
    pub fn place(&self) -> Place {
        (self.kernel.clone(), self.variant.clone())
    }

    /// The answers of one boot; `run` says when it was, and at which commit.
    pub fn of(
        kernel: &'static Kernel,
        variant: &str,
        run: &str,
        answers: Vec<Answer>,
    ) -> Vec<Self> {
        let image = kernel.cached().ok().flatten();
        let version = image.map_or_else(String::new, |image| image.version);
        answers
            .into_iter()
            .map(|answer| Self {
                kernel: kernel.name.to_owned(),
                version: version.clone(),
                variant: variant.to_owned(),
                run: run.to_owned(),
                answer,
            })
            .collect()
    }
}

/// A kernel that no scenario ran on, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotTested {
    /// The kernel's name in the table.
    pub kernel: String,
    /// One line.
    pub reason: String,
}

impl From<&Missing> for NotTested {
    fn from(missing: &Missing) -> Self {
        Self {
            kernel: missing.kernel.name.to_owned(),
            reason: missing.reason.clone(),
        }
    }
}

/// All answers of a test run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// In the order in which they came.
    pub rows: Vec<Row>,
    /// Kernels without a row.
    pub not_tested: Vec<NotTested>,
}

/// How many passed, failed, and were skipped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Held.
    pub passed: usize,
    /// Did not hold.
    pub failed: usize,
    /// Not run: unsupported there, or a kernel that was not tested.
    pub skipped: usize,
}

impl Tally {
    /// Counts one check that held or did not.
    pub fn count(&mut self, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Adds another tally.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Whether something held and nothing did not.
    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

impl Results {
    /// The tally over all rows and kernels that were not tested.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally {
            skipped: self.not_tested.len(),
            ..Tally::default()
        };
        for row in &self.rows {
            match row.answer.outcome {
                Outcome::Passed => tally.passed += 1,
                Outcome::Failed => tally.failed += 1,
                Outcome::Unsupported => tally.skipped += 1,
            }
        }
        tally
    }

    /// Scenarios, or `what` else gave answers, down, kernels and variants across, as Markdown,
    /// which reads well on a terminal too; below it what failed or is not supported, and the
    /// kernels' versions.
    pub fn matrix(&self, what: &str) -> String {
        let mut text = String::new();
        let columns = self.columns();
        let headings: Vec<String> = columns
            .iter()
            .map(|(kernel, variant)| place_name(kernel, variant))
            .collect();
        let mut seen = BTreeSet::new();
        let scenarios: Vec<&str> = self
            .rows
            .iter()
            .map(|row| row.answer.scenario.as_str())
            .filter(|scenario| seen.insert(*scenario))
            .collect();
        let first = scenarios
            .iter()
            .map(|name| name.len())
            .max()
            .unwrap_or(0)
            .max(what.len());
        let _ = write!(text, "| {what:<first$} |");
        for heading in &headings {
            let _ = write!(text, " {heading} |");
        }
        let _ = write!(text, "\n|{}|", "-".repeat(first + 2));
        for heading in &headings {
            let _ = write!(text, "{}|", "-".repeat(heading.len() + 2));
        }
        for scenario in &scenarios {
            let _ = write!(text, "\n| {scenario:<first$} |");
            for (column, heading) in columns.iter().zip(&headings) {
                let _ = write!(
                    text,
                    " {:<width$} |",
                    self.cell(scenario, *column),
                    width = heading.len()
                );
            }
        }
        text.push('\n');
        text.push_str(&self.notes());
        text
    }

    fn columns(&self) -> Vec<(&str, &str)> {
        let mut columns: Vec<_> = self
            .rows
            .iter()
            .map(|row| (row.kernel.as_str(), row.variant.as_str()))
            .collect();
        columns.sort_by_key(|(kernel, variant)| (kernels::place(kernel), *variant));
        columns.dedup();
        columns
    }

    fn cell(&self, scenario: &str, column: (&str, &str)) -> &'static str {
        let mut answers = self.rows.iter().filter(|row| {
            row.answer.scenario == scenario && (row.kernel.as_str(), row.variant.as_str()) == column
        });
        match answers.next().map(|row| row.answer.outcome) {
            Some(Outcome::Passed) => "passed",
            Some(Outcome::Failed) => "FAILED",
            Some(Outcome::Unsupported) => "n/a",
            None => "",
        }
    }

    /// Each kernel that was run, and its version.
    pub fn versions(&self) -> Vec<(&str, &str)> {
        let mut versions: Vec<_> = self
            .rows
            .iter()
            .map(|row| (row.kernel.as_str(), row.version.as_str()))
            .collect();
        versions.sort_by_key(|(kernel, _)| kernels::place(kernel));
        versions.dedup();
        versions
    }

    fn notes(&self) -> String {
        let mut text = String::new();
        for (kernel, version) in self.versions() {
            let _ = write!(text, "\n- {kernel}: {version}");
        }
        for missing in &self.not_tested {
            let _ = write!(
                text,
                "\n- {}: not tested: {}",
                missing.kernel, missing.reason
            );
        }
        for row in self
            .rows
            .iter()
            .filter(|row| row.answer.outcome != Outcome::Passed)
        {
            let word = match row.answer.outcome {
                Outcome::Failed => "FAILED",
                _ => "n/a",
            };
            let Row {
                kernel,
                variant,
                answer,
                ..
            } = row;
            let detail = shortened(&answer.detail);
            let _ = write!(
                text,
                "\n- {}, {}: {word}: {detail}",
                place_name(kernel, variant),
                answer.scenario
            );
        }
        for line in runs::lines(&self.rows) {
            let _ = write!(text, "\n- {line}");
        }
        text.push('\n');
        text
    }
}

/// A column's name.
pub(super) fn place_name(kernel: &str, variant: &str) -> String {
    format!("{kernel} {variant}").trim_end().to_owned()
}

/// One line of bounded length; the JSON file has all of it.
fn shortened(detail: &str) -> String {
    let line = detail.trim().replace('\n', " / ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, NotTested, Outcome, Results, Row, Tally};

    fn row(kernel: &str, scenario: &str, outcome: Outcome) -> Row {
        Row {
            kernel: kernel.to_owned(),
            version: "1".to_owned(),
            variant: "fentry".to_owned(),
            run: "today".to_owned(),
            answer: Answer {
                scenario: scenario.to_owned(),
                outcome,
                seconds: 1.0,
                detail: "why".to_owned(),
                provoked: Vec::new(),
            },
        }
    }

    #[test]
    fn the_matrix_has_every_answer_and_names_kernels_that_were_not_tested() {
        let results = Results {
            rows: vec![
                row("newest", "smoke", Outcome::Failed),
                row("6.1", "smoke", Outcome::Passed),
                row("6.1", "cookies", Outcome::Unsupported),
            ],
            not_tested: vec![NotTested {
                kernel: "5.10".to_owned(),
                reason: "gone".to_owned(),
            }],
        };
        let tally = Tally {
            passed: 1,
            failed: 1,
            skipped: 2,
        };
        assert_eq!(results.tally(), tally);
        assert_eq!(tally.to_string(), "1 passed, 1 failed, 2 skipped");
        let matrix = results.matrix("scenario");
        assert!(
            matrix.starts_with("| scenario | 6.1 fentry | newest fentry |"),
            "{matrix}"
        );
        assert!(
            matrix.contains("| smoke    | passed     | FAILED        |"),
            "{matrix}"
        );
        assert!(matrix.contains("- 5.10: not tested: gone"), "{matrix}");
        assert!(
            matrix.contains("- newest fentry, smoke: FAILED: why"),
            "{matrix}"
        );
        assert!(matrix.ends_with("\n- run today: all of it\n"), "{matrix}");
    }

    #[test]
    fn nothing_at_all_is_not_good() {
        assert!(!Tally::default().is_good());
    }

    #[test]
    fn the_laboratorys_lines() {
        let line = r#"{"scenario":"smoke","mechanism":"fentry","outcome":"unsupported","seconds":0.1,"detail":"x"}"#;
        let answer: Answer = serde_json::from_str(line).unwrap();
        assert_eq!(answer.outcome, Outcome::Unsupported);
    }
}
