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
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::http::get_whole;
use crate::scenarios::free_address;
use crate::wait;

const RULES: &str = include_str!("../../deploy/prometheus/tcpwnd.rules.yml");

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

/// When, in seconds since 1970, and what.
#[derive(Debug, Deserialize)]
struct Sample {
    value: (f64, String),
}

impl Prometheus {
    /// Starts one that scrapes this agent, and waits until it has done so.
    ///
    /// # Errors
    /// When there is no Prometheus, or it does not start; the message has what it printed.
    pub fn start(agent: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a directory")?;
        let place = |name: &str| folder.path().join(name);
        fs::write(place("tcpwnd.rules.yml"), RULES).context("failed to write the rules")?;
        let configuration = format!(
            "global: {{scrape_interval: {SCRAPE}s, evaluation_interval: 1s}}\n\
             rule_files: [tcpwnd.rules.yml]\n\
             scrape_configs:\n\
             - job_name: tcpwnd\n  \
               static_configs: [{{targets: ['{agent}']}}]\n"
        );
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
        wait::until_true(START, "Prometheus to scrape the agent", || {
            let ended = self.child.try_wait();
            if let Some(status) = ended.context("failed to look after Prometheus")? {
                bail!("prometheus ended at once ({status})");
            }
            std::thread::sleep(ASK_EVERY);
            // Nobody listens there at first, and then it is not ready.
            Ok(matches!(self.value("up"), Ok(Some(1.0))))
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

    /// The value of a query without blanks whose result is one number, if it has a result.
    ///
    /// # Errors
    /// When it does not answer, or the result is several numbers.
    pub fn value(&self, query: &str) -> Result<Option<f64>> {
        let vector: Vector = self.ask(&format!("/api/v1/query?query={query}"))?;
        ensure!(vector.result.len() <= 1, "{query} has several results");
        let Some(Sample { value: (_, text) }) = vector.result.first() else {
            return Ok(None);
        };
        let value = text.parse();
        value
            .map(Some)
            .with_context(|| format!("{query} is {text}"))
    }

    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let page = get_whole(self.address, path)?;
        let answer: Answer<T> = serde_json::from_str(&page)
            .with_context(|| format!("{path}: not an answer: {page}"))?;
        Ok(answer.data)
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
    use super::{Alerts, Answer, State, Vector};

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
    }
}
