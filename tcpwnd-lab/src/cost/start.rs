//! From the start of a program until its probes are attached.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::tell;
use super::watcher::{Watcher, Watching};

/// How often each is started; the first time, files come from the disk image and tables grow.
const STARTS: usize = 5;

/// Starts each of them some times, one after the other, and tells how long it took until everything was
/// attached; the agent's own word for its steps with it.
///
/// # Errors
/// When one does not start.
pub fn measure(watchers: &[Watcher]) -> Result<()> {
    for watcher in watchers {
        let (mut all, mut steps) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let begun = Instant::now();
            let watching = watcher.start()?;
            all.push(milliseconds(begun.elapsed()));
            match watching {
                Watching::Agent(agent) => steps.push(said(&agent.stop()?)?),
                other => other.end(0)?,
            }
        }
        tell(&json!({
            "figure": "start", "watcher": watcher.name(), "all": all, "steps": steps,
        }));
    }
    Ok(())
}

/// What the agent says of its steps (`-v`), in milliseconds: each with its name.
fn said(errors: &str) -> Result<Vec<(String, f64)>> {
    let line = errors.lines().find(|line| line.contains("attached in "));
    let line = line.context("the agent does not say what its start took")?;
    let (_, steps) = line.split_once(" ms: ").context("no steps")?;
    let step = |text: &str| {
        let (name, time) = text.strip_suffix(" ms")?.split_once(' ')?;
        Some((name.to_owned(), time.parse().ok()?))
    };
    let steps: Option<_> = steps.split(", ").map(step).collect();
    steps.with_context(|| format!("these are no steps: {line}"))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn steps_are_read() {
        let line = "tcpwnd: x\ntcpwnd: attached in 3.5 ms: BTF 2.0 ms, load 1.5 ms\n";
        let expected = [("BTF".to_owned(), 2.0), ("load".to_owned(), 1.5)];
        assert_eq!(said(line).unwrap(), expected);
        assert!(said("tcpwnd: nothing of the kind").is_err());
    }
}
