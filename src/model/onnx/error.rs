//! Why an ONNX file cannot be read, in one sentence.

use std::fmt;

/// Why an ONNX file cannot be read: where in it, what was found, what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnnxError {
    message: String,
    /// How many places stand before the problem.
    places: usize,
}

/// The places that a message names: a node in a body of a node, and its attribute.
const PLACES_MAX: usize = 4;

impl OnnxError {
    /// The same, with the place that it is in before it, as far as a reader can follow.
    pub(crate) fn within(self, place: impl fmt::Display) -> Self {
        match self.places {
            PLACES_MAX.. => self,
            places => Self { message: format!("{place}: {}", self.message), places: places + 1 },
        }
    }
}

impl fmt::Display for OnnxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OnnxError {}

impl<S: Into<String>> From<S> for OnnxError {
    fn from(problem: S) -> Self {
        Self { message: problem.into(), places: 0 }
    }
}

/// Counts one more of `what`, of which there may be `max`.
pub(crate) fn count(counted: &mut usize, max: usize, what: &str, bound: &str) -> Result<(), OnnxError> {
    *counted += 1;
    if *counted > max {
        return Err(format!("it has more than {max} {what} ({bound})").into());
    }
    Ok(())
}

/// A name from the file as it may be shown: without escapes that a terminal would obey.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.escape_debug())
}
