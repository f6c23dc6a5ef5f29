//! From what the last layer gives to a probability.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::narrow;
use crate::settings::{Entry, SettingError, Table};

/// What the last layer gives; the weights cannot tell, because a sigmoid has no parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Output {
    /// One number, already a probability in `[0, 1]`.
    Probability,
    /// One number; one sigmoid makes it a probability.
    Logit,
    /// The input once more, as an autoencoder does: with `error` the mean of the squared differences
    /// to the normalised input, the probability is `1 / (1 + exp(-(error - midpoint) / scale))`.
    Reconstruction {
        /// The error that is as likely an anomaly as not.
        midpoint: f64,
        /// How far the error must grow for the odds of an anomaly to grow by a factor of e; more than 0.
        scale: f64,
    },
}

impl Output {
    /// Reads the keys `output` and `reconstruction` of `table`.
    pub(crate) fn read(table: &mut Table<'_>) -> Result<Self, SettingError> {
        let words = [
            ("probability", Some(Self::Probability)),
            ("logit", Some(Self::Logit)),
            ("reconstruction", None),
        ];
        let output = table.find_choice("output", &words)?;
        match (table.required("output", output)?, table.find("reconstruction")) {
            (Some(output), None) => Ok(output),
            (None, Some(entry)) => read_reconstruction(&entry),
            (None, None) => {
                let problem = "\"reconstruction\" needs a member reconstruction with midpoint and scale";
                Err(table.invalid("output", problem))
            }
            (Some(_), Some(entry)) => {
                Err(entry.invalid("only an output \"reconstruction\" has a use for it"))
            }
        }
    }

    /// The probability that `value`, the last layer's only number, means; NaN where it means none.
    pub(crate) fn probability(self, value: f32) -> f32 {
        match self {
            Self::Logit if value.is_finite() => 1.0 / (1.0 + (-value).exp()),
            Self::Probability if (0.0..=1.0).contains(&value) => value,
            _ => f32::NAN,
        }
    }
}

/// What a number is that should be a probability, and what to do.
pub(crate) fn outside(found: f32) -> String {
    format!(
        "the model's output is {found}, outside [0, 1]: is it a logit? Then its config.json should say \"output\": \"logit\", in \
         place of \"probability\""
    )
}

fn read_reconstruction(entry: &Entry<'_>) -> Result<Output, SettingError> {
    let mut table = entry.table()?;
    let (midpoint, scale) = (table.find("midpoint"), table.find("scale"));
    table.refuse_others()?;
    let midpoint = wide(table.required("midpoint", midpoint)?, "0 or more", |midpoint| midpoint >= 0.0)?;
    let scale = wide(table.required("scale", scale)?, "more than 0 in f32", |scale| scale > 0.0)?;
    Ok(Output::Reconstruction { midpoint, scale })
}

/// A number that f32 could hold, in the precision of the error, which is computed in f64.
fn wide(entry: Entry<'_>, expected: &str, holds: fn(f32) -> bool) -> Result<f64, SettingError> {
    narrow::number(&entry, expected, holds)?;
    entry.number(..)
}

/// The probability that an `output` that should be `input` once more is of an anomaly; NaN where the error is
/// not finite.
pub fn of_reconstruction(input: &[f32], output: &[f32], midpoint: f64, scale: f64) -> f32 {
    let error = mean_squared_error(input, output);
    if error.is_finite() { (1.0 / (1.0 + (-(error - midpoint) / scale).exp())) as f32 } else { f32::NAN }
}

fn mean_squared_error(x: &[f32], y: &[f32]) -> f64 {
    /// Sums side by side, for the processor's vectors.
    const SUMS: usize = 16;
    let mut sums = [0.0f32; SUMS];
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<SUMS>(), y.as_chunks::<SUMS>());
    for (x, y) in xs.iter().zip(ys) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += (x - y) * (x - y);
        }
    }
    let rest = x_rest.iter().zip(y_rest).map(|(x, y)| (x - y) * (x - y));
    // The sixteen are added in f64: what is left of rounding is within each, a sixteenth of the numbers long.
    let sum: f64 = sums.into_iter().chain(rest).map(f64::from).sum();
    sum / x.len() as f64
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probability => f.write_str("probability"),
            Self::Logit => f.write_str("logit"),
            Self::Reconstruction { midpoint, scale } => {
                write!(f, "reconstruction (midpoint {midpoint}, scale {scale})")
            }
        }
    }
}

/// As in `config.json`: the word, and for a reconstruction its numbers at a key of their own.
impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Reconstruction {
            midpoint: f64,
            scale: f64,
        }
        let mut map = serializer.serialize_map(None)?;
        match *self {
            Self::Probability => map.serialize_entry("output", "probability")?,
            Self::Logit => map.serialize_entry("output", "logit")?,
            Self::Reconstruction { midpoint, scale } => {
                map.serialize_entry("output", "reconstruction")?;
                map.serialize_entry("reconstruction", &Reconstruction { midpoint, scale })?;
            }
        }
        map.end()
    }
}
