//! What the value of a flag may be, where several commands have it.

use crate::inference::DeviceId;
use crate::sensors::recorded::{Decimal, Format};

/// Reads a probability, which a threshold is.
///
/// # Errors
/// What was expected.
pub fn probability(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a probability in [0, 1]".to_owned()),
    }
}

/// Reads a finite number above 0.
///
/// # Errors
/// What was expected.
pub fn above_zero(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("expected a number above 0".to_owned()),
    }
}

/// Reads the id of a device.
///
/// # Errors
/// What is wrong with it, and what it may be.
pub fn device_id(text: &str) -> Result<String, String> {
    match DeviceId::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(refusal) => Err(format!(
            "{}; expected 1 to 128 bytes without / + # and control characters, and without $ in front",
            refusal.message
        )),
    }
}

/// Reads a prefix of topics.
///
/// # Errors
/// What was expected.
pub fn topic_prefix(text: &str) -> Result<String, String> {
    match text.contains(['+', '#', '\0']) {
        false => Ok(text.to_owned()),
        true => Err("expected a prefix of topics such as edge/, without + and #".to_owned()),
    }
}

/// What stands between the cells of a recording.
pub fn delimiter(text: &str) -> Result<u8, String> {
    Format::delimiter_of(text).ok_or_else(|| format!("expected {}", Format::DELIMITERS))
}

/// What stands before the decimals of its numbers.
pub fn decimal(text: &str) -> Result<Decimal, String> {
    Decimal::of(text).ok_or_else(|| "expected . or ,".to_owned())
}
