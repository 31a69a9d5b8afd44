//! docs/findings.md against what is printed: every field of every kind of line is documented, with
//! its type, and every documented one is printed by something here.
//!
//! Constraint: lines come from the code that prints them, out of records as the programs send them.

mod examples;
mod scans;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use tcpwnd_core::findings::SCHEMA;

use crate::output::table::Style;
use examples::printed;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/findings.md");

/// What a unit test of the metrics is compared with.
const METRICS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics.txt");

/// The kinds of lines, in the order of the document.
const KINDS: [&str; 9] = [
    "handshake",
    "window",
    "closed",
    "summary",
    "error",
    "held_back",
    "suspect",
    "scan",
    "check",
];

/// What stands for the names in an object whose names are values: causes, counters.
const ANY: &str = "*";

/// Objects whose fields are named by what they are about.
const NAMED: [&str; 7] = [
    "inputs",
    "paths",
    "causes",
    "counters",
    "reasons",
    "confirmed.outcomes",
    "risk.counters",
];

type Types = BTreeMap<String, BTreeSet<&'static str>>;

fn document() -> String {
    fs::read_to_string(DOCUMENT).unwrap()
}

/// A row of a table: its heading, the fields that it is about, and their type.
struct Row {
    heading: String,
    fields: Vec<String>,
    kind: String,
}

/// The rows below the headings of the document.
fn rows() -> Vec<Row> {
    let mut heading = String::new();
    let mut rows = Vec::new();
    for line in document().lines() {
        if let Some(text) = line.strip_prefix("## ") {
            heading = text.replace('`', "");
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", field, kind, ..] = cells[..]
            && let Some(field) = field.strip_prefix('`')
        {
            rows.push(Row {
                heading: heading.clone(),
                fields: expand(field.trim_end_matches('`')),
                kind: kind.to_owned(),
            });
        }
    }
    rows
}

/// `a.{b,c}.d` is `a.b.d` and `a.c.d`.
fn expand(field: &str) -> Vec<String> {
    let Some((before, rest)) = field.split_once('{') else {
        return vec![field.to_owned()];
    };
    let (choices, after) = rest.split_once('}').unwrap();
    choices
        .split(',')
        .map(|choice| format!("{before}{choice}{after}"))
        .collect()
}

/// Every field of a value and the types it has there.
fn walk(path: &str, value: &Value, types: &mut Types) {
    let mut note = |kind| {
        if !path.is_empty() {
            types.entry(path.to_owned()).or_default().insert(kind);
        }
    };
    match value {
        Value::Null => note("null"),
        Value::Bool(_) => note("boolean"),
        Value::String(_) => note("string"),
        Value::Number(number) if number.is_f64() => note("number"),
        Value::Number(_) => note("integer"),
        Value::Array(items) => {
            note("array");
            for item in items {
                walk(&format!("{path}[]"), item, types);
            }
        }
        Value::Object(fields) => {
            note("object");
            for (name, value) in fields {
                let name = if NAMED.contains(&path) { ANY } else { name };
                let below = if path.is_empty() {
                    name.to_owned()
                } else {
                    format!("{path}.{name}")
                };
                walk(&below, value, types);
            }
        }
    }
}

#[test]
fn every_field_is_documented_with_its_type_and_every_documented_one_is_printed() {
    let mut printed_types: BTreeMap<String, Types> = BTreeMap::new();
    for line in printed().0 {
        assert_eq!(line["schema"], SCHEMA, "{line}");
        let kind = line["kind"].as_str().unwrap().to_owned();
        walk("", &line, printed_types.entry(kind).or_default());
    }
    let kinds: BTreeSet<_> = printed_types.keys().map(String::as_str).collect();
    assert_eq!(kinds, BTreeSet::from(KINDS));

    let rows = rows();
    let mut wrong = Vec::new();
    for (kind, types) in &printed_types {
        let of = |row: &&Row| row.heading == *kind || row.heading == "Every line";
        let mut undocumented: BTreeSet<_> = types.keys().cloned().collect();
        for row in rows.iter().filter(of) {
            for field in &row.fields {
                if !undocumented.remove(field) && row.heading == *kind {
                    wrong.push(format!(
                        "{kind}: {field}: nothing prints it, or it is there twice"
                    ));
                }
            }
            let printed = row.fields.iter().filter_map(|field| types.get(field));
            let found: BTreeSet<_> = printed.flatten().copied().collect();
            if !found.is_empty() && !fits(&row.kind, &found) {
                wrong.push(format!(
                    "{kind}: {:?} is {found:?}, not {}",
                    row.fields, row.kind
                ));
            }
        }
        let undocumented = undocumented.iter();
        wrong.extend(undocumented.map(|field| format!("{kind}: {field} is not documented")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether exactly these types are documented. A number without a fraction looks like an integer.
fn fits(documented: &str, found: &BTreeSet<&'static str>) -> bool {
    let said: BTreeSet<&str> = documented.split(" or ").collect();
    let name = |kind: &&'static str| match *kind {
        "integer" if said.contains("number") => "number",
        kind => kind,
    };
    said == found.iter().map(name).collect()
}

#[test]
fn columns_log_keys_and_metrics_are_mapped_to_fields() {
    let rows = rows();
    let fields = |heading: &str| -> BTreeSet<String> {
        let of = rows.iter().filter(|row| row.heading == heading);
        of.flat_map(|row| row.fields.clone()).collect()
    };
    let style = Style {
        wide: false,
        colour: false,
        roles: true,
    };
    let columns: BTreeSet<_> = style
        .header()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(fields("The table of trace"), columns);

    let log = printed().1;
    let keys = log.lines().flat_map(|line| {
        let words = line.split(' ').filter_map(|word| word.split_once('='));
        words.map(|(key, _)| key.to_owned())
    });
    assert_eq!(fields("The log of run"), keys.collect());

    let metrics = fs::read_to_string(METRICS).unwrap();
    let families = metrics.lines().filter_map(|line| {
        let family = line.strip_prefix("# TYPE ")?;
        family.split_once(' ').map(|(name, _)| name.to_owned())
    });
    assert_eq!(fields("Metrics"), families.collect());
}
