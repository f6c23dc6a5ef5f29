//! What serving costs: `cargo bench --bench serving`.
//!
//! The node and a bare echo over the same broker run in child processes, one after the other; one connection sends
//! 397-byte requests at QoS 0 with a fixed number in flight. Printed are figures of one run on one machine, to be read as
//! ratios. Arguments: `--requests N` for each measurement (default
//! 300,000), `--window N` for that window's throughput alone, `--only echo|edge|cloud` for one role alone, `--accuracy` for the
//! delays alone, `--long` for the memory run of 5 million.

mod child;
mod load;

use std::time::{Duration, Instant};

use child::{Child, Role};
use load::{Load, Measured};
use nearfar::network::DelayLine;

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
    if has("--accuracy") {
        return accuracy();
    }
    let roles = match arguments.iter().position(|argument| argument == "--only") {
        Some(at) => vec![Role::named(arguments.get(at + 1)).expect("--only echo, edge or cloud")],
        None => vec![Role::Echo, Role::Edge, Role::Cloud],
    };
    if let Some(window) = after("--window") {
        return throughput(requests, &[window], &roles);
    }
    cold_start();
    throughput(requests, &[1, 16, 100, 1000], &roles);
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

/// Requests in flight to the cloud role: 100 ms worth at 400,000 a second.
const CLOUD_WINDOW: usize = 40_000;

fn throughput(requests: usize, windows: &[usize], roles: &[Role]) {
    println!("\n| window | what | answers/s | of echo | p50 µs | of echo | p99 µs |");
    println!("|---|---|---|---|---|---|---|");
    for &window in windows {
        // Alternating, so that a slow moment of the machine does not fall on one of them alone.
        let requests = if window == 1 { requests / 10 } else { requests };
        let mut rounds: Vec<_> = roles.iter().map(|&role| (role, Vec::new())).collect();
        for _ in 0..3 {
            for (role, measured) in &mut rounds {
                // A closed loop against 100 ms measures latency; throughput needs 100 ms worth in flight.
                let child = Child::start(*role);
                let mut load = Load::connect(child.address());
                let mut run = |requests| match role {
                    Role::Cloud => load.run_wide(requests, CLOUD_WINDOW),
                    Role::Echo | Role::Edge => load.run(requests, window),
                };
                run(requests / 10);
                measured.push(run(requests));
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

/// Sends 50 entries a millisecond over two delay lines of 50 ms, as a request goes up and its answer down: 5,000 are under way.
/// Nothing else runs, so this is the line's own error; `accuracy` shows what is left of it on busy cores.
fn delay_line_alone() {
    const ONE_WAY: Duration = Duration::from_millis(50);
    let (up, down) = (DelayLine::<Instant>::new(20_000), DelayLine::<Instant>::new(20_000));
    let (finish, finished) = std::sync::mpsc::sync_channel(1_000);
    let onward = down.clone();
    let uplink = up.run("up", move |due| {
        let now = Instant::now();
        onward.send(due.drain(..).map(|sent| (now + ONE_WAY, sent))).expect("the line has room");
    });
    let downlink = down.run("down", move |due| {
        let now = Instant::now();
        finish.send(due.drain(..).map(|sent| now - sent).collect::<Vec<_>>()).expect("somebody listens");
    });
    let started = Instant::now();
    let errors = std::thread::scope(|scope| {
        let collector = scope.spawn(move || finished.into_iter().flatten().collect::<Vec<Duration>>());
        for number in 0..2_000 {
            std::thread::sleep(
                (started + Duration::from_millis(number)).saturating_duration_since(Instant::now()),
            );
            let now = Instant::now();
            up.send((0..50).map(|_| (now + ONE_WAY, now))).expect("the line has room");
        }
        up.close();
        uplink.expect("a thread").join().expect("it ends");
        down.close();
        downlink.expect("a thread").join().expect("it ends");
        collector.join().expect("it ends")
    });
    let errors = errors.into_iter().map(|delay| (delay.as_secs_f64() * 1e3 - 100.0).abs()).collect();
    print_errors("delay lines alone, 50 ms each way, 5,000 under way: |delay - 100 ms|", errors);
}

fn print_errors(title: &str, mut errors_ms: Vec<f64>) {
    errors_ms.sort_by(f64::total_cmp);
    let quantile = |q: f64| errors_ms[((errors_ms.len() - 1) as f64 * q) as usize];
    println!(
        "\n{title}: p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
        quantile(0.5),
        quantile(0.99),
        quantile(1.0)
    );
}

/// How far delays are from the 100 ms decided: of the system's own timer, of delay lines alone, and of a node under load.
fn accuracy() {
    system_timer();
    delay_line_alone();
    let child = Child::start(Role::Cloud);
    let mut load = Load::connect(child.address());
    // 50 a millisecond over 100 ms: 5,000 in flight.
    let errors = load.delays_ms(100_000, 50).into_iter().map(|delay_ms| (delay_ms - 100.0).abs()).collect();
    print_errors("a node under load, 50 ms each way, 5,000 in flight: |delay - 100 ms|", errors);
}

/// What a sleeping thread can expect of this machine.
fn system_timer() {
    const SLEEP: Duration = Duration::from_millis(1);
    let overshoot = |_| {
        let started = Instant::now();
        std::thread::sleep(SLEEP);
        (started.elapsed() - SLEEP).as_secs_f64() * 1e3
    };
    print_errors("the system's timer, idle, 1 ms: overshoot", (0..1_000).map(overshoot).collect());
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
