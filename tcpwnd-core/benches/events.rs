//! What it takes to turn records into verdicts, stage by stage, for finding out when it takes longer.
//!
//! `cargo bench -p tcpwnd-core --bench events -- --save-baseline before` keeps what it measures under a name,
//! and `-- --baseline before` says later of each whether it became slower. A baseline is good for one
//! machine, so that none is kept with the sources.

mod common;

use std::hint::black_box;

use common::{Records, engine, of_client, recorded};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tcpwnd_core::decode::{Record, decode};
use tcpwnd_core::detect::window_scale::{Context, judge};

/// Damaged connections that are open when the table of them is measured: more than the agent remembers.
const OPEN: u32 = 100_000;

fn decoding(criterion: &mut Criterion) {
    let Records { sound, .. } = recorded();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(sound.len() as u64));
    group.bench_function("handshake", |bencher| {
        bencher.iter(|| {
            sound
                .iter()
                .filter(|record| decode(black_box(record)).is_ok())
                .count()
        });
    });
    group.finish();
}

fn verdicts(criterion: &mut Criterion) {
    let records = recorded();
    let context = Context::default();
    let mut group = criterion.benchmark_group("verdict");
    for (name, sort) in [("sound", &records.sound), ("damaged", &records.damaged)] {
        let decoded: Vec<_> = sort
            .iter()
            .filter_map(|record| decode(record).ok())
            .collect();
        group.throughput(Throughput::Elements(decoded.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for record in &decoded {
                    if let Record::Handshake(record, _) = record {
                        black_box(judge(black_box(record), &context));
                    }
                }
            });
        });
    }
    group.finish();
}

fn flows(criterion: &mut Criterion) {
    let Records {
        damaged, closed, ..
    } = recorded();
    let mut engine = engine(OPEN as usize);
    for number in 0..OPEN - 1 {
        engine
            .ingest(&of_client(&damaged[0], number))
            .expect("a record");
    }
    let (opens, ends) = (of_client(&damaged[0], OPEN), of_client(&closed[0], OPEN));
    let mut group = criterion.benchmark_group("flow table");
    group.throughput(Throughput::Elements(2));
    group.bench_function("a damaged connection and its end", |bencher| {
        bencher.iter(|| {
            let _ = black_box(engine.ingest(black_box(&opens)));
            let _ = black_box(engine.ingest(black_box(&ends)));
        });
    });
    group.finish();
    // What a scrape asks of it.
    criterion.bench_function("scrape/100,000 open connections by port", |bencher| {
        bencher.iter(|| black_box(engine.flows().ports()));
    });
}

fn whole(criterion: &mut Criterion) {
    let Records { sound, .. } = recorded();
    let mut engine = engine(OPEN as usize);
    let mut group = criterion.benchmark_group("record to verdict and books");
    group.throughput(Throughput::Elements(sound.len() as u64));
    group.bench_function("sound", |bencher| {
        bencher.iter(|| {
            for record in &sound {
                let _ = black_box(engine.ingest(black_box(record)));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, decoding, verdicts, flows, whole);
criterion_main!(benches);
