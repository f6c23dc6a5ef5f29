//! What serving costs: `cargo bench --bench serving`.
//!
//! The node and a bare echo over the same broker run in child processes, one after the other; one connection sends
//! 397-byte requests at QoS 0 with a fixed number in flight. Printed are figures of one run on one machine, to be read as
//! ratios. Arguments: `--requests N` for each measurement (default 300,000), `--window N` for that window's throughput alone,
//! `--long` for the memory run of 5 million.

mod child;
mod load;

use std::time::Duration;

use child::{Child, Role};
use load::{Load, Measured};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(role) = Role::from_arguments(&arguments) {
        return role.run();
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let after = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1)?.parse().ok()
    };
    let requests = after("--requests").unwrap_or(300_000);
    if let Some(window) = after("--window") {
        return throughput(requests, &[window]);
    }
    cold_start();
    throughput(requests, &[1, 16, 100, 1000]);
    accuracy();
    memory(if has("--long") { 5_000_000 } else { 1_000_000 });
}

/// From the start of the process to its first answer.
fn cold_start() {
    let mut starts: Vec<Duration> = (0..11)
        .map(|_| {
            let child = Child::start(Role::Edge);
            Load::connect(child.address()).run(1, 1);
            child.age()
        })
        .collect();
    starts.sort();
    println!(
        "cold start to first answer: median {:?}, worst {:?} of {}",
        starts[5],
        starts[10],
        starts.len()
    );
}

/// Requests in flight to the cloud role: what a burst may hold before this generator, which writes before it reads, lags
/// behind the broker's log.
const CLOUD_WINDOW: usize = 12_000;

fn throughput(requests: usize, windows: &[usize]) {
    println!("\n| window | what | answers/s | of echo | p50 µs | of echo | p99 µs |");
    println!("|---|---|---|---|---|---|---|");
    for &window in windows {
        // Alternating, so that a slow moment of the machine does not fall on one of them alone.
        let requests = if window == 1 { requests / 10 } else { requests };
        let mut rounds = [Role::Echo, Role::Edge, Role::Cloud].map(|role| (role, Vec::new()));
        for _ in 0..3 {
            for (role, measured) in &mut rounds {
                // A closed loop against 100 ms measures latency; throughput needs 100 ms worth in flight.
                let window = if *role == Role::Cloud { CLOUD_WINDOW } else { window };
                let child = Child::start(*role);
                let mut load = Load::connect(child.address());
                load.run(requests / 10, window);
                measured.push(load.run(requests, window));
            }
        }
        let echo = Measured::median(&rounds[0].1);
        for (role, measured) in &rounds {
            let median = Measured::median(measured);
            let (rate, p50) = (median.rate(), median.latency_us(0.5));
            println!(
                "| {} | {role:?} | {rate:.0} | {:.2} | {p50:.0} | {:.2} | {:.0} |",
                if *role == Role::Cloud { CLOUD_WINDOW } else { window },
                rate / echo.rate(),
                p50 / echo.latency_us(0.5),
                median.latency_us(0.99)
            );
        }
    }
}

/// The delay line's error: the delay measured beyond the 100 ms decided, with 5,000 requests in flight.
fn accuracy() {
    let child = Child::start(Role::Cloud);
    let mut load = Load::connect(child.address());
    // 50 a millisecond over 100 ms: 5,000 in flight.
    let mut errors: Vec<f64> =
        load.delays_ms(100_000, 50).into_iter().map(|delay_ms| (delay_ms - 100.0).abs()).collect();
    errors.sort_by(f64::total_cmp);
    let quantile = |q: f64| errors[((errors.len() - 1) as f64 * q) as usize];
    println!(
        "\ndelay line, 50 ms each way, 5,000 in flight: |delay - 100 ms| p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
        quantile(0.5),
        quantile(0.99),
        quantile(1.0)
    );
}

fn memory(requests: usize) {
    let child = Child::start(Role::Edge);
    println!("\nresident memory: {:.1} MiB at start", child.resident_mib());
    let mut load = Load::connect(child.address());
    for _ in 0..requests / 1_000_000 {
        load.run(1_000_000, 100);
        println!("resident memory: {:.1} MiB after {} requests", child.resident_mib(), load.sent());
    }
}
