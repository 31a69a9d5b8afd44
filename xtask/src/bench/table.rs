//! Figures beside their targets, and the tables behind them, as Markdown.

use std::fmt::Write;

use super::figures::{Figure, Figures, median, spread};

/// The agent as it is by default, as the laboratory calls it.
const DEFAULT: &str = "fentry";

/// Nobody watches.
const NOBODY: &str = "nobody";

/// How the names of programs that do nothing begin; the way to hook is the rest.
const EMPTY: &str = "empty ";

const MIB: f64 = (1 << 20) as f64;

/// Everything.
pub fn write(figures: &Figures) -> String {
    let parts = [
        summary(figures),
        handshakes(figures),
        mechanisms(figures),
        programs(figures),
        maps(figures),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

/// A line of the summary.
struct Row {
    figure: String,
    target: &'static str,
    measured: String,
    part: &'static str,
}

/// The figures that have a target.
fn summary(figures: &Figures) -> Option<String> {
    let mut rows = Vec::new();
    for path in ["normal", "cookie"] {
        let Some(added) = of(figures, DEFAULT, path) else {
            continue;
        };
        let beside = match of(figures, "c", path) {
            Some(c) => format!("{}; in C {}", thousands(added), thousands(c)),
            None => thousands(added),
        };
        rows.push(Row {
            figure: format!("instructions added per passive handshake, {}", way(path)),
            target: "not above the same capture in C",
            measured: beside,
            part: "handshakes",
        });
    }
    if let Some((bytes, of_maps)) = figures.resident(0) {
        rows.push(Row {
            figure: "resident memory with nothing to do (VmRSS once /readyz says yes)".to_owned(),
            target: "at most 12 MiB",
            measured: format!(
                "{}, of which {} are mappings of maps",
                mebibytes(bytes),
                mebibytes(of_maps)
            ),
            part: "memory",
        });
    }
    if figures.maps().next().is_some() {
        let sum = figures.maps().map(|(_, _, bytes)| bytes).sum();
        rows.push(Row {
            figure: "maps at defaults (what `bpftool map` says they take, one processor)"
                .to_owned(),
            target: "at most 16 MiB",
            measured: mebibytes(sum),
            part: "memory",
        });
    }
    if let Some(bytes) = figures.size() {
        rows.push(Row {
            figure: "static binary, stripped".to_owned(),
            target: "at most 6 MiB",
            measured: mebibytes(bytes),
            part: "size",
        });
    }
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

/// What a handshake takes more than when nobody watches, on the path of its packets.
fn of(figures: &Figures, watcher: &str, path: &str) -> Option<f64> {
    let (thread, _) = figures.handshake(watcher, path)?;
    let (without, _) = figures.handshake(NOBODY, path)?;
    Some(median(thread) - median(without))
}

/// Watchers beside each other.
fn handshakes(figures: &Figures) -> Option<String> {
    let mut text = "Instructions of one passive handshake and its RST, the medians of five times 400. \
        *On the path*: what the thread executes that hands the packets to the kernel, programs included; \
        in brackets how far the five lie apart. *In all*: of the whole machine, the agent's own work for \
        what it is told included.\n\n\
        | watched by | connection | on the path | added | in all | added |\n|---|---|---|---|---|---|"
        .to_owned();
    let mut rows = 0;
    let mut told = Vec::new();
    for (watcher, path, thread, all) in figures.handshakes() {
        if watcher.starts_with(EMPTY) || told.contains(&(watcher, path)) {
            continue;
        }
        told.push((watcher, path));
        let (without, without_all) = figures.handshake(NOBODY, path)?;
        let more = |value: f64, than: f64| match watcher {
            NOBODY => String::new(),
            _ => thousands(value - than),
        };
        let (on_path, in_all) = (median(thread), median(all));
        let _ = write!(
            text,
            "\n| {} | {} | {} (±{}) | {} | {} | {} |",
            who(watcher),
            way(path),
            thousands(on_path),
            thousands(spread(thread)),
            more(on_path, median(without)),
            thousands(in_all),
            more(in_all, median(without_all)),
        );
        rows += 1;
    }
    (rows > 0).then_some(text)
}

/// Ways to hook beside each other.
fn mechanisms(figures: &Figures) -> Option<String> {
    let mut text = "What a hook costs before its program does anything: programs that return at once \
        (benches/reference/empty.bpf.c), on `tcp_rcv_state_process`, the raw tracepoint on \
        `inet_sock_set_state`. *Added* is what the packets' path takes more for each run, the kernel's way \
        to the program and back included; *of the program* is what the kernel counts for it.\n\n\
        | hook | runs a handshake | added a run | of the program | skipped |\n|---|---|---|---|---|"
        .to_owned();
    let mut rows = 0;
    for figure in figures.all() {
        let Figure::Program {
            watcher,
            path,
            items,
            runs,
            instructions,
            skipped,
            ..
        } = figure
        else {
            continue;
        };
        let Some(mechanism) = watcher.strip_prefix(EMPTY) else {
            continue;
        };
        let (handshakes, runs) = (*items as f64, *runs as f64);
        let added = of(figures, watcher, path)? * handshakes / runs;
        let _ = write!(
            text,
            "\n| {mechanism} | {} | {} | {} | {skipped} |",
            runs / handshakes,
            thousands(added),
            thousands(*instructions as f64 / runs),
        );
        rows += 1;
    }
    (rows > 0).then_some(text)
}

/// Program by program.
fn programs(figures: &Figures) -> Option<String> {
    let mut text = "What the kernel counts of each program (`kernel.bpf_stats_enabled`) during 400 of these \
        handshakes, and the RST that ends each.\n\n\
        | by | connection | program | runs a handshake | instructions a run | a handshake | skipped |\n\
        |---|---|---|---|---|---|---|"
        .to_owned();
    let mut rows = 0;
    for figure in figures.all() {
        let Figure::Program {
            watcher,
            path,
            program,
            items,
            runs,
            instructions,
            skipped,
        } = figure
        else {
            continue;
        };
        if watcher.starts_with(EMPTY) {
            continue;
        }
        let (handshakes, runs) = (*items as f64, *runs as f64);
        let instructions = *instructions as f64;
        let _ = write!(
            text,
            "\n| {} | {} | `{program}` | {} | {} | {} | {skipped} |",
            who(watcher),
            way(path),
            runs / handshakes,
            thousands(instructions / runs),
            thousands(instructions / handshakes),
        );
        rows += 1;
    }
    (rows > 0).then_some(text)
}

/// Map by map.
fn maps(figures: &Figures) -> Option<String> {
    let mut text = "The maps, those of less than 0.05 MiB left out:\n\n\
        | map | entries | MiB |\n|---|---|---|"
        .to_owned();
    let mut rows = 0;
    for (map, entries, bytes) in figures
        .maps()
        .filter(|(_, _, bytes)| *bytes as f64 >= 0.05 * MIB)
    {
        let _ = write!(
            text,
            "\n| `{map}` | {} | {:.2} |",
            thousands(entries as f64),
            bytes as f64 / MIB
        );
        rows += 1;
    }
    (rows > 0).then_some(text)
}

/// Who watches, in words.
fn who(watcher: &str) -> &str {
    match watcher {
        "fentry" => "`tcpwnd run` (fentry, fexit, raw tracepoint)",
        "kprobe" => "`tcpwnd run --mechanism kprobe`",
        "c" => "the same capture in C",
        "talk" => "the way of the talk",
        other => other,
    }
}

/// How a connection comes about, in words.
fn way(path: &str) -> &str {
    match path {
        "cookie" => "by SYN cookie",
        other => other,
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB)
}

/// A whole number with its thousands apart.
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let minus = if value < 0.0 && digits != "0" {
        "−"
    } else {
        ""
    };
    format!("{minus}{text}")
}

#[cfg(test)]
mod tests {
    use super::{thousands, write};
    use crate::bench::figures::{Figure, Figures};

    #[test]
    fn numbers_can_be_read() {
        assert_eq!(thousands(0.4), "0");
        assert_eq!(thousands(-0.4), "0");
        assert_eq!(thousands(999.6), "1,000");
        assert_eq!(thousands(-1_234_567.0), "−1,234,567");
    }

    #[test]
    fn what_was_added_stands_beside_its_target() {
        let handshake = |watcher: &str, each: f64| Figure::Handshake {
            watcher: watcher.to_owned(),
            path: "normal".to_owned(),
            thread: vec![each, each + 2.0, each + 1.0],
            all: vec![each; 3],
        };
        let figures = Figures::new(vec![
            handshake("nobody", 300_000.0),
            handshake("fentry", 330_000.0),
            Figure::Size { bytes: 7 << 20 },
        ]);
        let text = write(&figures);
        assert!(
            text.contains("handshake, normal | not above the same capture in C | 30,000 |"),
            "{text}"
        );
        assert!(text.contains("| at most 6 MiB | 7.0 MiB |"), "{text}");
        assert!(!text.contains("resident"), "{text}");
    }
}
