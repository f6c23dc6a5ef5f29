//! What suits one feature of which nothing else is known: several detectors of different kinds, of which each
//! sees what the others do not, and whichever finds something.
//!
//! Chosen by theory and on series made for it (spikes, steps, drifts, noise, flat lines and odd shapes on
//! waves, autoregressions, heavy tails, switches, loads, counts and traffic), beside six series of the
//! Numenta benchmark.

use super::budget::Budget;
use super::fusion::Fusion;
use super::settings::{DetectorSettings, Kind, Period, Settings, SmoothedSettings};

/// Of so many of its own scores a device knows how rare one is.
const WINDOW: usize = 1000;
/// After so many rows a new level is what is normal.
const ADOPT_AFTER: u32 = 300;

/// Detectors, tails and rules for rows of one feature, normalised to a deviation of about 1, that keep to a
/// budget of false alarms.
pub fn univariate(budget: Budget) -> Settings {
    let seasonal = Kind::Seasonal { period: Period::Day, buckets: 48 };
    let one = |kind| DetectorSettings { window: WINDOW, ..DetectorSettings::new(kind) };
    let slowly = SmoothedSettings { rate: 0.1, score_max: 8.0 };
    let detectors = vec![
        one(Kind::Baseline { rate: 0.0005, smoothing: 1.0, two_sided: true }),
        one(Kind::Linear { order: 3, keeps: 0.999 }),
        one(seasonal.clone()),
        DetectorSettings { smoothed: Some(slowly), ..one(seasonal) },
        one(Kind::Discord { feature: 0, length: 24, samples: 1000, deviation_floor: 0.5 }),
    ];
    let settings = Settings::new(detectors, budget);
    Settings { fusion: Fusion::Any, adopt_after: ADOPT_AFTER, ..settings }
}

#[cfg(test)]
mod tests {
    use super::super::{Learnt, Row, State};
    use super::*;

    /// A hash of the place, as numbers from -0.5 to 0.5.
    fn noise(at: usize) -> f32 {
        let mut hash = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
        hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (hash >> 40) as f32 / (1 << 24) as f32 - 0.5
    }

    #[test]
    fn faults_of_each_kind_are_found_on_a_daily_wave_within_the_budget() {
        let usual = |at: usize| (at as f32 * std::f32::consts::TAU / 288.0).sin() * 1.3 + 0.3 * noise(at);
        /// The value so many rows after the fault began that would have been this one.
        type Fault = fn(usize, f32) -> f32;
        let faults: [(&str, Fault); 5] = [
            ("a spike", |at, value| if at == 0 { value + 4.0 } else { value }),
            ("a step", |_, value| value + 2.0),
            ("noise", |at, value| value + 3.0 * noise(at + 99_999)),
            ("a flat line", |_, _| 0.7),
            ("a fast wave", |at, _| (at as f32 * 0.5).sin() * 1.3),
        ];
        for (name, fault) in faults {
            const BEGINS: usize = 4000;
            let settings = Settings { warm_up: 600, ..univariate("1/1000 rows".parse().unwrap()) };
            let detection = settings.build(1, &mut Learnt::new()).unwrap();
            let mut block = vec![0; detection.words()];
            detection.begin(&mut block);
            let (mut early, mut found) = (0, None);
            for at in 0..BEGINS + 150 {
                let value = if at < BEGINS { usual(at) } else { fault(at - BEGINS, usual(at)) };
                let row =
                    Row { features: &[value], network: None, timestamp_us: Some(at as i64 * 300_000_000) };
                let seen = detection.see(&row, &mut block);
                assert_eq!(seen.state == State::Learning, at < 600, "{name}: {at}");
                match at < BEGINS {
                    true => early += u32::from(seen.begins),
                    false => found = found.or(seen.begins.then_some(at - BEGINS)),
                }
            }
            assert!(early <= 3, "{name}: {early}");
            assert!(found.is_some_and(|rows| rows < 100), "{name}: {found:?}");
        }
    }
}
