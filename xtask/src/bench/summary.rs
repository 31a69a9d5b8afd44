//! The figures that have a target, beside it.

use std::fmt::Write;

use super::figures::{Figure, Figures, NOBODY, median, spread};
use super::words::{mebibytes, thousands, what};

/// The agent as it is by default, as the laboratory calls it.
const DEFAULT: &str = "fentry";

/// A line.
struct Row {
    figure: String,
    target: &'static str,
    measured: String,
    part: &'static str,
}

fn row(figure: &str, target: &'static str, measured: String, part: &'static str) -> Row {
    Row {
        figure: figure.to_owned(),
        target,
        measured,
        part,
    }
}

/// All that were measured.
pub fn write(figures: &Figures) -> Option<String> {
    let rows = [
        handshakes(figures),
        transfers(figures),
        others(figures),
        native(figures),
        memory(figures),
    ];
    let rows: Vec<_> = rows.into_iter().flatten().collect();
    let mut text = "| figure | target | measured | command |\n|---|---|---|---|".to_owned();
    for row in &rows {
        let Row {
            figure,
            target,
            measured,
            part,
        } = row;
        let _ = write!(
            text,
            "\n| {figure} | {target} | {measured} | `cargo xtask bench --part {part}` |"
        );
    }
    (!rows.is_empty()).then_some(text)
}

fn handshakes(figures: &Figures) -> Vec<Row> {
    let mut rows = Vec::new();
    for work in ["normal", "cookie"] {
        let Some(added) = figures.added(DEFAULT, work) else {
            continue;
        };
        let mut measured = thousands(added);
        for (watcher, name) in [("c", "in C"), ("talk", "the way of the talk")] {
            if let Some(other) = figures.added(watcher, work) {
                let _ = write!(
                    measured,
                    "; {name} {} (factor {:.2})",
                    thousands(other),
                    added / other
                );
            }
        }
        let figure = format!("instructions added per passive {}", what(work));
        let target = "not above the same capture in C";
        rows.push(row(&figure, target, measured, "handshakes"));
    }
    rows
}

fn transfers(figures: &Figures) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(added) = figures.added(DEFAULT, "transfer")
        && let Some((without, _)) = figures.work_of(NOBODY, "transfer")
    {
        rows.push(row(
            "instructions added per transferred MB with nothing to watch",
            "0: within the spread of the runs without the agent",
            format!(
                "{} of {}, whose spread is {}",
                thousands(added),
                thousands(median(without)),
                thousands(spread(without))
            ),
            "transfers",
        ));
    }
    if let Some(one) = figures.added_a_run(DEFAULT, "half-closed")
        && let Some(empty) = figures.added_a_run("empty fentry", "half-closed")
    {
        rows.push(row(
            "instructions added per packet of a half-closed connection",
            "an empty probe's plus at most 40",
            format!(
                "{}; an empty probe's are {}",
                thousands(one),
                thousands(empty)
            ),
            "half-closed",
        ));
    }
    let many = |watcher| Some(median(figures.work_of(watcher, "transfer of 999")?.0));
    if let (Some(none), Some(one)) = (many("trace"), many("trace, one watched")) {
        rows.push(row(
            "instructions added per MB of the 999 others while one of 1,000 is watched",
            "at most 2 %",
            format!("{:.2} %", 100.0 * (one - none) / none),
            "transfers",
        ));
    }
    rows
}

fn others(figures: &Figures) -> Vec<Row> {
    let storm = |figure: &Figure| match figure {
        Figure::Storm {
            clients,
            accepted,
            seconds,
            damaged,
            unverified,
            lost,
        } => Some(row(
            &format!(
                "storm of {} reconnects at defaults",
                thousands(*clients as f64)
            ),
            "no event lost, every connection judged",
            format!(
                "{} accepted in {seconds:.0} s, {} judged, {damaged} damaged, {unverified} unverified, \
                 {lost} lost",
                thousands(*accepted as f64),
                thousands((accepted - unverified) as f64),
            ),
            "storm",
        )),
        _ => None,
    };
    figures.all().filter_map(storm).collect()
}

