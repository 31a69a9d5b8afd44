//! What was measured, over time, and whether anything became more.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// The first part of the time, in which caches fill: one part of this many.
const WARM_UP: usize = 6;

/// How many times as much memory as after that there may be at the end: the allocator gives back
/// pages when it sees fit.
const FLAT: f64 = 1.05;

/// One measurement, between two storms.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Since the beginning.
    pub seconds: f64,
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Time on processors so far.
    pub cpu: Duration,
    /// Connections that the broker has accepted so far.
    pub accepted: usize,
    /// Damaged connections that were open before.
    pub open: usize,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// The descriptors of the last one; none before.
    pub fn descriptors(&self) -> usize {
        self.0.last().map_or(0, |sample| sample.descriptors)
    }

    /// Checks that memory and descriptors stay the same, and says in lines what they were.
    ///
    /// # Errors
    /// When they do not, or there are too few measurements to know.
    pub fn check(&self) -> Result<Vec<String>> {
        let after = self.0.get(self.0.len() / WARM_UP..).unwrap_or_default();
        let part = after.len() / (WARM_UP - 1);
        ensure!(part > 0, "only {} measurements", self.0.len());
        let first = median(&after[..part]);
        let last = median(&after[after.len() - part..]);
        let most = self.0.iter().map(|sample| sample.resident).max();
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        ensure!(
            last as f64 <= FLAT * first as f64,
            "resident memory grew from {first} to {last} bytes"
        );
        let descriptors = || after.iter().map(|sample| sample.descriptors);
        let (least, greatest) = (descriptors().min(), descriptors().max());
        ensure!(
            least == greatest,
            "there were {least:?} to {greatest:?} descriptors"
        );
        let cpu = self.0.last().map(|sample| (sample.cpu, sample.seconds));
        let (cpu, seconds) = cpu.unwrap_or_default();
        Ok(vec![
            format!(
                "resident memory: {:.2} MiB (median of the second sixth), {:.2} MiB (of the last), at most {:.2} MiB",
                mebibytes(first),
                mebibytes(last),
                mebibytes(most.unwrap_or_default())
            ),
            format!(
                "file descriptors: {} all the time",
                least.unwrap_or_default()
            ),
            format!(
                "processor time: {:.1} s, {:.2} % of one CPU",
                cpu.as_secs_f64(),
                100.0 * cpu.as_secs_f64() / seconds
            ),
        ])
    }

    /// For whoever draws it.
    pub fn panels(&self) -> Value {
        let panel = |title: &str, name: &str, value: fn(&Sample) -> f64| {
            let points: Vec<_> = self
                .0
                .iter()
                .map(|sample| (sample.seconds, value(sample)))
                .collect();
            json!({"title": title, "lines": [{"name": name, "points": points}]})
        };
        json!({"panels": [
            panel("Resident memory", "tcpwnd", |sample| sample.resident as f64),
            panel("Open file descriptors", "tcpwnd", |sample| sample.descriptors as f64),
            panel("Connections accepted", "broker", |sample| sample.accepted as f64),
            panel("Damaged connections of each storm", "broker", |sample| sample.open as f64),
        ]})
    }
}

fn median(samples: &[Sample]) -> u64 {
    let mut values: Vec<_> = samples.iter().map(|sample| sample.resident).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(resident: fn(usize) -> u64, descriptors: fn(usize) -> usize) -> Samples {
        let sample = |number: usize| Sample {
            seconds: number as f64,
            resident: resident(number),
            descriptors: descriptors(number),
            cpu: Duration::from_secs(1),
            accepted: number,
            open: 0,
        };
        Samples((0..60).map(sample).collect())
    }

    #[test]
    fn flat_is_flat_after_a_while() {
        let held = samples(
            |at| if at < 10 { 5 } else { 9 } << 20,
            |at| 9 + usize::from(at == 0),
        );
        assert!(held.check().unwrap()[0].contains("9.00 MiB"));
    }

    #[test]
    fn what_grows_is_seen() {
        let leak = samples(|at| (9 << 20) + ((at as u64) << 14), |_| 9);
        assert!(leak.check().unwrap_err().to_string().contains("grew"));
        let leak = samples(|_| 9 << 20, |at| 9 + at / 30);
        assert!(leak.check().unwrap_err().to_string().contains("9"));
        assert!(Samples::default().check().is_err());
    }
}
