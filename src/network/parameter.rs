//! What a model's parameters may be, and the error that says so.

use std::time::Duration;

/// The longest delay that a model may decide for one message: a minute, beyond which
/// requests wait longer than most clients do. Longer samples are cut to it.
pub const DELAY_MAX: Duration = Duration::from_secs(60);

/// `delay`, or the longest one that may be.
pub const fn at_most_delay_max(delay: Duration) -> Duration {
    // What `min` says, which cannot be called for a constant.
    if delay.as_nanos() > DELAY_MAX.as_nanos() { DELAY_MAX } else { delay }
}

/// A parameter that a model cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {problem}")]
pub struct ParameterError {
    /// The parameter's name, as configuration files spell it.
    pub parameter: &'static str,
    /// What was found and what was expected.
    pub problem: String,
}

impl ParameterError {
    /// The error for `parameter`.
    pub fn new(parameter: &'static str, problem: impl Into<String>) -> Self {
        Self { parameter, problem: problem.into() }
    }
}

/// Checks that `value` is a probability, between 0 and 1.
pub(crate) fn share(parameter: &'static str, value: f64) -> Result<f64, ParameterError> {
    within(parameter, value, 0.0, 1.0)
}

/// Milliseconds that a message may be under way, as seconds.
pub fn milliseconds(parameter: &'static str, value: f64) -> Result<f64, ParameterError> {
    within(parameter, value, 0.0, DELAY_MAX.as_secs_f64() * 1e3).map(|milliseconds| milliseconds / 1e3)
}

/// A time in seconds, longer than nothing and at most a year.
pub fn seconds(parameter: &'static str, value: f64) -> Result<Duration, ParameterError> {
    within(parameter, value, 1e-3, SECONDS_MAX).map(Duration::from_secs_f64)
}

pub fn within(parameter: &'static str, value: f64, least: f64, most: f64) -> Result<f64, ParameterError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(ParameterError::new(
        parameter,
        format!("found {value}, expected a number between {least} and {most}"),
    ))
}

/// A year, in seconds.
const SECONDS_MAX: f64 = 31_536_000.0;