fn native(figures: &Figures) -> Vec<Row> {
    let of = |figure: &Figure| match figure {
        Figure::Throughput {
            decode,
            with_verdict,
            whole,
            damaged,
        } => {
            let part = |from: f64, to: f64| 100.0 * whole * (1.0 / to - 1.0 / from);
            Some(row(
                "events a second, from recorded bytes to verdict and books, one core of this machine",
                "at least 3 million",
                format!(
                    "{:.2} million; of the time decoding takes {:.0} %, the verdict {:.0} %, describing it, \
                     books and table {:.0} %; damaged ones and their ends {:.2} million",
                    whole / 1e6,
                    part(f64::INFINITY, *decode),
                    part(*decode, *with_verdict),
                    part(*with_verdict, *whole),
                    damaged / 1e6
                ),
                "native",
            ))
        }
        Figure::Waiting {
            rate,
            p50_ns,
            p99_ns,
            most_ns,
        } => Some(row(
            &format!(
                "from when a record is due to its verdict, at {} a second (p99; waking up not included)",
                thousands(*rate as f64)
            ),
            "below 1 ms",
            format!(
                "{:.1} µs; half of them {:.1} µs, the longest {:.0} µs",
                *p99_ns as f64 / 1e3,
                *p50_ns as f64 / 1e3,
                *most_ns as f64 / 1e3
            ),
            "native",
        )),
        _ => None,
    };
    figures.all().filter_map(of).collect()
}

fn memory(figures: &Figures) -> Vec<Row> {
    let mut rows = Vec::new();
    let idle = figures.resident(0);
    if let Some((bytes, of_maps)) = idle {
        rows.push(row(
            "resident memory with nothing to do (VmRSS once /readyz says yes)",
            "at most 12 MiB",
            format!(
                "{}, of which {} are mappings of maps",
                mebibytes(bytes),
                mebibytes(of_maps)
            ),
            "memory",
        ));
    }
    for figure in figures.all() {
        if let (Figure::Flows { flows, bytes }, Some((idle, _))) = (figure, idle) {
            rows.push(row(
                &format!(
                    "resident memory with {} open tracked flows: that, and their table",
                    thousands(*flows as f64)
                ),
                "at most 40 MiB",
                format!(
                    "{} (the table {})",
                    mebibytes(idle + bytes),
                    mebibytes(*bytes)
                ),
                "native",
            ));
        }
    }
    if figures.maps().next().is_some() {
        let sum = figures.maps().map(|(_, _, bytes)| bytes).sum();
        rows.push(row(
            "maps at defaults (what `bpftool map` says they take, one processor)",
            "at most 16 MiB",
            mebibytes(sum),
            "memory",
        ));
    }
    if let Some(bytes) = figures.size() {
        rows.push(row(
            "static binary, stripped",
            "at most 6 MiB",
            mebibytes(bytes),
            "size",
        ));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::write;
    use crate::bench::figures::{Figure, Figures};

    fn work(watcher: &str, work: &str, each: f64) -> Figure {
        Figure::Work {
            watcher: watcher.to_owned(),
            work: work.to_owned(),
            thread: vec![each, each + 2.0, each + 1.0],
            all: vec![each; 3],
        }
    }

    #[test]
    fn what_was_added_stands_beside_its_target() {
        let figures = Figures::new(vec![
            work("nobody", "normal", 300_000.0),
            work("fentry", "normal", 330_000.0),
            work("c", "normal", 320_000.0),
            Figure::Size { bytes: 7 << 20 },
        ]);
        let text = write(&figures).unwrap();
        let expected = "| not above the same capture in C | 30,000; in C 20,000 (factor 1.50) |";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("| at most 6 MiB | 7.0 MiB |"), "{text}");
        assert!(!text.contains("resident"), "{text}");
    }

    #[test]
    fn what_a_run_adds_is_what_its_work_adds_by_their_number() {
        let figures = Figures::new(vec![
            work("nobody", "half-closed", 10_000.0),
            work("fentry", "half-closed", 10_300.0),
            Figure::Program {
                watcher: "fentry".to_owned(),
                work: "half-closed".to_owned(),
                program: "p".to_owned(),
                items: 1_000,
                runs: 2_000,
                instructions: 1,
                skipped: 0,
            },
        ]);
        assert_eq!(figures.added_a_run("fentry", "half-closed"), Some(150.0));
    }

    #[test]
    fn shares_of_the_stages_are_the_whole() {
        let figures = Figures::new(vec![Figure::Throughput {
            decode: 8e6,
            with_verdict: 4e6,
            whole: 2e6,
            damaged: 1e6,
        }]);
        let text = write(&figures).unwrap();
        assert!(
            text.contains("decoding takes 25 %, the verdict 25 %"),
            "{text}"
        );
        assert!(text.contains("books and table 50 %"), "{text}");
    }
}
