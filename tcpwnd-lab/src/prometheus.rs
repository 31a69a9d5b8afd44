//! A real Prometheus that scrapes one agent and evaluates the project's own rules.
//!
//! Constraint: the rules are those under deploy/, word for word. How often Prometheus looks is the
//! laboratory's own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::http::get_whole;
use crate::scenarios::free_address;
use crate::wait;

const RULES: &str = include_str!("../../deploy/prometheus/tcpwnd.rules.yml");

/// What the agent's job is called: the rules and the dashboard want it to have `tcpwnd` in it.
pub const JOB: &str = "tcpwnd";

/// What the host is called, by which the dashboard joins the agent's series and node_exporter's.
const HOST: &str = "broker-1";

/// It is a large program: an emulated machine takes a while to load it.
const START: Duration = Duration::from_secs(120);

/// Seconds between two scrapes, and for one: a busy machine has been seen to take more than 1 s, and
/// one scrape that fails is an alert that is pending.
pub const SCRAPE: u32 = 5;

/// Interval between two questions to it: each costs an emulated machine milliseconds.
pub const ASK_EVERY: Duration = Duration::from_millis(200);

/// A running Prometheus. Dropping it kills it.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

/// How far an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its condition holds, but not for long enough.
    Pending,
    /// It is sent.
    Firing,
}

/// An alert that is pending or firing.
#[derive(Debug, Deserialize)]
pub struct Alert {
    /// Its labels, its name among them.
    pub labels: BTreeMap<String, String>,
    /// What it says.
    pub annotations: BTreeMap<String, String>,
    /// How far it is.
    pub state: State,
}

/// What Prometheus wraps around its answers.
#[derive(Debug, Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Debug, Deserialize)]
struct Build {
    version: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    last_error: String,
}

#[derive(Debug, Deserialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
struct Vector {
    result: Vec<Sample>,
}

#[derive(Debug, Deserialize)]
struct Matrix {
    result: Vec<Samples>,
}

/// One series over time.
#[derive(Debug, Deserialize)]
struct Samples {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

/// One series over time.
#[derive(Debug, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When, in seconds since 1970, and what. Where it has no value there is no point.
    pub points: Vec<(f64, f64)>,
}

/// From when until when, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// The first moment.
    pub from: f64,
    /// The last one.
    pub until: f64,
}

/// When, in seconds since 1970, and what.
#[derive(Debug, Deserialize)]
struct Sample {
    value: (f64, String),
}

impl Prometheus {
    /// Starts one that scrapes this agent and the same host's node_exporter, and waits until it has
    /// done so.
    ///
    /// # Errors
    /// When there is no Prometheus, or it does not start; the message has what it printed.
    pub fn start(agent: SocketAddr, node: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a directory")?;
        let place = |name: &str| folder.path().join(name);
        fs::write(place("tcpwnd.rules.yml"), RULES).context("failed to write the rules")?;
        let configuration = format!(
            "global: {{scrape_interval: {SCRAPE}s, evaluation_interval: 1s}}\n\
             rule_files: [tcpwnd.rules.yml]\n\
             scrape_configs:\n"
        ) + &job(JOB, agent)
            + &job("node", node);
        fs::write(place("prometheus.yml"), configuration)
            .context("failed to write Prometheus' configuration")?;
        let log = File::create(place("log")).context("failed to make a log")?;
        let address = free_address()?;
        let child = Command::new("prometheus")
            .arg("--config.file")
            .arg(place("prometheus.yml"))
            .arg("--storage.tsdb.path")
            .arg(place("data"))
            .args(["--web.listen-address", &address.to_string()])
            .args(["--log.level", "warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("failed to start prometheus")?;
        let mut prometheus = Self {
            child,
            address,
            folder,
        };
        prometheus.wait_scraped()?;
        Ok(prometheus)
    }

    fn wait_scraped(&mut self) -> Result<()> {
        wait::until_true(START, "Prometheus to scrape both", || {
            let ended = self.child.try_wait();
            if let Some(status) = ended.context("failed to look after Prometheus")? {
                bail!("prometheus ended at once ({status})");
            }
            std::thread::sleep(ASK_EVERY);
            // Nobody listens there at first, and then it is not ready.
            Ok(matches!(self.value("sum(up)"), Ok(Some(2.0))))
        })
        .with_context(|| said(self.folder.path()))
    }

    /// Its version.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn version(&self) -> Result<String> {
        let built: Build = self.ask("/api/v1/status/buildinfo")?;
        Ok(built.version)
    }

    /// What was wrong with the last scrape; empty if nothing was.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn scrape_error(&self) -> Result<String> {
        let targets: Targets = self.ask("/api/v1/targets")?;
        let errors = targets.active_targets.into_iter();
        Ok(errors.map(|target| target.last_error).collect())
    }

