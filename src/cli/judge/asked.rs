//! What a model says of every row, asked in the order of the recording, each device on its own.

use anyhow::Context;

use crate::detection::{Seen, State};
use crate::inference::{DeviceId, Provenance};
use crate::judgement::{Judged, Series};
use crate::model::Detector;
use crate::sensors::recorded::{Fleet, Recorded};

/// What was said of the rows of a device.
pub struct Asked {
    /// Its name.
    pub device: String,
    /// Of each row.
    pub rows: Vec<AskedRow>,
}

/// A row, and what was said of it.
#[derive(Clone, Copy)]
pub struct AskedRow {
    pub timestamp_us: Option<i64>,
    pub truth: Option<bool>,
    /// For a model that does not detect its score, and a threshold that stays.
    pub said: Said,
}

/// What a model said.
#[derive(Clone, Copy)]
pub enum Said {
    /// One that detects.
    Seen(Seen),
    /// Another one: a score, whether that is at or above the threshold, and whether it was not the row
    /// before.
    Score { score: f32, threshold: f32, begins: bool },
}

/// Asks `detector` for every row of `fleet`.
pub fn ask(detector: &mut Detector, fleet: &Fleet) -> anyhow::Result<Vec<Asked>> {
    let devices = fleet.devices.iter().enumerate();
    devices.map(|(number, device)| ask_of(detector, number, device, fleet.features.len())).collect()
}

fn ask_of(
    detector: &mut Detector,
    number: usize,
    recorded: &Recorded,
    features: usize,
) -> anyhow::Result<Asked> {
    // A name in a file may be none that a device can have on the wire.
    let device = DeviceId::new(format!("device-{number}"))?;
    let threshold = detector.info().threshold;
    let mut rows = Vec::with_capacity(recorded.rows());
    let mut was_above = false;
    for (at, row) in recorded.features.chunks_exact(features).enumerate() {
        let timestamp_us = recorded.timestamps_us[at];
        let of = Provenance { device: Some(device.clone()), timestamp_us };
        let predicted = detector.predict_of(row, &of);
        let predicted = predicted.with_context(|| format!("row {} of {}", at + 1, recorded.name))?;
        let seen = detector.memory().and_then(|_| Seen::of_numbers(predicted.values()));
        let said = seen.map_or_else(
            || {
                let (score, was) = (predicted.score(), was_above);
                was_above = score >= threshold;
                Said::Score { score, threshold, begins: was_above && !was }
            },
            Said::Seen,
        );
        rows.push(AskedRow { timestamp_us, truth: recorded.truth[at], said });
    }
    Ok(Asked { device: recorded.name.clone(), rows })
}

impl Asked {
    /// The same as what is judged.
    pub fn series(&self) -> Series {
        Series { device: self.device.clone(), rows: self.rows.iter().map(AskedRow::judged).collect() }
    }
}

impl AskedRow {
    fn judged(&self) -> Judged {
        let Self { timestamp_us: at_us, truth, said } = *self;
        match said {
            Said::Seen(seen) => Judged {
                at_us,
                score: seen.surprisal.into(),
                // As surprisal, in which the score is.
                threshold: (seen.threshold > 0.0).then(|| -f64::from(seen.threshold).ln()),
                state: seen.state,
                begins: seen.begins,
                truth,
            },
            Said::Score { score, threshold, begins } => Judged {
                at_us,
                score: score.into(),
                threshold: Some(threshold.into()),
                state: if score >= threshold { State::Alarm } else { State::Normal },
                begins,
                truth,
            },
        }
    }
}
