//! The table of causes: everything that was done on purpose, on every kernel, and what was
//! reported of it.
//!
//! Constraint: a cell has what was reported, or says that nothing was and why; none is empty.

use std::fmt::Write;

use super::provoked::Provoked;
use super::results::{Outcome, Results, Row, Tally};
use crate::kernels::{Kernel, TABLE};

/// The table, and whether what it shows is as it must be.
pub struct CausesTable {
    /// Markdown.
    pub text: String,
    /// Cells that are, that are not, and that have nothing.
    pub cells: Tally,
    /// Documented causes that nothing brought about, or that nothing looked like, in words.
    pub gaps: Vec<String>,
}

impl CausesTable {
    /// Makes the table of what was answered. `documented` causes come first, in this order.
    pub fn of(results: &Results, documented: &[String]) -> Self {
        let mut table = Table {
            results,
            rows: rows(results),
            cells: Tally::default(),
            notes: Vec::new(),
        };
        // Causes in the document's order, then the others in the laboratory's.
        let mut causes = documented.to_vec();
        for row in &table.rows {
            if !causes.contains(&row.cause) {
                causes.push(row.cause.clone());
            }
        }
        let mut text = String::new();
        for near_miss in [false, true] {
            text.push_str(&table.part(near_miss, &causes));
        }
        let gaps = table.gaps(documented);
        text.push_str(&table.legend(&gaps));
        Self {
            text,
            cells: table.cells,
            gaps,
        }
    }
}

/// What tells rows apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    scenario: String,
    cause: String,
    near_miss: bool,
    done: String,
}

impl Key {
    fn of(scenario: &str, provoked: &Provoked) -> Self {
        Self {
            scenario: scenario.to_owned(),
            cause: provoked.cause.clone(),
            near_miss: provoked.near_miss,
            done: provoked.done.clone(),
        }
    }
}

/// Everything that was done, in the order of the laboratory.
fn rows(results: &Results) -> Vec<Key> {
    let mut answers: Vec<_> = results.rows.iter().collect();
    let place = |row: &&Row| TABLE.iter().position(|kernel| kernel.name == row.kernel);
    // The same whichever boot ended first. The newest kernel can do the most.
    answers.sort_by_key(|row| (std::cmp::Reverse(place(row)), row.variant.clone()));
    let mut rows = Vec::new();
    for row in answers {
        for provoked in &row.answer.provoked {
            let key = Key::of(&row.answer.scenario, provoked);
            if !rows.contains(&key) {
                rows.push(key);
            }
        }
    }
    rows
}

struct Table<'a> {
    results: &'a Results,
    rows: Vec<Key>,
    cells: Tally,
    notes: Vec<String>,
}

impl Table<'_> {
    /// What brought causes about, or the near misses.
    fn part(&mut self, near_miss: bool, causes: &[String]) -> String {
        let title = if near_miss {
            "What only looks like it (near misses)"
        } else {
            "What brings it about"
        };
        let mut text = format!("| cause | {title} |");
        for kernel in TABLE {
            let _ = write!(text, " {} |", kernel.name);
        }
        let _ = writeln!(text, "\n|{}", "---|".repeat(TABLE.len() + 2));
        for cause in causes {
            let of_cause = |row: &&Key| row.cause == *cause && row.near_miss == near_miss;
            let rows: Vec<_> = self.rows.iter().filter(of_cause).cloned().collect();
            for row in rows {
                let _ = write!(text, "| `{cause}` | {} |", row.done);
                for kernel in TABLE {
                    let _ = write!(text, " {} |", self.cell(&row, kernel));
                }
                text.push('\n');
            }
        }
        text.push('\n');
        text
    }

    /// One value if all ways to attach agree, else each.
    fn cell(&mut self, key: &Key, kernel: &Kernel) -> String {
        let results = self.results;
        let mut answers = results.rows.iter().filter(|row| row.kernel == kernel.name);
        let mut values: Vec<(String, Vec<&str>)> = Vec::new();
        for row in answers
            .by_ref()
            .filter(|row| row.answer.scenario == key.scenario)
        {
            let value = self.value(key, row);
            match values.iter_mut().find(|(known, _)| *known == value) {
                Some((_, variants)) => variants.push(&row.variant),
                None => values.push((value, vec![&row.variant])),
            }
        }
        match &mut values[..] {
            [] => {
                self.cells.skipped += 1;
                self.not_run(kernel)
            }
            [(only, _)] => std::mem::take(only),
            several => {
                let each = several
                    .iter()
                    .map(|(value, variants)| format!("{}: {value}", variants.join(", ")));
                each.collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// What one boot's answer has in this row.
    fn value(&mut self, key: &Key, row: &Row) -> String {
        let answer = &row.answer;
        let mut provoked = answer.provoked.iter();
        let Some(provoked) = provoked.find(|one| Key::of(&answer.scenario, one) == *key) else {
            return match answer.outcome {
                Outcome::Unsupported => {
                    self.cells.skipped += 1;
                    format!("n/a{}", self.note(&answer.detail))
                }
                Outcome::Passed => {
                    self.cells.skipped += 1;
                    "not run".to_owned()
                }
                Outcome::Failed => {
                    self.cells.failed += 1;
                    "FAILED before".to_owned()
                }
            };
        };
        self.cells.count(provoked.is_right());
        if !provoked.is_right() {
            return format!("WRONG: {}", provoked.said());
        }
        let note = provoked.because.as_ref().map(|because| self.note(because));
        provoked.said() + &note.unwrap_or_default()
    }

    fn not_run(&mut self, kernel: &Kernel) -> String {
        let mut missing = self.results.not_tested.iter();
        let reason = missing.find(|missing| missing.kernel == kernel.name);
        let note = reason.map(|missing| self.note(&missing.reason));
        format!("not run{}", note.unwrap_or_default())
    }

    /// The mark of a note, which stands below the tables once.
    fn note(&mut self, text: &str) -> String {
        let known = self.notes.iter().position(|note| note == text);
        let number = known.unwrap_or_else(|| {
            self.notes.push(text.to_owned());
            self.notes.len() - 1
        });
        format!(" ({})", number + 1)
    }

    /// Documented causes that no row names, or that have no near miss.
    fn gaps(&self, documented: &[String]) -> Vec<String> {
        let answers = || {
            self.results
                .rows
                .iter()
                .flat_map(|row| &row.answer.provoked)
        };
        let named = |cause: &String| {
            answers().any(|one| {
                let mut reported = one.reported.iter();
                !one.near_miss
                    && one.cause == *cause
                    && reported.any(|answer| answer.verdict.cause.as_ref() == Some(cause))
            })
        };
        let mut gaps = Vec::new();
        for cause in documented {
            if !named(cause) {
                gaps.push(format!("`{cause}`: nothing that was run brought it about"));
            }
            if !answers().any(|one| one.near_miss && one.cause == *cause) {
                gaps.push(format!(
                    "`{cause}`: nothing that was run only looked like it"
                ));
            }
        }
        gaps
    }

    /// Notes, gaps and versions.
    fn legend(&self, gaps: &[String]) -> String {
        let mut text = String::new();
        for (number, note) in self.notes.iter().enumerate() {
            let _ = writeln!(text, "- ({}) {note}", number + 1);
        }
        for gap in gaps {
            let _ = writeln!(text, "- {gap}");
        }
        for (kernel, version) in self.results.versions() {
            let _ = writeln!(text, "- {kernel}: {version}");
        }
        text
    }
}

#[cfg(test)]
mod tests;
