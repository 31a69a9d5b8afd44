//! The shipped dashboard, asked of the Prometheus that has seen the storm.
//!
//! Constraint: the queries are those under deploy/, word for word, with Grafana's variables filled in
//! as Grafana does it; every one of them must have come to something.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::prometheus::{JOB, Prometheus, SCRAPE, Series, Span};

const DASHBOARD: &str = include_str!("../../../deploy/grafana/tcpwnd.json");

/// What is known of the storm without asking the dashboard: open damaged connections.
const OPEN: &str = "Mismatched connections";

#[derive(Debug, Deserialize)]
struct Dashboard {
    panels: Vec<Panel>,
    templating: Templating,
}

#[derive(Debug, Deserialize)]
struct Templating {
    list: Vec<Variable>,
}

#[derive(Debug, Deserialize)]
struct Variable {
    name: String,
    /// With a query of its own, `label_values(SELECTOR, LABEL)`; or the kind of data source.
    query: Value,
}

#[derive(Debug, Deserialize)]
struct Panel {
    title: String,
    #[serde(default)]
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    ref_id: String,
    expr: String,
    legend_format: String,
}

/// What a panel shows, as `xtask` draws it.
#[derive(Debug, Serialize)]
pub struct Shown {
    title: String,
    lines: Vec<Line>,
}

/// One line of it.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    /// Seconds since the story began, and the value.
    points: Vec<(f64, f64)>,
}

/// Asks all of it.
///
/// # Errors
/// When a query is wrong or came to nothing, or when the dashboard did not show the `damaged`
/// connections, or shows them still.
pub fn ask(prometheus: &Prometheus, span: Span, damaged: usize) -> Result<Vec<Shown>> {
    let dashboard: Dashboard =
        serde_json::from_str(DASHBOARD).context("the dashboard is not what it should be")?;
    for variable in dashboard.templating.list {
        choices(prometheus, &variable).with_context(|| format!("variable {}", variable.name))?;
    }
    let with_queries = dashboard.panels.into_iter();
    let shown: Vec<_> = with_queries
        .filter(|panel| !panel.targets.is_empty())
        .map(|panel| show(prometheus, span, panel))
        .collect::<Result<_>>()?;
    let open = shown.iter().find(|panel| panel.title == OPEN);
    let open = open.with_context(|| format!("no panel \"{OPEN}\""))?;
    check_open(open, damaged)?;
    Ok(shown)
}

/// A variable has values to choose from.
fn choices(prometheus: &Prometheus, variable: &Variable) -> Result<()> {
    let Some(query) = variable.query["query"].as_str() else {
        return Ok(());
    };
    let inside = query.strip_prefix("label_values(");
    let inside = inside.and_then(|rest| rest.strip_suffix(')'));
    let (selector, label) = inside
        .and_then(|inside| inside.rsplit_once(", "))
        .with_context(|| format!("no such query is known: {query}"))?;
    let values = prometheus.values_of(label, &filled(selector))?;
    ensure!(!values.is_empty(), "there is nothing to choose");
    Ok(())
}

fn show(prometheus: &Prometheus, span: Span, panel: Panel) -> Result<Shown> {
    let mut lines = Vec::new();
    for target in &panel.targets {
        let what = || format!("panel \"{}\" {}", panel.title, target.ref_id);
        let series = prometheus
            .over_time(&filled(&target.expr), span)
            .with_context(what)?;
        let series: Vec<_> = series
            .into_iter()
            .filter(|series| !series.points.is_empty())
            .collect();
        if series.is_empty() {
            bail!("{} shows nothing: {}", what(), filled(&target.expr));
        }
        lines.extend(series.into_iter().map(|series| line(target, span, series)));
    }
    Ok(Shown {
        title: panel.title,
        lines,
    })
}

fn line(target: &Target, span: Span, series: Series) -> Line {
    let points = series.points.into_iter();
    Line {
        name: legend(&target.legend_format, &series.labels),
        points: points.map(|(at, value)| (at - span.from, value)).collect(),
    }
}

/// A query as Grafana sends it, with everything chosen. A rate is over four scrapes.
fn filled(query: &str) -> String {
    query
        .replace("$__rate_interval", &format!("{}s", 4 * SCRAPE))
        .replace("$job", JOB)
        .replace("$instance", ".+")
}

/// `{{label}}` is the label's value.
fn legend(format: &str, labels: &BTreeMap<String, String>) -> String {
    labels
        .iter()
        .fold(format.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{{{name}}}}}"), value)
        })
}

fn check_open(open: &Shown, damaged: usize) -> Result<()> {
    let points = open.lines.iter().flat_map(|line| &line.points);
    let values: Vec<_> = points.map(|(_, value)| *value).collect();
    let most = values.iter().copied().fold(0.0, f64::max);
    ensure!(
        most == damaged as f64 && values.last() == Some(&0.0),
        "{damaged} were damaged and none is, but the dashboard shows {values:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Dashboard, filled, legend};

    #[test]
    fn the_shipped_dashboard_is_read() {
        let dashboard: Dashboard = serde_json::from_str(super::DASHBOARD).unwrap();
        let queries = dashboard.panels.iter().flat_map(|panel| &panel.targets);
        assert!(queries.clone().count() > 20);
        for target in queries {
            let query = filled(&target.expr);
            assert!(!query.contains("$__") && !query.contains("$job"), "{query}");
        }
    }

    #[test]
    fn a_legend_has_the_labels_values() {
        let labels = [("a", "1"), ("b", "2")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(legend("{{a}} of {{b}}", &labels.into()), "1 of 2");
    }
}
