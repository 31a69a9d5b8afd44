//! What a dashboard must have for whoever imports it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{OF_NODE, dashboard, panels, targets};
use crate::deploy::metrics::{golden, named_in, of_agent};

const DATA_SOURCE: &str = "${datasource}";

/// What a query is narrowed down by.
const CHOSEN: &str = r#"{job=~"$job", instance=~"$instance""#;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Every query with its panel's title.
fn queries(dashboard: &Value) -> Vec<(&str, &str)> {
    panels(dashboard)
        .flat_map(|panel| targets(panel).map(|target| (text(panel, "title"), text(target, "expr"))))
        .collect()
}

#[test]
fn can_be_imported_again_and_again() {
    let dashboard = dashboard().unwrap();
    assert_eq!(text(&dashboard, "uid"), "tcpwnd");
    assert!(!text(&dashboard, "title").is_empty());
    assert!(!text(&dashboard, "description").is_empty());
    assert!(dashboard["schemaVersion"].is_u64());
    // That is the number in the database that it was exported from.
    assert!(dashboard["id"].is_null());
}

#[test]
fn variables_choose_data_source_job_and_instance() {
    let dashboard = dashboard().unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables
        .iter()
        .map(|variable| text(variable, "name"))
        .collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    assert_eq!(text(&variables[0], "type"), "datasource");
    assert_eq!(text(&variables[0], "query"), "prometheus");
    for variable in &variables[1..] {
        let query = text(&variable["query"], "query");
        let label = text(variable, "name");
        assert!(
            query.starts_with("label_values(tcpwnd_build_info"),
            "{query}"
        );
        assert!(query.ends_with(&format!(", {label})")), "{query}");
        assert_eq!(variable["datasource"]["uid"], DATA_SOURCE);
        assert_eq!(variable["multi"], true, "{label}");
        assert_eq!(variable["includeAll"], true, "{label}");
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    let dashboard = dashboard().unwrap();
    let (mut titles, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        assert!(!title.is_empty() && titles.insert(title), "title {title:?}");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: id");
        assert!(
            text(panel, "description").ends_with('.'),
            "{title}: description"
        );
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(!text(defaults, "unit").is_empty(), "{title}: unit");
        assert_eq!(panel["datasource"]["uid"], DATA_SOURCE, "{title}");
        let mut references = BTreeSet::new();
        for target in targets(panel) {
            assert_eq!(target["datasource"]["uid"], DATA_SOURCE, "{title}");
            assert!(references.insert(text(target, "refId")), "{title}: refId");
            assert!(!text(target, "legendFormat").is_empty(), "{title}: legend");
        }
        assert!(!references.is_empty(), "{title} has no query");
    }
    assert!(!titles.is_empty());
}

#[test]
fn every_query_is_narrowed_down_and_has_grafanas_interval() {
    let dashboard = dashboard().unwrap();
    for (title, query) in queries(&dashboard) {
        let metrics = named_in(query);
        assert!(!metrics.is_empty(), "{title}: {query}");
        for metric in &metrics {
            for (at, _) in query.match_indices(metric.as_str()) {
                let rest = &query[at + metric.len()..];
                let longer = rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
                assert!(
                    longer || rest.starts_with(CHOSEN),
                    "{title}: {metric}{rest}"
                );
            }
        }
        let unquoted: String = query.split('"').step_by(2).collect();
        let ranges = unquoted.matches('[').count();
        assert_eq!(
            ranges,
            unquoted.matches("[$__rate_interval]").count(),
            "{title}: {query}"
        );
    }
}

#[test]
fn every_metric_exists() {
    let dashboard = dashboard().unwrap();
    let known = of_agent();
    for (title, query) in queries(&dashboard) {
        let unknown: Vec<_> = named_in(query).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{title}: {unknown:?}");
    }
    let asked: BTreeSet<_> = queries(&dashboard)
        .iter()
        .flat_map(|(_, query)| query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|word| word.starts_with("node_"))
        .collect();
    assert_eq!(asked, OF_NODE.into());
}

/// What stands between `before` and `after`, each time, as single words.
fn between<'a>(text: &'a str, before: &str, after: &str) -> BTreeSet<&'a str> {
    text.split(before)
        .skip(1)
        .filter_map(|rest| rest.split_once(after))
        .flat_map(|(words, _)| words.split(", "))
        .collect()
}

#[test]
fn every_label_exists_and_legends_have_theirs() {
    let dashboard = dashboard().unwrap();
    let golden = golden().unwrap();
    for target in panels(&dashboard).flat_map(targets) {
        let query = text(target, "expr");
        let kept = between(query, " by (", ")");
        for label in kept.iter().chain(&between(query, " on (", ")")) {
            let exported = golden.contains(&format!("{label}=\""));
            let made_here = query.contains(&format!(", \"{label}\", "));
            assert!(
                exported || made_here || *label == "instance",
                "{label}: {query}"
            );
        }
        let legend = between(text(target, "legendFormat"), "{{", "}}");
        assert_eq!(legend, kept, "{query}");
    }
}

#[test]
fn panels_do_not_cover_each_other() {
    let dashboard = dashboard().unwrap();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let side = |key| panel["gridPos"][key].as_u64().unwrap();
        let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(
                taken.insert(cell),
                "{} covers another panel",
                panel["title"]
            );
        }
    }
}