    /// The alerts that are pending or firing.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn alerts(&self) -> Result<Vec<Alert>> {
        let alerts: Alerts = self.ask("/api/v1/alerts")?;
        Ok(alerts.alerts)
    }

    /// The value of a query whose result is one number, if it has a result.
    ///
    /// # Errors
    /// When it does not answer, or the result is several numbers.
    pub fn value(&self, query: &str) -> Result<Option<f64>> {
        let vector: Vector = self.ask(&format!("/api/v1/query?query={}", escaped(query)))?;
        ensure!(vector.result.len() <= 1, "{query} has several results");
        let Some(Sample { value: (_, text) }) = vector.result.first() else {
            return Ok(None);
        };
        let value = text.parse();
        value
            .map(Some)
            .with_context(|| format!("{query} is {text}"))
    }

    /// What a query has come to over time, a point for each scrape.
    ///
    /// # Errors
    /// When it is wrong, or Prometheus does not answer.
    pub fn over_time(&self, query: &str, span: Span) -> Result<Vec<Series>> {
        let Span { from, until } = span;
        let query = escaped(query);
        let path = format!(
            "/api/v1/query_range?query={query}&start={from:.3}&end={until:.3}&step={SCRAPE}"
        );
        let matrix: Matrix = self.ask(&path)?;
        matrix.result.into_iter().map(Series::read).collect()
    }

    /// The values that a label has in the series that a selector takes.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn values_of(&self, label: &str, selector: &str) -> Result<Vec<String>> {
        let selector = escaped(selector);
        self.ask(&format!("/api/v1/label/{label}/values?match[]={selector}"))
    }

    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let page = get_whole(self.address, path)?;
        let answer: Answer<T> = serde_json::from_str(&page)
            .with_context(|| format!("{path}: not an answer: {page}"))?;
        Ok(answer.data)
    }
}

/// What it is to scrape as `job`.
fn job(job: &str, target: SocketAddr) -> String {
    format!(
        "- job_name: {job}\n  \
           static_configs:\n  \
           - targets: ['{target}']\n    \
             labels: {{instance: '{HOST}:{}'}}\n",
        target.port()
    )
}

/// As it may stand in an address.
fn escaped(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

impl Series {
    /// What is no number (as 0 / 0) is no point.
    fn read(samples: Samples) -> Result<Self> {
        let mut points = Vec::with_capacity(samples.values.len());
        for (at, text) in samples.values {
            let value: f64 = text
                .parse()
                .with_context(|| format!("{text} is no value"))?;
            if value.is_finite() {
                points.push((at, value));
            }
        }
        Ok(Self {
            labels: samples.metric,
            points,
        })
    }
}

/// What it has logged.
fn said(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Harmless when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::{Alerts, Answer, Matrix, Series, State, Vector};

    #[test]
    fn answers_as_prometheus_2_42_gives_them() {
        let page = r#"{"status":"success","data":{"alerts":[{"labels":{"alertname":"TcpwndDown",
            "instance":"a:1"},"annotations":{"summary":"s"},"state":"pending",
            "activeAt":"2026-11-22T14:46:45.4Z","value":"0e+00"}]}}"#;
        let answer: Answer<Alerts> = serde_json::from_str(page).unwrap();
        let [alert] = &answer.data.alerts[..] else {
            panic!("{answer:?}");
        };
        assert_eq!(alert.labels["alertname"], "TcpwndDown");
        assert_eq!(alert.state, State::Pending);

        let page = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},
            "value":[1795358805.473,"1"]}]}}"#;
        let answer: Answer<Vector> = serde_json::from_str(page).unwrap();
        assert_eq!(answer.data.result[0].value.1, "1");

        let page = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},
            "values":[[1795358805.473,"1.5"],[1795358810.473,"NaN"],[1795358815.473,"2"]]}]}}"#;
        let mut answer: Answer<Matrix> = serde_json::from_str(page).unwrap();
        let series = Series::read(answer.data.result.remove(0)).unwrap();
        assert_eq!(series.labels["a"], "b");
        let values: Vec<_> = series.points.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [1.5, 2.0]);
    }
}
