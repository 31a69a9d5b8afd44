//! What was measured, as the laboratory prints it (tcpwnd-lab/src/cost).

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde::Deserialize;

/// Something that was measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "figure", rename_all = "snake_case")]
pub enum Figure {
    /// What a handshake takes, in instructions, each value of one batch.
    Handshake {
        /// Who watched.
        watcher: String,
        /// `normal` or `cookie`.
        path: String,
        /// On the path of the packets.
        thread: Vec<f64>,
        /// In the whole machine.
        all: Vec<f64>,
    },
    /// What a program took during some handshakes.
    Program {
        /// Whose it is.
        watcher: String,
        /// `normal` or `cookie`.
        path: String,
        /// Its name.
        program: String,
        /// How many handshakes were made, or segments sent.
        items: u64,
        /// How often it ran.
        runs: u64,
        /// In all.
        instructions: u64,
        /// Runs that the kernel skipped.
        skipped: u64,
    },
    /// A map of the agent's.
    Map {
        /// Its name.
        map: String,
        /// Most entries.
        entries: u64,
        /// What it takes.
        bytes: u64,
    },
    /// Resident memory of the agent.
    Resident {
        /// Damaged connections that were open.
        flows: u64,
        /// How much.
        bytes: u64,
        /// What of that are mappings of maps.
        of_maps: u64,
    },
    /// The agent as it is shipped.
    Size {
        /// Of the file.
        bytes: u64,
    },
}

/// Everything that was measured.
#[derive(Debug)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// These.
    pub fn new(all: Vec<Figure>) -> Self {
        Self(all)
    }

    /// Adds more.
    pub fn extend(&mut self, more: Vec<Figure>) {
        self.0.extend(more);
    }

    /// All of them, in the order in which they were measured.
    pub fn all(&self) -> impl Iterator<Item = &Figure> {
        self.0.iter()
    }

    /// What handshakes took: watcher, path, on the path of the packets, in the whole machine.
    pub fn handshakes(&self) -> impl Iterator<Item = (&str, &str, &[f64], &[f64])> {
        self.all().filter_map(|figure| match figure {
            Figure::Handshake {
                watcher,
                path,
                thread,
                all,
            } => Some((
                watcher.as_str(),
                path.as_str(),
                thread.as_slice(),
                all.as_slice(),
            )),
            _ => None,
        })
    }

    /// The same of one watcher and path.
    pub fn handshake(&self, watcher: &str, path: &str) -> Option<(&[f64], &[f64])> {
        self.handshakes()
            .find(|found| (found.0, found.1) == (watcher, path))
            .map(|(_, _, thread, all)| (thread, all))
    }

    /// Maps: name, entries, bytes.
    pub fn maps(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.all().filter_map(|figure| match figure {
            Figure::Map {
                map,
                entries,
                bytes,
            } => Some((map.as_str(), *entries, *bytes)),
            _ => None,
        })
    }

    /// Resident memory while so many damaged connections are open, and what of that are mappings of
    /// maps, in bytes.
    pub fn resident(&self, open: u64) -> Option<(u64, u64)> {
        self.all().find_map(|figure| match figure {
            Figure::Resident {
                flows,
                bytes,
                of_maps,
            } if *flows == open => Some((*bytes, *of_maps)),
            _ => None,
        })
    }

    /// Of the shipped program, in bytes.
    pub fn size(&self) -> Option<u64> {
        self.all().find_map(|figure| match figure {
            Figure::Size { bytes } => Some(*bytes),
            _ => None,
        })
    }
}

/// The one in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How far they lie apart.
pub fn spread(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most - values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Takes the laboratory's lines as they come, and shows them on stderr.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// The figures so far.
    ///
    /// # Errors
    ///
    /// When a line is none.
    pub fn figures(&self) -> anyhow::Result<Vec<Figure>> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = std::str::from_utf8(&bytes)?;
        let figure =
            |line| serde_json::from_str(line).with_context(|| format!("this is no figure: {line}"));
        text.lines().map(figure).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(bytes)?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Figure, Lines, median, spread};

    #[test]
    fn one_batch_that_was_disturbed_does_not_move_the_median() {
        let values = [3.0, 900.0, 1.0, 2.0, 3.0];
        assert_eq!((median(&values), spread(&values)), (3.0, 899.0));
    }

    #[test]
    fn lines_of_the_laboratory_are_read() {
        let mut lines = Lines::default();
        let (one, two) = (
            r#"{"figure":"map","map":"EVENTS","entries":4,"bytes":4096}"#,
            r#"{"figure":"resident","flows":0,"bytes":7,"of_maps":1}"#,
        );
        writeln!(lines, "{one}\n{two}").unwrap();
        let map = Figure::Map {
            map: "EVENTS".to_owned(),
            entries: 4,
            bytes: 4096,
        };
        let resident = Figure::Resident {
            flows: 0,
            bytes: 7,
            of_maps: 1,
        };
        assert_eq!(lines.figures().unwrap(), [map, resident]);
        writeln!(lines, "something else").unwrap();
        assert!(lines.figures().is_err());
    }
}
