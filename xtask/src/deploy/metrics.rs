//! Which metrics the agent has, and which ones a file speaks of.

use std::fs;

use anyhow::Context;

use crate::paths;

/// What the agent's own test says that `/metrics` prints.
const GOLDEN: &str = "tcpwnd-agent/tests/golden/metrics.txt";

/// Depend on the process, so that they are in no golden text.
pub const OF_PROCESS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

/// The agent's golden text.
///
/// # Errors
///
/// When it cannot be read.
pub fn golden() -> anyhow::Result<String> {
    fs::read_to_string(paths::workspace().join(GOLDEN)).with_context(|| format!("read {GOLDEN}"))
}

#[cfg(test)]
pub use names::*;

#[cfg(test)]
mod names {
    use std::collections::BTreeSet;
    use std::fs;

    use super::{OF_PROCESS, golden};
    use crate::paths;

    /// Names of metrics in some text.
    pub type Names = BTreeSet<String>;

    /// Every metric that the agent exports.
    pub fn of_agent() -> Names {
        let text = golden().unwrap();
        let types = text.lines().filter_map(|line| {
            let name = line.strip_prefix("# TYPE ")?.split(' ').next()?;
            Some(name.to_owned())
        });
        types.chain(OF_PROCESS.map(str::to_owned)).collect()
    }

    /// The metrics of the agent, and the records made of them, that a text names.
    pub fn named_in(text: &str) -> Names {
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
            .filter(|word| {
                word.starts_with("tcpwnd_") || word.starts_with("process_") || is_record(word)
            })
            .map(str::to_owned)
            .collect()
    }

    /// `level:metric:operations`
    pub fn is_record(word: &str) -> bool {
        let parts: Vec<_> = word.split(':').collect();
        parts.len() == 3
            && parts[1].starts_with("tcpwnd_")
            && parts.iter().all(|part| !part.is_empty())
    }

    /// A file of the checkout.
    pub fn read(file: &str) -> String {
        let path = paths::workspace().join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn names_are_found_in_expressions() {
        let text = "sum without (port) (tcpwnd_a_total{path!=\"tcpwnd\"}[5m]) / job:tcpwnd_b:sum";
        let names: Vec<_> = named_in(text).into_iter().collect();
        assert_eq!(names, ["job:tcpwnd_b:sum", "tcpwnd_a_total"]);
    }

    #[test]
    fn metrics_of_the_process_are_those_in_the_source() {
        let source = read("tcpwnd-agent/src/output/itself.rs");
        let in_source: Names = named_in(&source)
            .into_iter()
            .filter(|name| name.starts_with("process_"))
            .collect();
        let listed = OF_PROCESS.map(|name| name.trim_end_matches("_total").to_owned());
        assert_eq!(in_source, listed.into());
    }
}
