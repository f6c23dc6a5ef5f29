//! What is asked: the features of every request, made before anything is timed.
//!
//! Simulating a bearing takes longer than many a model does, and would disturb what is measured. So a bounded
//! number of windows is simulated beforehand, and they come again where an experiment has more requests.

use std::sync::Arc;
use std::time::Duration;

use super::fleet::Fleet;
use super::recording::RecordedRow;
use super::timetable::Pace;
use crate::features::{Extractor, FeatureError, SAMPLE_RATE_HZ, WINDOW_SAMPLES};
use crate::lab::scenario::{Scenario, Sensor, Source};
use crate::sensors::bearing::{Bearing, Config, FaultProgress};

/// The most windows that are simulated, all bearings together; at least one for each sensor.
pub const WINDOWS_MAX: u32 = 2_048;
/// The most of one bearing: they differ by chance alone.
const WINDOWS_EACH_MAX: u32 = 64;
/// The most different bearings of one sensor with a count.
const BEARINGS_MAX: u32 = 64;

/// The different inputs of an experiment, and who has which.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    rows: Vec<Vec<f32>>,
    truths: Vec<Option<bool>>,
    supplies: Vec<Supply>,
}

/// Where the inputs of a sensor's devices stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Supply {
    first_device: u32,
    first_row: usize,
    /// Devices share them in turn.
    bearings: u32,
    rows_each: u32,
}

impl Inputs {
    /// The inputs of `scenario` and its `fleet`; `recordings` as for the fleet. Simulated bearings are sound.
    ///
    /// # Errors
    /// [`FeatureError`] when a simulated window has no features.
    pub fn of(
        scenario: &Scenario,
        fleet: &Fleet,
        recordings: &[Option<Arc<[RecordedRow]>>],
    ) -> Result<Self, FeatureError> {
        let mut inputs = Self { rows: Vec::new(), truths: Vec::new(), supplies: Vec::new() };
        let simulated = scenario.sensors.iter().filter(|one| matches!(one.source, Source::Bearing { .. }));
        let windows_each = WINDOWS_MAX / u32::try_from(simulated.count()).unwrap_or(u32::MAX).max(1);
        let mut first_device = 0;
        for (at, sensor) in scenario.sensors.iter().enumerate() {
            let first_row = inputs.rows.len();
            let (bearings, rows_each) = match (&sensor.source, recordings.get(at).and_then(Option::as_deref))
            {
                (Source::Recorded { .. }, rows) => inputs.record(rows.unwrap_or_default()),
                (Source::Bearing { noise_level, .. }, _) => {
                    let most = requests_of_one(&fleet.groups[at].pace, scenario.duration);
                    let seed = scenario.seed.wrapping_add((at as u64) << 32);
                    inputs.simulate(sensor, *noise_level, windows_each, most, seed)?
                }
            };
            inputs.supplies.push(Supply { first_device, first_row, bearings, rows_each });
            first_device += sensor.count;
        }
        Ok(inputs)
    }

    /// How many different inputs there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The number of the input of `device`'s request number `row`; both count from 0.
    pub fn index(&self, device: u32, row: u32) -> usize {
        let after = self.supplies.partition_point(|supply| supply.first_device <= device);
        // Of sensors without devices, the last one with that first device is the one that has it.
        let Some(supply) = after.checked_sub(1).map(|at| self.supplies[at]) else { return 0 };
        let bearing = (device - supply.first_device) % supply.bearings.max(1);
        supply.first_row + (bearing * supply.rows_each + row % supply.rows_each.max(1)) as usize
    }

    /// The features of an input.
    pub fn features(&self, index: usize) -> &[f32] {
        &self.rows[index]
    }

    /// What is true of an input, where that is known.
    pub fn truth(&self, index: usize) -> Option<bool> {
        self.truths[index]
    }

    fn record(&mut self, rows: &[RecordedRow]) -> (u32, u32) {
        self.rows.extend(rows.iter().map(|row| row.features.clone()));
        self.truths.extend(rows.iter().map(|row| row.truth));
        (1, u32::try_from(rows.len()).unwrap_or(u32::MAX))
    }

    fn simulate(
        &mut self,
        sensor: &Sensor,
        noise_level: f64,
        windows_max: u32,
        requests_each: u32,
        seed: u64,
    ) -> Result<(u32, u32), FeatureError> {
        let bearings = sensor.count.clamp(1, BEARINGS_MAX).min(windows_max.max(1));
        let windows = (windows_max / bearings).min(requests_each).clamp(1, WINDOWS_EACH_MAX);
        let config = louder(noise_level);
        let mut extractor = Extractor::new(WINDOW_SAMPLES, SAMPLE_RATE_HZ)?;
        let severity = FaultProgress::NONE.severity(0.0);
        for number in 0..bearings {
            let mut bearing = Bearing::new(config.clone(), seed.wrapping_add(u64::from(number)));
            for _ in 0..windows {
                let window = bearing.window(severity);
                self.rows.push(extractor.extract(&window.h, &window.v)?.to_vec());
                self.truths.push(None);
            }
        }
        Ok((bearings, windows))
    }
}

/// A bearing whose noise of rolling is `level` times as loud.
fn louder(level: f64) -> Config {
    let mut config = Config::default();
    for axis in [&mut config.h, &mut config.v] {
        axis.resonances.iter_mut().for_each(|resonance| resonance.rms_g *= level);
    }
    config
}

/// How many requests one device makes; those that come at random may be a few more.
fn requests_of_one(pace: &Pace, duration: Duration) -> u32 {
    match pace {
        Pace::Every { rate_hz } => (rate_hz * duration.as_secs_f64()).ceil().min(f64::from(u32::MAX)) as u32,
        Pace::At(times) => u32::try_from(times.len()).unwrap_or(u32::MAX),
    }
}
