use super::CausesTable;
use crate::kernels::TABLE;
use crate::vm::provoked::{Provoked, Reported, Verdict};
use crate::vm::results::{Answer, NotTested, Outcome, Results, Row, Tally};

fn verdict(cause: Option<&str>) -> Verdict {
    let verdict = if cause.is_some() { "mismatch" } else { "ok" };
    Verdict {
        verdict: verdict.to_owned(),
        cause: cause.map(str::to_owned),
    }
}

/// One connection from 9 to 13, of which `reported` was said.
fn provoked(cause: &str, expected: Option<&str>, reported: Option<&str>) -> Provoked {
    Provoked {
        cause: cause.to_owned(),
        near_miss: false,
        done: format!("{cause} done"),
        expected: verdict(expected),
        reported: vec![Reported {
            verdict: verdict(reported),
            advertised: Some(9),
            used: Some(13),
            count: 1,
        }],
        of: 1,
        because: None,
    }
}

fn row(kernel: &str, variant: &str, outcome: Outcome, provoked: Vec<Provoked>) -> Row {
    Row {
        kernel: kernel.to_owned(),
        version: "1".to_owned(),
        variant: variant.to_owned(),
        run: String::new(),
        answer: Answer {
            scenario: "causes".to_owned(),
            outcome,
            seconds: 1.0,
            detail: "no such thing".to_owned(),
            provoked,
        },
    }
}

fn table(rows: Vec<Row>) -> CausesTable {
    let results = Results {
        rows,
        not_tested: vec![NotTested {
            kernel: "5.10".to_owned(),
            reason: "gone".to_owned(),
        }],
    };
    CausesTable::of(&results, &["a".to_owned(), "b".to_owned()])
}

/// The cells of the first line that has this text, from the first kernel on.
fn cells(table: &CausesTable, text: &str) -> Vec<String> {
    let line = table.text.lines().find(|line| line.contains(text));
    let line = line.unwrap_or_else(|| panic!("no {text} in\n{}", table.text));
    let cells = line.trim_matches('|').split('|').skip(2);
    cells.map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn every_kernel_has_a_cell_and_none_is_empty() {
    let table = table(vec![
        row(
            "newest",
            "fentry",
            Outcome::Passed,
            vec![provoked("a", Some("a"), Some("a"))],
        ),
        row("6.1", "fentry", Outcome::Unsupported, vec![]),
        row("6.12", "fentry", Outcome::Failed, vec![]),
    ]);
    assert_eq!(cells(&table, "a done").len(), TABLE.len());
    assert_eq!(
        cells(&table, "a done"),
        [
            "not run",
            "not run (1)",
            "n/a (2)",
            "FAILED before",
            "not run",
            "mismatch: a, 9 → 13"
        ]
    );
    assert!(
        table.text.contains("- (1) gone\n- (2) no such thing\n"),
        "{}",
        table.text
    );
    let tally = Tally {
        passed: 1,
        failed: 1,
        skipped: 4,
    };
    assert_eq!(table.cells, tally);
}

#[test]
fn what_was_reported_is_shown_whatever_was_expected() {
    let wrong = provoked("a", Some("a"), Some("b"));
    let mut missing = provoked("b", None, None);
    missing.of = 2;
    let mut silent = provoked("c", None, None);
    silent.reported.clear();
    let all = vec![wrong, missing, silent];
    let table = table(vec![row("newest", "fentry", Outcome::Failed, all)]);
    assert_eq!(cells(&table, "a done")[5], "WRONG: mismatch: b, 9 → 13");
    assert_eq!(cells(&table, "b done")[5], "WRONG: 1 of 2: ok, 9 → 13");
    assert_eq!(cells(&table, "c done")[5], "WRONG: nothing of 1");
    assert_eq!(table.cells.failed, 3);
}

#[test]
fn ways_to_attach_are_shown_apart_where_they_differ() {
    let one = |reported| vec![provoked("a", Some("a"), Some(reported))];
    let table = table(vec![
        row("newest", "kprobe", Outcome::Failed, one("b")),
        row("newest", "fentry", Outcome::Passed, one("a")),
        row("newest", "fentry service", Outcome::Passed, one("a")),
    ]);
    assert_eq!(
        cells(&table, "a done")[5],
        "kprobe: WRONG: mismatch: b, 9 → 13; fentry, fentry service: mismatch: a, 9 → 13"
    );
}

#[test]
fn a_reason_is_given_once_and_only_for_what_was_reported() {
    let unknown = |cause, reported| Provoked {
        because: Some("either leads there".to_owned()),
        ..provoked(cause, Some("unknown"), reported)
    };
    let all = vec![
        unknown("a", Some("unknown")),
        unknown("b", Some("unknown")),
        unknown("c", None),
    ];
    let table = table(vec![row("newest", "fentry", Outcome::Failed, all)]);
    assert_eq!(cells(&table, "a done")[5], "mismatch: unknown, 9 → 13 (2)");
    assert_eq!(cells(&table, "b done")[5], "mismatch: unknown, 9 → 13 (2)");
    assert_eq!(cells(&table, "c done")[5], "WRONG: ok, 9 → 13");
    assert_eq!(table.text.matches("either leads there").count(), 1);
}

#[test]
fn near_misses_stand_apart_and_gaps_are_named() {
    let mut near = provoked("a", None, None);
    near.near_miss = true;
    near.done = "nearly".to_owned();
    let all = vec![
        near,
        provoked("c", Some("c"), Some("c")),
        provoked("a", Some("a"), Some("a")),
    ];
    let table = table(vec![row("newest", "fentry", Outcome::Passed, all)]);
    let place = |text| table.text.find(text).unwrap();
    assert!(place("a done") < place("c done") && place("c done") < place("nearly"));
    assert_eq!(
        table.gaps,
        [
            "`b`: nothing that was run brought it about",
            "`b`: nothing that was run only looked like it"
        ]
    );
}

/// What does not scale has no shift counts, and what has no verdict does not mention them.
#[test]
fn shift_counts_or_none() {
    let mut answer = provoked("a", Some("a"), Some("a"));
    answer.reported[0].used = None;
    assert_eq!(answer.said(), "mismatch: a, 9 → none");
    answer.reported[0].verdict.verdict = "unverified".to_owned();
    assert_eq!(answer.said(), "unverified: a");
    answer.of = 300;
    answer.reported[0].count = 300;
    assert_eq!(answer.said(), "300 of 300: unverified: a");
}
