//! Moving averages over one, five and fifteen minutes, as Mosquitto computes them:
//! what comes in a minute, of which older minutes count for exponentially less.

use std::time::Duration;

/// The three averages' names and how far back they look.
const SPANS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// The averages of one counter.
#[derive(Debug, Default)]
pub struct Load {
    counted: u64,
    averages: [f64; SPANS.len()],
}

impl Load {
    /// Takes the counter's new value, `elapsed` after the last one.
    pub fn update(&mut self, counted: u64, elapsed: Duration) {
        let elapsed_s = elapsed.as_secs_f64();
        if elapsed_s <= 0.0 {
            return;
        }
        let a_minute = counted.saturating_sub(self.counted) as f64 * 60.0 / elapsed_s;
        self.counted = counted;
        for (average, (_, span_s)) in self.averages.iter_mut().zip(SPANS) {
            *average = a_minute + (-elapsed_s / span_s).exp() * (*average - a_minute);
        }
    }

    /// Each average's name and value.
    pub fn averages(&self) -> impl Iterator<Item = (&'static str, f64)> {
        SPANS.iter().map(|(name, _)| *name).zip(self.averages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn rounded(load: &Load) -> Vec<String> {
        load.averages().map(|(name, value)| format!("{name} {value:.2}")).collect()
    }

    #[test]
    fn a_steady_rate_is_approached_sooner_by_the_shorter_averages() {
        let mut load = Load::default();
        load.update(100, INTERVAL);
        // 600 a minute; of it 1 - exp(-10/60), 1 - exp(-10/300) and 1 - exp(-10/900).
        assert_eq!(rounded(&load), ["1min 92.11", "5min 19.67", "15min 6.63"]);
        (2..=600).for_each(|round| load.update(100 * round, INTERVAL));
        assert!(load.averages().all(|(_, value)| (value - 600.0).abs() < 1.0), "{load:?}");
    }

    #[test]
    fn the_interval_does_not_matter_where_the_rate_is_the_same() {
        let [mut often, mut seldom] = [Load::default(), Load::default()];
        (1..=60).for_each(|second| often.update(3 * second, Duration::from_secs(1)));
        seldom.update(180, Duration::from_secs(60));
        assert_eq!(rounded(&often), rounded(&seldom));
    }

    #[test]
    fn no_time_and_no_messages_make_no_nonsense() {
        let mut load = Load::default();
        load.update(5, Duration::ZERO);
        load.update(5, INTERVAL);
        assert_eq!(rounded(&load)[0], "1min 4.61");
        (0..1_000).for_each(|_| load.update(5, INTERVAL));
        assert_eq!(rounded(&load), ["1min 0.00", "5min 0.00", "15min 0.00"]);
    }
}
