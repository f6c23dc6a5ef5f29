//! How long something lasts, in words: `10 rows`, `30 s`, `5 min`, `2 h`, `1 day`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::detection::episode::Span;

/// What a span is counted in besides rows, in seconds.
const UNITS: [(&str, u64); 5] = [("s", 1), ("min", 60), ("h", 3_600), ("day", 86_400), ("week", 604_800)];

/// A text that is no span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}, expected how long, such as \"10 rows\", \"30 s\", \"5 min\" or \"2 h\"")]
pub struct SpanError(pub String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let wrong = || SpanError(text.to_owned());
        let at = text.find(|one: char| !one.is_ascii_digit()).ok_or_else(wrong)?;
        let (count, unit) = (&text[..at], text[at..].trim());
        if matches!(unit, "row" | "rows") {
            return count.parse().map(Self::Rows).map_err(|_| wrong());
        }
        let is = |name: &str| unit == name || unit.strip_suffix('s') == Some(name) && name.len() > 1;
        let (_, seconds) = UNITS.iter().find(|(name, _)| is(name)).ok_or_else(wrong)?;
        let count: u64 = count.parse().map_err(|_| wrong())?;
        count.checked_mul(*seconds).map(|seconds| Self::Time(Duration::from_secs(seconds))).ok_or_else(wrong)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(1) => write!(f, "1 row"),
            Self::Rows(rows) => write!(f, "{rows} rows"),
            Self::Time(time) => {
                let seconds = time.as_secs();
                let fits = |(_, unit): &&(&str, u64)| seconds > 0 && seconds.is_multiple_of(*unit);
                let (name, unit) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
                write!(f, "{} {name}", seconds / unit)
            }
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_it_is_read() {
        for text in ["10 rows", "1 row", "30 s", "5 min", "2 h", "1 day", "3 week", "0 s"] {
            assert_eq!(text.parse::<Span>().map(|span| span.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("90s".parse(), Ok(Span::Time(Duration::from_secs(90))));
        assert_eq!("2 days".parse(), Ok(Span::Time(Duration::from_secs(172_800))));
        for text in ["", "10", "rows", "-1 rows", "1 fortnight", "99999999999999999999 s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
