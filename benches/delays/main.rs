//! How exact the delay line is: `cargo bench --bench delays`.
//!
//! Printed is the error of delay lines that carry 10,000 messages and have nothing else
//! to do, once as a way there and back of constant delay and once as one line with
//! jitter, beside what the system's own timer makes of a millisecond. What is left of
//! it in a node under load shows `nearfar bench --cloud-latency 50 --rate 50000`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nearfar::network::{Delay, DelayLine, Direction, Letter, Link, LinkProfile, Shape};

fn main() {
    system_timer();
    there_and_back();
    with_jitter();
}

/// Entries a millisecond, and for how many milliseconds.
const RATE: u64 = 100;
const LASTS_MS: u64 = 2_000;

/// Sends 100 entries a millisecond over one delay line, each for a time between 0 and 200 ms
/// that was decided before: 10,000 are under way. They leave in another order than they came.
fn with_jitter() {
    let delay = Delay::uniform(0.0, 200.0).expect("these are delays");
    let uplink = LinkProfile { delay, ..LinkProfile::default() };
    let link = Link::new(Arc::new(Shape { uplink, ..Shape::default() }));
    let decide = |number| {
        let letter = Letter { number, party: number, bytes: 0, at: Duration::ZERO };
        link.decide(Direction::Uplink, letter).delay
    };
    let decided: Vec<_> = (0..RATE * LASTS_MS).map(decide).collect();
    let mut decided = decided.into_iter();
    let line = DelayLine::<Instant>::new(40_000);
    let (finish, finished) = std::sync::mpsc::sync_channel(10_000);
    let carrying = line.run("line", move |due| {
        let now = Instant::now();
        let errors = due.drain(..).map(|due| (now - due).as_secs_f64() * 1e3).collect::<Vec<_>>();
        finish.send(errors).expect("somebody listens");
    });
    let errors = std::thread::scope(|scope| {
        let collector = scope.spawn(move || finished.into_iter().flatten().collect::<Vec<f64>>());
        every_millisecond(|now| {
            let due = decided.by_ref().take(RATE as usize).map(|delay| (now + delay, now + delay));
            line.send(due).expect("the line has room");
        });
        line.close();
        carrying.expect("a thread").join().expect("it ends");
        collector.join().expect("it ends")
    });
    print_errors("one delay line, 0 to 200 ms, 10,000 under way: |measured - decided|", errors);
}

fn every_millisecond(mut act: impl FnMut(Instant)) {
    let started = Instant::now();
    for number in 0..LASTS_MS {
        std::thread::sleep(
            (started + Duration::from_millis(number)).saturating_duration_since(Instant::now()),
        );
        act(Instant::now());
    }
}

/// Sends 100 entries a millisecond over two delay lines of 50 ms, as a request goes up and
/// its answer down: 10,000 are under way. Nothing else runs, so this is the lines' own error.
fn there_and_back() {
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
    let errors = std::thread::scope(|scope| {
        let collector = scope.spawn(move || finished.into_iter().flatten().collect::<Vec<Duration>>());
        every_millisecond(|now| {
            up.send((0..RATE).map(|_| (now + ONE_WAY, now))).expect("the line has room");
        });
        up.close();
        uplink.expect("a thread").join().expect("it ends");
        down.close();
        downlink.expect("a thread").join().expect("it ends");
        collector.join().expect("it ends")
    });
    let errors = errors.into_iter().map(|delay| (delay.as_secs_f64() * 1e3 - 100.0).abs()).collect();
    print_errors("two delay lines, 50 ms each way, 10,000 under way: |measured - decided|", errors);
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
