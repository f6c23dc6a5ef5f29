//! What each part costs alone: `cargo bench --bench parts`.
//!
//! Reading a request and writing a result, the model on a batch, a delay line, and
//! the broker between two links in this process. Criterion prints times and compares
//! them with the run before; on shared machines read the ratios.

use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nearfar::Detector;
use nearfar::broker::{Broker, Config};
use nearfar::mqtt::Message;
use nearfar::network::DelayLine;
use nearfar::wire::{Answer, Limits, parse_request, write_result};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/anomaly_detector");
const BATCHES: [usize; 4] = [1, 8, 32, 128];

fn payload(features: usize) -> Vec<u8> {
    let values: Vec<_> =
        (0..features).map(|at| format!("0.{:07}", (1_234_567 + at * 54_321) % 10_000_000)).collect();
    format!(r#"{{"device_id":"bench","timestamp_us":1700000000000000,"features":[{}]}}"#, values.join(","))
        .into_bytes()
}

fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read a request");
    for features in [32, 256, 4_096] {
        let payload = payload(features);
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(features), |bencher| {
            bencher.iter(|| {
                parse_request(black_box(&payload), features, Limits::default()).expect("it is a request")
            });
        });
    }
}

fn writing(criterion: &mut Criterion) {
    let request = parse_request(&payload(32), 32, Limits::default()).expect("it is a request");
    let answer = Answer {
        prediction: 0.123_456_7,
        inference: Duration::from_micros(2),
        network: Duration::ZERO,
        total: Duration::from_micros(80),
        model: None,
        model_version: None,
        anomaly: None,
        placement: None,
        reason: None,
        stages: None,
        network_revision: None,
        network_back_revision: None,
        state: None,
        tail_probability: None,
        alarm_threshold: None,
        contributions: None,
    };
    let mut json = Vec::new();
    criterion.bench_function("write a result", |bencher| {
        bencher.iter(|| {
            json.clear();
            write_result(&mut json, black_box(&request.caller), black_box(&answer));
            json.len()
        });
    });
}

fn thinking(criterion: &mut Criterion) {
    let mut detector = Detector::load(MODEL).expect("the shipped model loads");
    let mut group = criterion.benchmark_group("score a batch");
    for batch in BATCHES {
        let rows: Vec<f32> = (0..batch * 32).map(|at| 0.5 + (at % 7) as f32 * 0.05).collect();
        let mut predictions = Vec::new();
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::from_parameter(batch), |bencher| {
            bencher.iter(|| {
                detector.predict_batch(black_box(&rows), &mut predictions).expect("the rows are whole")
            });
        });
    }
}

/// Entries that are due at once, so that only the line's own work is measured, and
/// the thread's wake-up for each burst.
fn delaying(criterion: &mut Criterion) {
    let line = DelayLine::<usize>::new(4_096);
    let (finish, finished) = sync_channel(64);
    let thread =
        line.run("bench", move |due| finish.send(std::mem::take(due).len()).expect("somebody listens"));
    let mut group = criterion.benchmark_group("delay a burst that is due");
    for burst in [1, 64, 1_024] {
        group.throughput(Throughput::Elements(burst as u64));
        group.bench_function(BenchmarkId::from_parameter(burst), |bencher| {
            bencher.iter(|| {
                let now = Instant::now();
                line.send((0..burst).map(|entry| (now, entry))).expect("the line has room");
                let mut left = burst;
                while left > 0 {
                    left -= finished.recv().expect("the line lives");
                }
            });
        });
    }
    group.finish();
    line.close();
    thread.expect("a thread").join().expect("it ends");
}

/// From one link to another through the router, as requests come to a deployment.
fn carrying(criterion: &mut Criterion) {
    let broker = Broker::start(Config::loopback()).expect("the broker starts");
    let (publisher, _own) = broker.link("publisher").expect("it takes a link");
    let (_unused, mut subscriber) = broker.link("subscriber").expect("it takes a link");
    subscriber.subscribe(&["request".to_owned()]).expect("it can subscribe");
    let mut received = Vec::new();
    let mut group = criterion.benchmark_group("carry a batch between links");
    for batch in [1, 64] {
        let messages = vec![Message::new("request", payload(32)); batch];
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::from_parameter(batch), |bencher| {
            bencher.iter_batched_ref(
                || messages.clone(),
                |messages| {
                    publisher.publish(messages).expect("the broker lives");
                    received.clear();
                    while received.len() < batch {
                        subscriber.receive(&mut received, batch).expect("the broker lives");
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(parts, reading, writing, thinking, delaying, carrying);
criterion_main!(parts);
