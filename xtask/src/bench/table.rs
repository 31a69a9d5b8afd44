//! The tables behind the figures that have a target, as Markdown.

use std::fmt::Write;

use super::figures::{Figures, NOBODY, median, spread};
use super::summary;
use super::words::{EMPTY, MIB, thousands, what, who};

/// Work that is done to compare hooks: handshakes.
const HOOK: &str = "hook";

/// Everything.
pub fn write(figures: &Figures) -> String {
    let parts = [
        summary::write(figures),
        work(figures),
        mechanisms(figures),
        programs(figures),
        maps(figures),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

/// Watchers beside each other.
fn work(figures: &Figures) -> Option<String> {
    let mut text = "Instructions, the medians of five batches: for a passive handshake and its RST (200 of \
        them), for a MB over the loopback device (16.4 MB), for a segment of 100 bytes to an end that has said \
        its last word (1,000), with its ACK. *On the path*: what the thread executes that hands packets to \
        the kernel, programs included; in brackets how far the five lie apart. *In all*: of the whole machine, \
        what the agent does with what it is told included.\n\n\
        | work | watched by | on the path | added | in all | added |\n|---|---|---|---|---|---|"
        .to_owned();
    let mut rows = 0;
    let mut told = Vec::new();
    for (watcher, work, thread, all) in figures.work() {
        if work == HOOK || told.contains(&(watcher, work)) {
            continue;
        }
        told.push((watcher, work));
        let (without, without_all) = figures.work_of(NOBODY, work)?;
        let more = |value: f64, than: f64| match watcher {
            NOBODY => String::new(),
            _ => thousands(value - than),
        };
        let (on_path, in_all) = (median(thread), median(all));
        let _ = write!(
            text,
            "\n| {} | {} | {} (±{}) | {} | {} | {} |",
            what(work),
            who(watcher),
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
    for program in figures.programs().filter(|program| program.work == HOOK) {
        let _ = write!(
            text,
            "\n| {} | {} | {} | {} | {} |",
            program.watcher.trim_start_matches(EMPTY),
            program.runs(),
            thousands(figures.added_a_run(&program.watcher, HOOK)?),
            thousands(program.each()),
            program.skipped,
        );
        rows += 1;
    }
    (rows > 0).then_some(text)
}

/// Program by program.
fn programs(figures: &Figures) -> Option<String> {
    let mut text = "What the kernel counts of each program (`kernel.bpf_stats_enabled`) during one more batch.\n\n\
        | by | for each | program | runs | instructions a run | for each | skipped |\n\
        |---|---|---|---|---|---|---|"
        .to_owned();
    let mut rows = 0;
    for program in figures.programs().filter(|program| program.work != HOOK) {
        let _ = write!(
            text,
            "\n| {} | {} | `{}` | {} | {} | {} | {} |",
            who(&program.watcher),
            what(&program.work),
            program.program,
            program.runs(),
            thousands(program.each()),
            thousands(program.each() * program.runs()),
            program.skipped,
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
