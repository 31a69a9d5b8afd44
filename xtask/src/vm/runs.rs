//! When answers were given, and at which commit: a matrix takes hours, so that its parts are run at
//! different times.

use std::collections::BTreeMap;

use super::results::{Row, place_name};

/// So many scenarios of a column are named; of more, how many they are.
const NAMED: usize = 5;

/// A line for each run, and which answers are of it, the earliest first.
pub fn lines(rows: &[Row]) -> Vec<String> {
    let mut of_runs: BTreeMap<&str, BTreeMap<String, Vec<&str>>> = BTreeMap::new();
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows {
        let place = place_name(&row.kernel, &row.variant);
        *sizes.entry(place.clone()).or_default() += 1;
        let columns = of_runs.entry(&row.run).or_default();
        columns.entry(place).or_default().push(&row.answer.scenario);
    }
    let only_one = of_runs.len() == 1;
    let line = |(run, columns): (&str, BTreeMap<String, Vec<&str>>)| {
        if only_one {
            return format!("run {run}: all of it");
        }
        let columns: Vec<_> = columns
            .iter()
            .map(|(place, scenarios)| part(place, scenarios, sizes[place]))
            .collect();
        format!("run {run}: {}", columns.join(", "))
    };
    of_runs.into_iter().map(line).collect()
}

/// A column, or what is of one run there.
fn part(place: &str, scenarios: &[&str], of: usize) -> String {
    if scenarios.len() == of {
        place.to_owned()
    } else if scenarios.len() <= NAMED {
        format!("{place} ({})", scenarios.join(", "))
    } else {
        format!("{place} ({} of {of})", scenarios.len())
    }
}

#[cfg(test)]
mod tests {
    use super::lines;
    use crate::vm::results::{Answer, Outcome, Row};

    fn row(variant: &str, scenario: &str, run: &str) -> Row {
        Row {
            kernel: "6.1".to_owned(),
            version: "1".to_owned(),
            variant: variant.to_owned(),
            run: run.to_owned(),
            answer: Answer {
                scenario: scenario.to_owned(),
                outcome: Outcome::Passed,
                seconds: 1.0,
                detail: String::new(),
                provoked: Vec::new(),
            },
        }
    }

    #[test]
    fn each_run_is_named_with_what_is_of_it() {
        let mut rows = vec![
            row("kprobe", "a", "2"),
            row("fentry", "a", "1"),
            row("fentry", "b", "1"),
        ];
        assert_eq!(lines(&rows[1..]), ["run 1: all of it"]);
        assert_eq!(lines(&rows), ["run 1: 6.1 fentry", "run 2: 6.1 kprobe"]);
        rows[1].run = "2".to_owned();
        assert_eq!(
            lines(&rows),
            ["run 1: 6.1 fentry (b)", "run 2: 6.1 fentry (a), 6.1 kprobe"]
        );
        let many = (0..6).map(|number| row("fentry", &number.to_string(), "3"));
        rows.extend(many);
        assert_eq!(lines(&rows)[2], "run 3: 6.1 fentry (6 of 8)");
        assert!(lines(&[]).is_empty());
    }
}
