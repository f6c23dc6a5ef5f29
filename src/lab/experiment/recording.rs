//! The rows of a recorded file, as inputs.

use std::path::Path;
use std::time::Duration;

use crate::sensors::recorded::{Columns, Recording, RecordingError, Row, UnknownLabel};

/// The most rows of one recording that are kept, some 300 bytes each for 32 features.
pub const ROWS_MAX: usize = 1_000_000;

/// One row of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedRow {
    /// When it is due, since the first one, at the speed of the replay; `None` where the file has no times.
    pub at: Option<Duration>,
    /// The model's inputs.
    pub features: Vec<f32>,
    /// What its label says.
    pub truth: Option<bool>,
}

/// A recording that cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum RecordingFault {
    /// It cannot be read.
    #[error("{}", with_remedy(.0))]
    Unreadable(#[from] RecordingError),
    /// A label is neither yes nor no.
    #[error(
        "{file}, line {line}, column {column}: found {found:?}, expected 0 or 1, no or yes, normal or anomaly, healthy or faulty, the \
         model's own words, or nothing; name other words for an anomaly with `anomaly: [...]` beside `label`"
    )]
    Label {
        file: String,
        /// Line, from 1.
        line: u64,
        column: String,
        found: String,
    },
    /// There is no row.
    #[error("{file}: there are no rows, expected at least one below the header")]
    Empty { file: String },
}

fn with_remedy(error: &RecordingError) -> String {
    match error.remedy() {
        Some(remedy) => format!("{error}; {}", remedy.in_keys()),
        None => error.to_string(),
    }
}

/// Reads the rows of `path` that are due until `duration` has passed, and no more than [`ROWS_MAX`].
///
/// # Errors
/// [`RecordingFault`] naming file, line and column.
pub fn read_recording(
    path: &Path,
    columns: &Columns,
    speed: f64,
    duration: Duration,
) -> Result<Vec<RecordedRow>, RecordingFault> {
    let mut rows = Vec::new();
    let mut first_us = None;
    for row in Recording::open(path, columns)?.take(ROWS_MAX) {
        let row = row?;
        let at = row.timestamp_us.and_then(|timestamp_us| {
            let since_us = timestamp_us.saturating_sub(*first_us.get_or_insert(timestamp_us)).max(0);
            Duration::try_from_secs_f64(since_us as f64 / 1e6 / speed).ok()
        });
        if at.is_some_and(|at| at >= duration) {
            break;
        }
        let truth = truth(path, columns, &row)?;
        rows.push(RecordedRow { at, features: row.features, truth });
    }
    if rows.is_empty() {
        return Err(RecordingFault::Empty { file: path.display().to_string() });
    }
    Ok(rows)
}

fn truth(path: &Path, columns: &Columns, row: &Row) -> Result<Option<bool>, RecordingFault> {
    let Some(label) = &row.label else { return Ok(None) };
    columns.labels.truth(label).map_err(|UnknownLabel| RecordingFault::Label {
        file: path.display().to_string(),
        line: row.line,
        column: columns.label.clone().unwrap_or_default(),
        found: label.clone(),
    })
}
