//! What is odd about a recording's times: cells that are none, and times that go back.

use std::fmt;

use super::error::{excerpt, seconds};

/// The cells of a column of times that hold none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoTimes {
    /// How many rows have one.
    pub rows: u64,
    /// The line of the first, from 1.
    pub line: u64,
    /// The column's name.
    pub column: String,
    /// What the first one holds, cut short where it is long.
    pub found: String,
}

/// A row whose time is before that of the row above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeGoesBack {
    /// Its line, from 1.
    pub line: u64,
    /// By how many microseconds.
    pub by_us: u64,
}

/// What was seen of the times so far.
#[derive(Debug, Default)]
pub struct Times {
    last_us: Option<i64>,
    none: Option<NoTimes>,
    back: Option<TimeGoesBack>,
}

impl Times {
    /// The next row's time, or what stands in its column instead.
    pub fn see(&mut self, line: u64, time: Result<i64, (&str, &str)>) {
        match time {
            Ok(us) => {
                if let Some(last_us) = self.last_us.filter(|last_us| us < *last_us) {
                    self.back.get_or_insert(TimeGoesBack { line, by_us: last_us.abs_diff(us) });
                }
                self.last_us = Some(us);
            }
            Err((column, found)) => {
                let first = || NoTimes { rows: 0, line, column: column.to_owned(), found: excerpt(found) };
                self.none.get_or_insert_with(first).rows += 1;
            }
        }
    }

    /// Rows without a time, where there is a column for it.
    pub fn none(&self) -> Option<&NoTimes> {
        self.none.as_ref()
    }

    /// The first row whose time is before that of the row above it.
    pub fn back(&self) -> Option<TimeGoesBack> {
        self.back
    }

    /// Whether any row had a time.
    pub fn are_some(&self) -> bool {
        self.last_us.is_some()
    }
}

impl fmt::Display for NoTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, found, .. } = self;
        write!(
            f,
            "line {line}, column {column}: found {found:?}, expected a time in ISO 8601, such as 2026-12-01T05:00:00; seconds are \
             read in a column time_s, microseconds in timestamp_us"
        )
    }
}

impl fmt::Display for TimeGoesBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, by_us } = self;
        write!(f, "line {line}: its time is {} s before that of the row above", seconds(*by_us))
    }
}
