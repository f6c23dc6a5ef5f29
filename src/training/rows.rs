//! All rows of a fleet, normalised, with what networks that have not seen them say of them.

use super::calibrating::Sound;
use super::normalise::Normalisation;
use crate::sensors::recorded::{Fleet, Recorded};
use crate::statistics::dominant_period;

/// So many rows before the first anomaly are enough.
const UNBROKEN_ROWS: usize = 200;
/// A period is looked for in so many values.
const VALUES_MAX: usize = 20_000;
/// It has so many rows at least, and comes so often.
const PERIOD_MIN: usize = 8;
const PERIODS_MIN: usize = 4;

/// The rows of all devices.
pub struct Rows {
    pub features: usize,
    pub devices: Vec<DeviceRows>,
}

/// Those of one device.
pub struct DeviceRows {
    /// Row-major.
    pub normalised: Vec<f32>,
    /// The probability of an anomaly of each row; empty where there is no network.
    pub network: Vec<f32>,
    pub timestamps_us: Vec<Option<i64>>,
    /// Of which rows nothing bad is known.
    pub is_sound: Vec<bool>,
}

impl DeviceRows {
    /// Those of which nothing bad is known, of so many features each. Where they are many, only those before
    /// the first anomaly: what comes after one is seldom as it was before.
    pub fn sound(&self, features: usize) -> Vec<f32> {
        let row = |at: usize| &self.normalised[at * features..(at + 1) * features];
        self.sound_places().into_iter().flat_map(row).copied().collect()
    }

    /// Which those are.
    pub fn sound_places(&self) -> Vec<usize> {
        let first = self.is_sound.iter().position(|is_sound| !is_sound).unwrap_or(self.is_sound.len());
        if first >= UNBROKEN_ROWS {
            return (0..first).collect();
        }
        (0..self.is_sound.len()).filter(|at| self.is_sound[*at]).collect()
    }
}

impl Rows {
    pub fn new(fleet: &Fleet, normalisation: &Normalisation) -> Self {
        let is_sound = fleet.soundness();
        let device = |device: &Recorded| DeviceRows {
            normalised: normalisation.apply(&device.features),
            network: Vec::new(),
            timestamps_us: device.timestamps_us.clone(),
            is_sound: device.truth.iter().map(&is_sound).collect(),
        };
        Self { features: fleet.features.len(), devices: fleet.devices.iter().map(device).collect() }
    }

    /// The rows as detectors take them.
    pub fn sound(&self) -> Vec<Sound<'_>> {
        let mut all = Vec::with_capacity(self.devices.len());
        for DeviceRows { normalised, network, timestamps_us, is_sound } in &self.devices {
            all.push(Sound { features: normalised, network, timestamps_us, is_sound });
        }
        all
    }

    /// Of how many rows nothing bad is known.
    pub fn count_sound(&self) -> usize {
        self.devices.iter().flat_map(|device| &device.is_sound).filter(|is_sound| **is_sound).count()
    }

    /// How many rows the device with the fewest has of which nothing bad is known.
    pub fn shortest(&self) -> usize {
        self.devices.iter().map(|device| device.sound_places().len()).min().unwrap_or(0)
    }

    /// After how many rows the first feature of the longest recording is like itself again, if it ever is.
    pub fn period(&self) -> Option<usize> {
        let longest = self.devices.iter().max_by_key(|device| device.timestamps_us.len())?;
        let values: Vec<f32> =
            longest.normalised.iter().step_by(self.features).take(VALUES_MAX).copied().collect();
        dominant_period(&values, PERIOD_MIN, values.len() / PERIODS_MIN)
    }

    /// How many days the longest recording spans; nothing without times.
    pub fn days(&self) -> Option<f64> {
        let span = |device: &DeviceRows| {
            let times = || device.timestamps_us.iter().flatten();
            Some(times().max()?.saturating_sub(*times().min()?) as f64 / 86_400e6)
        };
        self.devices.iter().filter_map(span).reduce(f64::max)
    }
}
