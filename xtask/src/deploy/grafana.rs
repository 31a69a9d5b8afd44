//! The dashboard: each of its queries is asked of what the agent's `/metrics` says.
//!
//! promtool evaluates queries over series from a file. The series are made of the agent's golden
//! text, so that a query with a wrong name, label or join has no result here, as it would have
//! none in Grafana.

use std::fs;
use std::process::Command;

use anyhow::Context;
use serde_json::{Value, json};

use super::{Answer, file, metrics};
use crate::command;
use crate::setup::prometheus;

const DASHBOARD: &str = "grafana/tcpwnd.json";

/// What the dashboard asks of node_exporter, for the host as a whole.
const OF_NODE: [&str; 4] = [
    "node_netstat_TcpExt_ListenOverflows",
    "node_netstat_TcpExt_SyncookiesFailed",
    "node_netstat_TcpExt_SyncookiesRecv",
    "node_netstat_TcpExt_SyncookiesSent",
];

/// Every query has a result.
pub fn queries() -> anyhow::Result<Answer> {
    let dashboard = dashboard()?;
    let (rules, expected): (Vec<_>, Vec<_>) = panels(&dashboard)
        .flat_map(|panel| targets(panel).map(move |target| (panel, target)))
        .map(|(panel, target)| {
            let name = format!("panel {} {}", panel["title"], target["refId"]);
            let expression = plain(target["expr"].as_str().unwrap_or_default());
            let rule = json!({"alert": name, "expr": format!("count({expression}) > 0")});
            let fires = json!([{"exp_labels": {}, "exp_annotations": {}}]);
            (
                rule,
                json!({"eval_time": "10m", "alertname": name, "exp_alerts": fires}),
            )
        })
        .unzip();
    // YAML takes JSON for what it is.
    let folder = tempfile::tempdir()?;
    let rules = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(folder.path().join("rules.yml"), rules.to_string())?;
    let test = json!({"interval": "1m", "input_series": series()?, "alert_rule_test": expected});
    let tests = json!({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]});
    let path = folder.path().join("tests.yml");
    fs::write(&path, tests.to_string())?;
    let promtool = prometheus::ensure()?.promtool;
    command::output(Command::new(promtool).args(["test", "rules"]).arg(&path))
        .context("a query is wrong, or has no result")?;
    Ok(Answer::Held)
}

fn dashboard() -> anyhow::Result<Value> {
    let text = fs::read_to_string(file(DASHBOARD)).with_context(|| format!("read {DASHBOARD}"))?;
    serde_json::from_str(&text).with_context(|| format!("{DASHBOARD} is no JSON"))
}

/// Panels that show something.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let all = dashboard["panels"].as_array().into_iter().flatten();
    all.filter(|panel| panel["type"] != "row")
}

fn targets(panel: &Value) -> impl Iterator<Item = &Value> {
    panel["targets"].as_array().into_iter().flatten()
}

/// The query as Grafana sends it, with everything chosen.
fn plain(expression: &str) -> String {
    expression
        .replace("$__rate_interval", "5m")
        .replace("$job", "tcpwnd")
        .replace("$instance", ".+")
}

/// The agent's series and those of node_exporter, every one of them growing.
fn series() -> anyhow::Result<Vec<Value>> {
    let golden = metrics::golden()?;
    let samples = golden.lines().filter(|line| !line.starts_with('#'));
    let agent = samples
        .filter_map(|line| Some(line.rsplit_once(' ')?.0))
        .chain(metrics::OF_PROCESS)
        .map(|name| labelled(name, r#"job="tcpwnd",instance="broker-1:10435""#));
    let node = OF_NODE.map(|name| labelled(name, r#"job="node",instance="broker-1:9100""#));
    Ok(agent
        .chain(node)
        .map(|series| json!({"series": series, "values": "1+1x20"}))
        .collect())
}

fn labelled(series: &str, labels: &str) -> String {
    match series.strip_suffix('}') {
        Some(series) => format!("{series},{labels}}}"),
        None => format!("{series}{{{labels}}}"),
    }
}

#[cfg(test)]
#[path = "grafana_tests.rs"]
mod tests;
