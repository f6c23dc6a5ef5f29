//! The rows of a recorded file, as inputs.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::sensors::recorded::{Columns, Recording, RecordingError, Row, Skipped, UnknownLabel};
use crate::suggestion;

/// The most rows of one recording that are kept, some 300 bytes each for 32 features.
pub const ROWS_MAX: usize = 1_000_000;
/// The most different labels of one recording that are named.
const LABELS_MAX: usize = 20;

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

/// What an experiment takes of a recording.
#[derive(Debug)]
pub struct RecordedRows {
    /// Its rows.
    pub rows: Vec<RecordedRow>,
    /// What of it does not mean what one may think, in sentences.
    pub remarks: Vec<String>,
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
    /// No row has a label that is named as an anomaly's, and one of them is a slip.
    #[error(
        "{file}: no row has the label {word:?} that `anomaly` names; there are {there_are}; did you mean {meant:?}?"
    )]
    UnseenLabel { file: String, word: String, there_are: String, meant: String },
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
) -> Result<RecordedRows, RecordingFault> {
    let (mut rows, mut labels) = (Vec::new(), BTreeSet::new());
    let mut first_us = None;
    let mut recording = Recording::open(path, columns)?;
    while rows.len() < ROWS_MAX
        && let Some(row) = recording.next()
    {
        let row = row?;
        recording.check_times()?;
        let at = row.timestamp_us.and_then(|timestamp_us| {
            let since_us = timestamp_us.saturating_sub(*first_us.get_or_insert(timestamp_us)).max(0);
            Duration::try_from_secs_f64(since_us as f64 / 1e6 / speed).ok()
        });
        if at.is_some_and(|at| at >= duration) {
            break;
        }
        let truth = truth(path, columns, &row)?;
        if labels.len() < LABELS_MAX {
            labels.extend(row.label.filter(|label| !label.is_empty()));
        }
        rows.push(RecordedRow { at, features: row.features, truth });
    }
    if rows.is_empty() {
        return Err(RecordingFault::Empty { file: path.display().to_string() });
    }
    let has_anomaly = rows.iter().any(|row| row.truth == Some(true));
    let unseen = if has_anomaly { None } else { unseen_label(path, columns, &labels)? };
    let skipped = recording.skipped().map(|skipped| left_out(path, skipped));
    let remarks = skipped.into_iter().chain(unseen).collect();
    Ok(RecordedRows { rows, remarks })
}

fn left_out(path: &Path, Skipped { rows, first }: &Skipped) -> String {
    format!("{}: {rows} rows that cannot be used were left out, the first: {first}", path.display())
}

/// That none of the labels is there that are named as an anomaly's.
fn unseen_label(
    path: &Path,
    columns: &Columns,
    labels: &BTreeSet<String>,
) -> Result<Option<String>, RecordingFault> {
    let named = &columns.labels.anomalies;
    if named.is_empty() || labels.is_empty() {
        return Ok(None);
    }
    let (file, there_are) = (path.display().to_string(), quoted(labels));
    let slip = named
        .iter()
        .find_map(|word| Some((word, suggestion::meant(word, labels.iter().map(String::as_str))?)));
    match slip {
        Some((word, meant)) => {
            let (word, meant) = (word.clone(), meant.to_owned());
            Err(RecordingFault::UnseenLabel { file, word, there_are, meant })
        }
        None => Ok(Some(format!(
            "{file}: no row that is sent has the label {}; there are {there_are}",
            quoted(named)
        ))),
    }
}

fn quoted<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    words.into_iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
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
