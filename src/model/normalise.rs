//! The input transform: `x -> log(|x| + offset) -> (x - mean) / std -> clamp to [-clip, clip]`,
//! every part optional.
//!
//! It travels with the model, so that clients send plain features in their own units.

use std::fmt;

use serde::Serialize;

use super::narrow;
use crate::settings::{Entry, SettingError};

/// The logarithm's part of an input transform.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Log {
    /// Whether the absolute value is taken first.
    pub abs: bool,
    /// Added before the logarithm, so that zero has one.
    pub offset: f32,
}

/// What happens to a row before the first layer; vectors have one number for each input.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Normalisation {
    /// The logarithm that is taken first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// What is subtracted from each feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f32>>,
    /// What is divided by; each more than 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f32>>,
    /// How far from 0 the result may be; more than 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f32>,
}

/// How many standard deviations a mean may be before 32 bits of a feature keep too little of it.
const MEAN_MAX: f32 = 10_000.0;

impl Log {
    fn read(entry: &Entry<'_>) -> Result<Self, SettingError> {
        let mut table = entry.table()?;
        let abs = table.find_flag("abs")?.unwrap_or(false);
        let offset = match table.find("offset") {
            Some(entry) => narrow::number(&entry, "0 or more", |offset| offset >= 0.0)?,
            None => 0.0,
        };
        table.finish()?;
        Ok(Self { abs, offset })
    }
}

impl Normalisation {
    /// Reads what `entry` says about rows of `inputs` features.
    pub(crate) fn read(entry: &Entry<'_>, inputs: usize) -> Result<Self, SettingError> {
        let mut table = entry.table()?;
        let (log, mean, std, clip) =
            (table.find("log"), table.find("mean"), table.find("std"), table.find("clip"));
        table.finish()?;
        let vector = |entry: Option<Entry<'_>>, expected, holds| {
            entry.map(|entry| narrow::vector(&entry, inputs, expected, holds)).transpose()
        };
        let clip = clip.map(|entry| narrow::number(&entry, "more than 0 in f32", |clip| clip > 0.0));
        Ok(Self {
            log: log.map(|entry| Log::read(&entry)).transpose()?,
            mean: vector(mean, "a number", |_| true)?,
            std: vector(std, "more than 0 in f32 (1 where the feature is constant)", |std| std > 0.0)?,
            clip: clip.transpose()?,
        })
    }

    /// Transforms `rows`, row-major `(batch, inputs)`, into `normalised`, which is cleared first.
    pub(crate) fn apply(&self, rows: &[f32], inputs: usize, normalised: &mut Vec<f32>) {
        self.scaled(rows, inputs, normalised);
        if let Some(clip) = self.clip {
            // NaN stays NaN: what cannot be normalised must not look healthy.
            each(normalised, |x| x.clamp(-clip, clip));
        }
    }

    /// What becomes of `rows`, row-major `(batch, inputs)`.
    pub fn applied(&self, rows: &[f32], inputs: usize) -> Vec<f32> {
        let mut normalised = Vec::new();
        self.apply(rows, inputs, &mut normalised);
        normalised
    }

    /// The same without clipping.
    fn scaled(&self, rows: &[f32], inputs: usize, normalised: &mut Vec<f32>) {
        normalised.clear();
        normalised.extend_from_slice(rows);
        match self.log {
            Some(Log { abs: true, offset }) => each(normalised, |x| (x.abs() + offset).ln()),
            Some(Log { abs: false, offset }) => each(normalised, |x| (x + offset).ln()),
            None => {}
        }
        for row in normalised.chunks_exact_mut(inputs) {
            if let Some(mean) = &self.mean {
                row.iter_mut().zip(mean).for_each(|(x, mean)| *x -= mean);
            }
            if let Some(std) = &self.std {
                row.iter_mut().zip(std).for_each(|(x, std)| *x /= std);
            }
        }
    }

    /// A feature whose mean is so large beside its standard deviation that 24 significant bits do not tell
    /// what is less than some thousandth of that.
    pub(crate) fn coarse(&self) -> Option<usize> {
        let (None, Some(mean), Some(std)) = (self.log, &self.mean, &self.std) else { return None };
        mean.iter().zip(std).position(|(mean, std)| mean.abs() / std > MEAN_MAX)
    }

    /// How many standard deviations each feature of `row` is from its mean; 0 without either.
    pub(crate) fn deviations(&self, row: &[f32], deviations: &mut Vec<f32>) {
        self.scaled(row, row.len(), deviations);
        each(deviations, f32::abs);
    }

    /// What becomes `normalised` in the column `at`, but for the clipping.
    pub(crate) fn undone(&self, normalised: f32, at: usize) -> f32 {
        let std = self.std.as_ref().map_or(1.0, |std| std[at]);
        let mean = self.mean.as_ref().map_or(0.0, |mean| mean[at]);
        let value = normalised * std + mean;
        self.log.map_or(value, |log| value.exp() - log.offset)
    }
}

/// The transform in words, in the order in which it is applied.
impl fmt::Display for Normalisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = Vec::new();
        if let Some(log) = self.log {
            let x = if log.abs { "|x|" } else { "x" };
            steps.push(format!("log({x} + {:e})", log.offset));
        }
        if self.mean.is_some() {
            steps.push("minus mean".to_owned());
        }
        if self.std.is_some() {
            steps.push("divided by std".to_owned());
        }
        if let Some(clip) = self.clip {
            steps.push(format!("clipped to [-{clip}, {clip}]"));
        }
        f.write_str(&if steps.is_empty() { "none".to_owned() } else { steps.join(", ") })
    }
}

fn each(values: &mut [f32], f: impl Fn(f32) -> f32) {
    values.iter_mut().for_each(|x| *x = f(*x));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_applied_in_order() {
        let normalisation = Normalisation {
            log: Some(Log { abs: true, offset: 1.0 }),
            mean: Some(vec![0.0, 1.0]),
            std: Some(vec![2.0, 0.5]),
            clip: Some(3.0),
        };
        let e = std::f32::consts::E;
        let mut normalised = vec![9.0; 7];
        normalisation.apply(&[-(e - 1.0), e * e - 1.0, 0.0, 1e30], 2, &mut normalised);
        let expected = [0.5, 2.0, 0.0, 3.0];
        assert_eq!(normalised.len(), expected.len());
        for (found, expected) in normalised.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn what_has_no_logarithm_stays_not_a_number() {
        let log = Some(Log { abs: false, offset: 0.0 });
        let normalisation = Normalisation { log, clip: Some(1.0), ..Normalisation::default() };
        let mut normalised = Vec::new();
        normalisation.apply(&[-1.0, 1.0], 1, &mut normalised);
        assert!(normalised[0].is_nan());
        assert_eq!(normalised[1], 0.0);
    }
}
