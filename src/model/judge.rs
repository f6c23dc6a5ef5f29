//! Whether a row can be asked, and whether what a model says of it is an answer: one rule for whoever calls a
//! model, be it a worker of a node or a program.

use super::{Model, ModelError};
use crate::inference::Prediction;

/// Refuses what is no row of so many `inputs`.
pub(crate) fn check_features(features: &[f32], inputs: usize) -> Result<(), ModelError> {
    if features.len() != inputs {
        return Err(ModelError::Features { inputs, values: features.len() });
    }
    match features.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((at, &found)) => Err(ModelError::NotFinite { at, found }),
    }
}

/// Refuses so many numbers for `rows` rows, of a model that says `outputs` of each.
pub(crate) fn check_rows(found: usize, rows: usize, outputs: usize) -> Result<(), ModelError> {
    match rows * outputs {
        expected if expected == found && outputs > 0 => Ok(()),
        expected => Err(ModelError::Rows { found, rows, expected }),
    }
}

/// What a model has said of a row, if that is an answer; if it is none, `why` says what the model knows of
/// that, as [`why`] finds it out.
pub(crate) fn prediction(
    values: &[f32],
    why: impl FnOnce() -> Option<ModelError>,
) -> Result<Prediction, ModelError> {
    match *values {
        // One number is a probability; of several nothing is promised.
        [value] if (0.0..=1.0).contains(&value) => Ok(value.into()),
        [_, _, ..] if values.iter().all(|value| value.is_finite()) => Ok(values.into()),
        _ => Err(no_answer(values, why())),
    }
}

/// What `model` knows of why row number `row` of its last batch has no answer.
pub(crate) fn why(model: &dyn Model, row: usize) -> Option<ModelError> {
    let refused = model.refused(row).map(|problem| ModelError::Row { problem });
    refused.or_else(|| model.outside(row).map(|found| ModelError::Outside { found }))
}

/// Kept out of the way of the rows that are in order, as the compiler does not see which are many.
#[cold]
fn no_answer(values: &[f32], why: Option<ModelError>) -> ModelError {
    if let Some(why) = why {
        return why;
    }
    match (values.iter().find(|value| !value.is_finite()), values) {
        (None, &[found]) => ModelError::NoProbability { found },
        (found, _) => ModelError::Output { found: found.copied().unwrap_or(f32::NAN) },
    }
}
