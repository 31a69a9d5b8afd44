//! The figures that have a target, beside it.

use std::fmt::Write;

use super::figures::{Figure, Figures, NOBODY, median, spread};
use super::words::{mebibytes, thousands, what};

/// The agent as it is by default, as the laboratory calls it.
const DEFAULT: &str = "fentry";

/// What it is compared with.
const OTHERS: [(&str, &str); 5] = [
    ("c", "in C"),
    ("bpftrace evidence", "most of it in bpftrace"),
    ("bpftrace", "only the two scales in bpftrace"),
    ("talk", "the way of the talk"),
    ("bpftrace talk", "the same in bpftrace"),
];

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
        start(figures).into_iter().collect(),
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
        for (watcher, name) in OTHERS {
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
        let target = "not above the same capture in C, below half of it in bpftrace";
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
            returned,
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
                "{} accepted in {seconds:.0} s (and {} attempts that ended in a RST or without an \
                 answer), {} judged, {damaged} damaged, {unverified} unverified, {lost} lost",
                thousands(*accepted as f64),
                thousands(*returned as f64),
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

/// The agent's start beside bpftrace's, and what each of its steps is of it.
fn start(figures: &Figures) -> Option<Row> {
    let own = figures.start(DEFAULT)?;
    let ready = median(&own.all);
    let mut measured = format!("{ready:.0} ms");
    for (watcher, name) in OTHERS {
        if let Some(other) = figures.start(watcher) {
            let other = median(&other.all);
            let _ = write!(
                measured,
                "; {name} {other:.0} ms (factor {:.3})",
                ready / other
            );
        }
    }
    let shares = own.steps.first()?.iter().map(|(name, _)| {
        let times = own.steps.iter().flatten().filter(|(step, _)| step == name);
        let times: Vec<_> = times.map(|(_, time)| *time).collect();
        format!("{name} {:.0} %", 100.0 * median(&times) / ready)
    });
    let shares: Vec<_> = shares.collect();
    let _ = write!(measured, "; of it {}", shares.join(", "));
    Some(row(
        "from start to ready (the clock of the VM is instructions)",
        "below a tenth of bpftrace's",
        measured,
        "start",
    ))
}

/// Nothing is asked of a scrape but that it is known.
fn scrapes(figures: &Figures) -> Vec<Row> {
    let of = |figure: &Figure| match figure {
        Figure::Scrape { flows, all } => Some(row(
            &format!(
                "a scrape with {} damaged connections open, instructions in all (its client's and the kernel's too)",
                thousands(*flows as f64)
            ),
            "none",
            thousands(median(all)),
            "memory",
        )),
        Figure::Flows { flows, pass_ns, .. } => Some(row(
            &format!(
                "a scrape's pass over {} open damaged connections, on this machine",
                thousands(*flows as f64)
            ),
            "none",
            format!("{:.2} ms", *pass_ns as f64 / 1e6),
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
        if let (Figure::Flows { flows, bytes, .. }, Some((idle, _))) = (figure, idle) {
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
    rows.extend(scrapes(figures));
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
    use crate::bench::figures::{Figure, Figures, Start};

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
        let expected = "below half of it in bpftrace | 30,000; in C 20,000 (factor 1.50) |";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("| at most 6 MiB | 7.0 MiB |"), "{text}");
        assert!(!text.contains("resident"), "{text}");
    }

    #[test]
    fn what_a_run_adds_is_what_its_work_adds_by_their_number() {
        let figures = Figures::new(vec![
            work("nobody", "half-closed", 10_000.0),
            work("fentry", "half-closed", 10_300.0),
        ]);
        let program = r#"{"figure":"program","watcher":"fentry","work":"half-closed","program":"p",
            "items":1000,"runs":2000,"instructions":1,"skipped":0}"#;
        let program = serde_json::from_str(program).unwrap();
        let figures = Figures::new(figures.all().cloned().chain([program]).collect());
        assert_eq!(figures.added_a_run("fentry", "half-closed"), Some(150.0));
    }

    #[test]
    fn steps_are_parts_of_the_start() {
        let start = |watcher: &str, all: f64, steps: &[(&str, f64)]| {
            let steps = steps.iter().map(|(name, time)| ((*name).to_owned(), *time));
            Figure::Start(Start {
                watcher: watcher.to_owned(),
                all: vec![all; 3],
                steps: vec![steps.collect()],
            })
        };
        let figures = Figures::new(vec![
            start("fentry", 400.0, &[("BTF", 100.0), ("load", 200.0)]),
            start("bpftrace", 5_000.0, &[]),
        ]);
        let text = write(&figures).unwrap();
        let expected = "| 400 ms; only the two scales in bpftrace 5000 ms (factor 0.080); of it BTF 25 %, load 50 % |";
        assert!(text.contains(expected), "{text}");
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
