//! Scores of sound rows, as a detector gives them to a device that it does not know yet: from them follows
//! how rare a score is.

use crate::detection::{Calibration, Detect, Row};

/// How many quantiles are kept.
const QUANTILES_MAX: usize = 256;
/// The most scores of one device, evenly spread: a device with many rows weighs no more than others.
const SCORES_OF_A_DEVICE: usize = 20_000;

/// The rows of one device, normalised, and what the network says of them.
pub struct Sound<'a> {
    /// Row-major.
    pub features: &'a [f32],
    /// Of each row; empty where there is no network.
    pub network: &'a [f32],
    /// Of each row.
    pub timestamps_us: &'a [Option<i64>],
    /// Whether a row may be learnt from: nothing bad is known of it.
    pub is_sound: &'a [bool],
}

impl<'a> Sound<'a> {
    /// Each row, with whether it may be learnt from.
    pub fn rows(&self, features: usize) -> impl Iterator<Item = (Row<'a>, bool)> {
        let network = self.network;
        let rows = self.features.chunks_exact(features).zip(self.timestamps_us).zip(self.is_sound);
        rows.enumerate().map(move |(at, ((features, timestamp_us), is_sound))| {
            let row = Row { features, network: network.get(at).copied(), timestamp_us: *timestamp_us };
            (row, *is_sound)
        })
    }
}

/// What scores of sound rows are like, after each device's first `warm_up` rows. `None` where there are too
/// few.
pub fn calibrate(
    detector: &dyn Detect,
    devices: &[Sound<'_>],
    features: usize,
    warm_up: u64,
) -> Option<Calibration> {
    let mut all = Vec::new();
    for device in devices {
        let mut state = vec![0; detector.words()];
        detector.begin(&mut state);
        let mut scores = Vec::new();
        let mut learnt = 0;
        for (row, is_sound) in device.rows(features) {
            let score = detector.score(&row, &mut state);
            if !is_sound {
                continue;
            }
            detector.learn(&row, &mut state);
            learnt += 1;
            scores.extend(score.filter(|_| learnt > warm_up));
        }
        let step = scores.len().div_ceil(SCORES_OF_A_DEVICE).max(1);
        all.extend(scores.into_iter().step_by(step));
    }
    Calibration::of_scores(&all, QUANTILES_MAX)
}
