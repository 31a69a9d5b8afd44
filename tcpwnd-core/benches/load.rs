//! Figures for docs/overhead.md (`cargo xtask bench --part native`): events a second on one core with the
//! share of each stage, how long one waits at 100,000 a second, and what 100,000 open damaged connections
//! take. One JSON object a line.

mod common;

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{Records, engine, of_client, recorded};
use tcpwnd_core::decode::{Record, decode};
use tcpwnd_core::detect::window_scale::{Context, judge};

/// How long each stage is measured.
const LENGTH: Duration = Duration::from_secs(2);

/// Events a second when waiting is measured, and for how many.
const RATE: u64 = 100_000;
const EVENTS: u64 = 3 * RATE;

/// Open damaged connections whose memory is measured.
const OPEN: u32 = 100_000;

/// Passes over them, of which the one in the middle is told.
const PASSES: usize = 51;

fn main() {
    let records = recorded();
    throughput(&records);
    waiting(&records);
    memory(&records);
}

/// How often `work` is done with each record in a second on a processor: what others take of it
/// meanwhile does not count.
fn per_second(records: &[Vec<u8>], mut work: impl FnMut(&[u8])) -> f64 {
    let (begun, mut done) = (on_processor(), 0);
    while on_processor() - begun < LENGTH {
        for _ in 0..1_000 {
            records.iter().for_each(|record| work(black_box(record)));
        }
        done += 1_000 * records.len();
    }
    done as f64 / (on_processor() - begun).as_secs_f64()
}

/// How long this thread has been on a processor (the first number of `/proc/PID/schedstat`).
fn on_processor() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let number = text.split_whitespace().next();
    Duration::from_nanos(
        number
            .and_then(|number| number.parse().ok())
            .expect("schedstat"),
    )
}

/// Each stage with those before it, of sound handshakes.
fn throughput(records: &Records) {
    let context = Context::default();
    let decoded = per_second(&records.sound, |record| {
        let _ = black_box(decode(record));
    });
    let judged = per_second(&records.sound, |record| {
        if let Ok(Record::Handshake(record, _)) = decode(record) {
            black_box(judge(&record, &context));
        }
    });
    let mut engine = engine(OPEN as usize);
    let whole = per_second(&records.sound, |record| {
        let _ = black_box(engine.ingest(record));
    });
    // Each is put into the table of open ones, and taken out again.
    let pairs = records.damaged.iter().zip(&records.closed);
    let pairs: Vec<_> = pairs
        .flat_map(|(one, end)| [one.clone(), end.clone()])
        .collect();
    let damaged = per_second(&pairs, |record| {
        let _ = black_box(engine.ingest(record));
    });
    println!(
        r#"{{"figure":"throughput","decode":{decoded:.0},"with_verdict":{judged:.0},"whole":{whole:.0},"damaged":{damaged:.0}}}"#
    );
}

/// Records come at fixed times, whether the one before is done or not; each waits until its verdict.
fn waiting(records: &Records) {
    let mut engine = engine(OPEN as usize);
    let mut waited = Vec::with_capacity(EVENTS as usize);
    let begun = Instant::now();
    for number in 0..EVENTS {
        let due = Duration::from_nanos(number * 1_000_000_000 / RATE);
        while begun.elapsed() < due {
            std::hint::spin_loop();
        }
        let record = &records.sound[number as usize % records.sound.len()];
        let _ = black_box(engine.ingest(black_box(record)));
        waited.push(begun.elapsed() - due);
    }
    waited.sort_unstable();
    let at = |share: f64| waited[(share * (waited.len() - 1) as f64) as usize].as_nanos();
    println!(
        r#"{{"figure":"waiting","rate":{RATE},"p50_ns":{},"p99_ns":{},"most_ns":{}}}"#,
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// What a table of that many takes, whatever the agent's limit is, and a scrape's pass over it.
fn memory(records: &Records) {
    let mut engine = engine(OPEN as usize);
    let before = resident();
    for number in 0..OPEN {
        let _ = engine.ingest(&of_client(&records.damaged[0], number));
    }
    let bytes = resident() - before;
    assert_eq!(
        engine.flows().len(),
        OPEN as usize,
        "not all of them are open"
    );
    let mut passes: Vec<_> = (0..PASSES)
        .map(|_| {
            // Too short for what the kernel accounts.
            let begun = Instant::now();
            black_box(engine.flows().ports());
            begun.elapsed()
        })
        .collect();
    passes.sort_unstable();
    let pass = passes[PASSES / 2].as_nanos();
    println!(r#"{{"figure":"flows","flows":{OPEN},"bytes":{bytes},"pass_ns":{pass}}}"#);
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    1024 * number.expect("the kernel says VmRSS")
}
