//! What Prometheus says of the alerts, told whenever it changes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::producers::PORT;
use crate::prometheus::{ASK_EVERY, Prometheus, Span, State};
use crate::wait;

/// How long a change may take: the rule that looks back for 5 minutes, and as much again for an
/// emulated machine that is busy.
const PATIENCE: Duration = Duration::from_secs(600);

/// A rule that is evaluated whenever the agent was scraped, and when that was last.
const EVALUATED: &str = "timestamp(instance:tcpwnd_damaged_connections:sum)";

/// Seconds of evaluations, one a second, after which every rule has seen the last scrape: groups of
/// rules have their turns at different times within a second.
const SETTLED: f64 = 3.0;

/// Prometheus, and what it said last.
pub struct Watch {
    /// Where questions go.
    pub prometheus: Prometheus,
    begin: Instant,
    /// The same in seconds since 1970, as Prometheus has it.
    begin_at: f64,
    states: BTreeMap<String, State>,
}

impl Watch {
    /// The story's time begins now.
    ///
    /// # Errors
    /// When the clock is wrong.
    pub fn new(prometheus: Prometheus) -> Result<Self> {
        Ok(Self {
            prometheus,
            begin: Instant::now(),
            begin_at: now()?,
            states: BTreeMap::new(),
        })
    }

    /// From the beginning until now.
    ///
    /// # Errors
    /// When the clock is wrong.
    pub fn span(&self) -> Result<Span> {
        Ok(Span {
            from: self.begin_at,
            until: now()?,
        })
    }

    /// Prints something with the time since the beginning.
    pub fn say(&self, text: &str) {
        println!("{:6.1} s  {text}", self.begin.elapsed().as_secs_f64());
    }

    /// How far an alert was at the last look; none: it was neither pending nor firing.
    pub fn state(&self, name: &str) -> Option<State> {
        self.states.get(name).copied()
    }

    /// Looks at the alerts, and tells what is new.
    ///
    /// # Errors
    /// When there is one that is not expected, or two of one name.
    pub fn look(&mut self, expected: &[&str]) -> Result<()> {
        let mut states = BTreeMap::new();
        for alert in self.prometheus.alerts()? {
            let label = |name: &str| alert.labels.get(name).map_or("", String::as_str);
            let name = label("alertname").to_owned();
            ensure!(
                expected.contains(&name.as_str()) && label("local_port") == PORT.to_string(),
                "not expected at this time (the last scrape: {:?}): {alert:?}",
                self.prometheus.scrape_error()?
            );
            if self.state(&name) != Some(alert.state) {
                let said = alert.annotations.get("description");
                let state = match alert.state {
                    State::Pending => "pending",
                    State::Firing => "FIRING",
                };
                self.say(&format!("  {name} {state} ({})", label("severity")));
                if alert.state == State::Firing {
                    println!("            {}", said.map_or("", String::as_str));
                }
            }
            let twice = states.insert(name, alert.state);
            ensure!(twice.is_none(), "one of two: {alert:?}");
        }
        for name in self
            .states
            .keys()
            .filter(|name| !states.contains_key(*name))
        {
            self.say(&format!("  {name} resolved"));
        }
        self.states = states;
        Ok(())
    }

    /// Looks again and again until `holds` is true of a look.
    ///
    /// # Errors
    /// As [`Self::look`], and when that does not come.
    pub fn until(
        &mut self,
        what: &str,
        expected: &[&str],
        mut holds: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        wait::until_true(PATIENCE, what, || {
            std::thread::sleep(ASK_EVERY);
            self.look(expected)?;
            holds(self)
        })
    }

    /// Looks again and again while something is done, and returns what came of it.
    ///
    /// # Errors
    /// As [`Self::look`], and what `work` returns.
    pub fn during<T: Send>(
        &mut self,
        expected: &[&str],
        work: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        std::thread::scope(|scope| {
            let working = scope.spawn(work);
            while !working.is_finished() {
                std::thread::sleep(ASK_EVERY);
                self.look(expected)?;
            }
            working
                .join()
                .ok()
                .context("panicked while alerts were watched")?
        })
    }

    /// Looks on until every rule has been evaluated on what is scraped now.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub fn evaluated(&mut self, expected: &[&str]) -> Result<()> {
        let mut first = None;
        self.until("the rules to be evaluated", expected, |watch| {
            let Some(last) = watch.prometheus.value(EVALUATED)? else {
                return Ok(false);
            };
            Ok(last - *first.get_or_insert(last) >= SETTLED)
        })
    }
}

/// Seconds since 1970.
fn now() -> Result<f64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.context("the clock is before 1970")?.as_secs_f64())
}
