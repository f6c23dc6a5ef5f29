//! How exact the delay line is: `cargo bench --bench delays`.
//!
//! Printed is the error of two delay lines of 50 ms with nothing else to do, beside what the system's own timer makes of a
//! millisecond. What is left of it in a node under load shows `nearfar bench --cloud-latency 50 --rate 50000`.

use nearfar::network::DelayLine;
use std::time::{Duration, Instant};

fn main() {
    system_timer();
    delay_line_alone();
}

/// Sends 50 entries a millisecond over two delay lines of 50 ms, as a request goes up and its answer down: 5,000 are under way.
/// Nothing else runs, so this is the line's own error.
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
