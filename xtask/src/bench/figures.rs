//! What was measured, as the laboratory prints it (tcpwnd-lab/src/cost).

use anyhow::Context;
use serde::Deserialize;

/// Something that was measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "figure", rename_all = "snake_case")]
pub enum Figure {
    /// What each item of some work takes, in instructions, each value of one batch.
    Work {
        /// Who watched.
        watcher: String,
        /// Which work: a handshake, `normal` or by `cookie`; a MB, by one connection (`transfer`) or many
        /// (`transfer of 999`); a segment of a `half-closed` connection.
        work: String,
        /// On the path of the packets.
        thread: Vec<f64>,
        /// In the whole machine.
        all: Vec<f64>,
    },
    /// What a program took during some work.
    Program(Program),
    /// From the start of a watcher until everything is attached.
    Start(Start),
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
    /// A storm at defaults.
    Storm {
        /// That came back all at once.
        clients: u64,
        /// Connections that were accepted, each of which is in the books.
        accepted: u64,
        /// How long it took.
        seconds: f64,
        /// Clients that were reset or had no answer, and connected again.
        returned: u64,
        /// Found damaged; none was.
        damaged: u64,
        /// Without verdict.
        unverified: u64,
        /// Lost.
        lost: u64,
    },
    /// Records for tcpwnd-core/benches.
    Records {
        /// Their bytes.
        hexadecimal: String,
    },
    /// Records a second on one core, each stage with those before it.
    Throughput {
        /// Decoded.
        decode: f64,
        /// And judged.
        with_verdict: f64,
        /// And described, counted, and looked up in the table of open ones.
        whole: f64,
        /// The same of damaged connections and their ends, which go into that table and out of it.
        damaged: f64,
    },
    /// From when a record is due until its verdict.
    Waiting {
        /// Records a second.
        rate: u64,
        /// Half of them wait less, in nanoseconds.
        p50_ns: u64,
        /// All but one of a hundred do.
        p99_ns: u64,
        /// All do.
        most_ns: u64,
    },
    /// The table of open damaged connections.
    Flows {
        /// That are open.
        flows: u64,
        /// What it takes.
        bytes: u64,
        /// How long a scrape's pass over it takes.
        pass_ns: u64,
    },
    /// A scrape of all metrics while so many of them are open.
    Scrape {
        /// How many.
        flows: u64,
        /// Instructions of the whole machine, each time.
        all: Vec<f64>,
    },
    /// The agent as it is shipped.
    Size {
        /// Of the file.
        bytes: u64,
    },
}

/// From start to ready, in milliseconds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Start {
    /// Whose.
    pub watcher: String,
    /// Each time.
    pub all: Vec<f64>,
    /// What it says of its steps each time: their names and what they took.
    pub steps: Vec<Vec<(String, f64)>>,
}

/// What a program took.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Program {
    /// Whose it is.
    pub watcher: String,
    /// During which work.
    pub work: String,
    /// Its name.
    pub program: String,
    /// How many items of that work.
    items: f64,
    /// How often it ran.
    runs: u64,
    /// In all.
    instructions: u64,
    /// Runs that the kernel skipped.
    pub skipped: u64,
}

impl Program {
    /// Runs for each item.
    pub fn runs(&self) -> f64 {
        self.runs as f64 / self.items
    }

    /// Instructions of a run.
    pub fn each(&self) -> f64 {
        self.instructions as f64 / self.runs as f64
    }
}

/// Nobody watches.
pub const NOBODY: &str = "nobody";

/// Everything that was measured.
#[derive(Debug)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// These.
    #[cfg(test)]
    pub fn new(all: Vec<Figure>) -> Self {
        Self(all)
    }

    /// Those of these lines.
    ///
    /// # Errors
    ///
    /// When a line is none.
    pub fn read(lines: &str) -> anyhow::Result<Self> {
        let figure =
            |line| serde_json::from_str(line).with_context(|| format!("this is no figure: {line}"));
        lines
            .lines()
            .map(figure)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// All of them, in the order in which they were measured.
    pub fn all(&self) -> impl Iterator<Item = &Figure> {
        self.0.iter()
    }

    /// What work took: watcher, work, on the path of the packets, in the whole machine.
    pub fn work(&self) -> impl Iterator<Item = (&str, &str, &[f64], &[f64])> {
        self.all().filter_map(|figure| match figure {
            Figure::Work {
                watcher,
                work,
                thread,
                all,
            } => Some((
                watcher.as_str(),
                work.as_str(),
                thread.as_slice(),
                all.as_slice(),
            )),
            _ => None,
        })
    }

    /// The same of one watcher and work.
    pub fn work_of(&self, watcher: &str, work: &str) -> Option<(&[f64], &[f64])> {
        self.work()
            .find(|found| (found.0, found.1) == (watcher, work))
            .map(|(_, _, thread, all)| (thread, all))
    }

    /// What an item takes more than when nobody watches, on the path of its packets.
    pub fn added(&self, watcher: &str, work: &str) -> Option<f64> {
        let (thread, _) = self.work_of(watcher, work)?;
        let (without, _) = self.work_of(NOBODY, work)?;
        Some(median(thread) - median(without))
    }

    /// What one run of a program adds, whatever calls it included; the program is the only one of the
    /// watcher's that this work runs.
    pub fn added_a_run(&self, watcher: &str, work: &str) -> Option<f64> {
        let mut programs = self.programs();
        let only = programs.find(|program| program.watcher == watcher && program.work == work)?;
        Some(self.added(watcher, work)? / only.runs())
    }

    /// What programs took.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.all().filter_map(|figure| match figure {
            Figure::Program(program) => Some(program),
            _ => None,
        })
    }

    /// A watcher's start.
    pub fn start(&self, watcher: &str) -> Option<&Start> {
        self.all().find_map(|figure| match figure {
            Figure::Start(start) if start.watcher == watcher => Some(start),
            _ => None,
        })
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

#[cfg(test)]
mod tests {
    use super::{Figure, Figures, median, spread};

    #[test]
    fn one_batch_that_was_disturbed_does_not_move_the_median() {
        let values = [3.0, 900.0, 1.0, 2.0, 3.0];
        assert_eq!((median(&values), spread(&values)), (3.0, 899.0));
    }

    #[test]
    fn lines_of_the_laboratory_are_read() {
        let (one, two) = (
            r#"{"figure":"map","map":"EVENTS","entries":4,"bytes":4096}"#,
            r#"{"figure":"resident","flows":0,"bytes":7,"of_maps":1}"#,
        );
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
        let figures = Figures::read(&format!("{one}\n{two}\n")).unwrap();
        assert!(figures.all().eq([&map, &resident]));
        assert!(Figures::read("something else\n").is_err());
    }
}
