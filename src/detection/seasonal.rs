//! `seasonal`: what is usual at this time of the day or the week, and how far a row is from it.
//!
//! After J. D. Brutlag, "Aberrant behavior detection in time series for network monitoring", LISA XIV, USENIX
//! 2000, which keeps a seasonal mean and a seasonal deviation for each time of a period. Here the period is
//! cut into buckets, and what a bucket says is shrunk to what all rows say until it has seen enough: so there
//! is no period of waiting. A row without a time is not judged.

use super::block::{Word, floats, words_of_floats};
use super::detect::{Detect, Row};

/// A day in seconds.
pub const DAY_S: u32 = 86_400;
/// A week in seconds; the first one begins on a Thursday, as the time of computers does.
pub const WEEK_S: u32 = 7 * DAY_S;

/// A bucket with so many rows counts as much as all others together.
const PRIOR_ROWS: f32 = 4.0;
/// Of so many of its rows, about, a bucket is made.
const BUCKET_ROWS: f32 = 100.0;
/// The whole is made of so many rows, about.
const WHOLE_ROWS: f32 = 2000.0;
/// What is left of rows when what is usual is taken away is made of so many, about: fewer, for it falls as
/// buckets fill.
const LEFT_ROWS: f32 = 500.0;
/// So many rows must have been learnt from.
const ROWS_MIN: f32 = 32.0;
/// The smallest standard deviation, in the units of the normalised features.
const DEVIATION_MIN: f32 = 1e-3;
/// A difference counts at most as so many standard deviations in what is learnt.
const CLIP: f32 = 4.0;

/// What is usual at each time of a period.
#[derive(Debug, Clone, PartialEq)]
pub struct Seasonal {
    /// How many features a row has.
    pub features: usize,
    /// How long it takes until everything comes again, in seconds.
    pub period_s: u32,
    /// Into how many buckets it is cut.
    pub buckets: usize,
}

/// In front of all: rows learnt from.
const HEAD: usize = 1;
/// Of each feature's whole, and of each of its buckets: mean, variance, weight. The variance of the whole is
/// that of what is left.
const NUMBERS: usize = 3;

impl Seasonal {
    /// With as many buckets as `bytes` have room for, and at most one for each half hour: a bucket of a day's
    /// 48 takes 12 bytes a feature. Many features share the room, down to one for all of it.
    pub fn within(features: usize, period_s: u32, bytes: usize) -> Self {
        let most = (period_s / 1800).max(1) as usize;
        let room = (bytes / 4).saturating_sub(2 * HEAD) / (NUMBERS * features.max(1));
        // A number that halves or thirds of a day are multiples of, where there are many.
        let buckets = (1..=most.min(room.saturating_sub(1))).rev().find(|count| most.is_multiple_of(*count));
        Self { features, period_s, buckets: buckets.unwrap_or(1) }
    }

    fn bucket(&self, row: &Row<'_>) -> Option<usize> {
        let period_us = i64::from(self.period_s) * 1_000_000;
        let into = row.timestamp_us?.rem_euclid(period_us);
        Some((i128::from(into) * self.buckets as i128 / i128::from(period_us)) as usize)
    }

    fn of_each(&self) -> usize {
        NUMBERS * (1 + self.buckets)
    }
}

/// What is usual of a feature: its mean and variance.
fn usual(own: &[f32], bucket: usize) -> (f32, f32) {
    let (whole, buckets) = own.split_at(NUMBERS);
    let [mean, variance, weight] = buckets[NUMBERS * bucket..][..NUMBERS] else { return (0.0, 0.0) };
    let trust = weight / (weight + PRIOR_ROWS);
    // A bucket's mean is kept as its difference from the whole.
    let usual = whole[0] + trust * mean;
    (usual, (trust * variance + (1.0 - trust) * whole[1]).max(DEVIATION_MIN * DEVIATION_MIN))
}

fn move_towards(numbers: &mut [f32], value: f32, rows_max: f32) {
    let [mean, variance, weight] = numbers else { return };
    *weight = (*weight + 1.0).min(rows_max);
    let (rate, difference) = (1.0 / *weight, value - *mean);
    *mean += rate * difference;
    *variance = (1.0 - rate) * (*variance + rate * difference * difference);
}

impl Detect for Seasonal {
    fn words(&self) -> usize {
        HEAD + words_of_floats(self.features * self.of_each())
    }

    fn score(&self, row: &Row<'_>, state: &mut [Word]) -> Option<f32> {
        let bucket = self.bucket(row)?;
        let (head, rest) = state.split_at_mut(HEAD);
        if floats(head)[0] < ROWS_MIN {
            return None;
        }
        let mut sum = 0.0;
        for (own, feature) in floats(rest).chunks_exact(self.of_each()).zip(row.features) {
            let (mean, variance) = usual(own, bucket);
            sum += (feature - mean).powi(2) / variance;
        }
        Some((sum / self.features as f32).sqrt())
    }

    fn learn(&self, row: &Row<'_>, state: &mut [Word]) {
        let Some(bucket) = self.bucket(row) else { return };
        let (head, rest) = state.split_at_mut(HEAD);
        let rows = &mut floats(head)[0];
        *rows = (*rows + 1.0).min(WHOLE_ROWS);
        let is_ripe = *rows > ROWS_MIN;
        for (own, feature) in floats(rest).chunks_exact_mut(self.of_each()).zip(row.features) {
            let (mean, variance) = usual(own, bucket);
            let bound = if is_ripe { CLIP * variance.sqrt() } else { f32::INFINITY };
            let value = mean + (feature - mean).clamp(-bound, bound);
            let (whole, buckets) = own.split_at_mut(NUMBERS);
            if let [whole, left, weight] = &mut *whole {
                *weight = (*weight + 1.0).min(WHOLE_ROWS);
                *whole += (value - *whole) / *weight;
                *left += ((value - mean).powi(2) - *left) / weight.min(LEFT_ROWS);
            }
            move_towards(&mut buckets[NUMBERS * bucket..][..NUMBERS], value - whole[0], BUCKET_ROWS);
        }
    }

    fn contributions(&self, row: &Row<'_>, state: &mut [Word], into: &mut [f32]) {
        let Some(bucket) = self.bucket(row) else { return };
        let numbers = floats(&mut state[HEAD..]);
        for ((own, feature), into) in numbers.chunks_exact(self.of_each()).zip(row.features).zip(into) {
            let (mean, variance) = usual(own, bucket);
            *into = (feature - mean).powi(2) / variance;
        }
    }
}

#[cfg(test)]
#[path = "seasonal/tests.rs"]
mod tests;
