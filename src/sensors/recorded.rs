//! Recorded files: rows of features from a CSV with a header, or from Parquet, one at a time.
//!
//! A file may be far larger than memory: a recording holds one row and never more
//! than [`RECORD_BYTES_MAX`] of it.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ErrorKind, StringRecord};

mod columns;
mod error;
mod parquet;

pub use self::columns::{Columns, FeatureColumns};
pub use self::error::{RecordingError, Suggestion};

use self::columns::{Chosen, Time};
use self::parquet::ParquetRows;
use crate::inference::whole_number;
use crate::text::{self, Unmarked};

/// The longest row, and the longest header, in bytes; without it, one unclosed quote would swallow the file.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// One row of a recorded file.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The line on which it begins, from 1; the header is line 1. In Parquet the first
    /// row is 2, as if there were lines.
    pub line: u64,
    /// Its time, from a column `timestamp_us` (integer microseconds) or `time_s`
    /// (seconds); absent without either.
    pub timestamp_us: Option<i64>,
    /// The chosen columns, in the order asked for; every one is finite.
    pub features: Vec<f32>,
    /// What the label column says; absent where none was asked for.
    pub label: Option<String>,
    /// The whole row as the file has it.
    pub record: StringRecord,
}

/// A recorded file under way; an iterator of its rows, which ends after the first error.
///
/// ```no_run
/// use nearfar::features::FEATURE_NAMES;
/// use nearfar::sensors::recorded::{Columns, Recording};
///
/// for row in Recording::open("bearing.csv", &Columns::named(FEATURE_NAMES))? {
///     let row = row?;
///     println!("line {}: {} features", row.line, row.features.len());
/// }
/// # Ok::<(), nearfar::sensors::recorded::RecordingError>(())
/// ```
pub struct Recording {
    path: PathBuf,
    source: Source,
    header: StringRecord,
    chosen: Chosen,
    is_over: bool,
}

enum Source {
    Csv(Box<csv::Reader<Lines<Unmarked<File>>>>),
    Parquet(Box<ParquetRows>),
}

impl Recording {
    /// Opens the file at `path`, a CSV or Parquet, and finds `columns` in its header.
    ///
    /// # Errors
    /// [`RecordingError`] when it cannot be read, has no header, or its header lacks a column.
    pub fn open(path: impl AsRef<Path>, columns: &Columns) -> Result<Self, RecordingError> {
        let path = path.as_ref().to_owned();
        let (source, header) = match ParquetRows::open(&path)? {
            Some((header, rows)) => (Source::Parquet(Box::new(rows)), header),
            None => Self::open_csv(&path)?,
        };
        let chosen = Chosen::find(columns, &header, &path)?;
        Ok(Self { path, source, header, chosen, is_over: false })
    }

    fn open_csv(path: &Path) -> Result<(Source, StringRecord), RecordingError> {
        let path = path.to_owned();
        let file = File::open(&path)
            .and_then(text::unmarked)
            .map_err(|source| RecordingError::Open { path: path.clone(), source })?;
        let lines = Lines { inner: file, left: RECORD_BYTES_MAX, last: b'\n' };
        // Rows of another length are refused here, where their line is known.
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(lines);
        let header = match reader.headers() {
            Ok(header) => header.iter().map(str::trim).collect::<StringRecord>(),
            Err(error) => return Err(explain(&path, 1, error)),
        };
        if header.iter().all(str::is_empty) {
            return Err(RecordingError::Empty { path });
        }
        Ok((Source::Csv(Box::new(reader)), header))
    }

    /// The names of every column, without the blanks around them.
    pub fn header(&self) -> &StringRecord {
        &self.header
    }

    fn read(&mut self) -> Result<Option<Row>, RecordingError> {
        let found = match &mut self.source {
            Source::Csv(reader) => read_csv(reader, &self.path, &self.header)?,
            Source::Parquet(rows) => rows.next(&self.path)?,
        };
        found.map(|(line, record)| self.row(line, record)).transpose()
    }

    fn row(&self, line: u64, record: StringRecord) -> Result<Row, RecordingError> {
        let cell = Cells { recording: self, record: &record, line };
        let features =
            self.chosen.features.iter().map(|&column| cell.feature(column)).collect::<Result<_, _>>()?;
        let timestamp_us = match self.chosen.time {
            None => None,
            Some(Time::Microseconds(column)) => Some(cell.microseconds(column)?),
            Some(Time::Seconds(column)) => Some(cell.seconds(column)?),
        };
        let label = self.chosen.label.map(|column| record[column].trim().to_owned());
        Ok(Row { line, timestamp_us, features, label, record })
    }
}

impl Iterator for Recording {
    type Item = Result<Row, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let row = self.read().transpose();
        self.is_over = !matches!(row, Some(Ok(_)));
        row
    }
}

fn read_csv(
    reader: &mut csv::Reader<Lines<Unmarked<File>>>,
    path: &Path,
    header: &StringRecord,
) -> Result<Option<(u64, StringRecord)>, RecordingError> {
    let mut bytes = ByteRecord::new();
    reader.get_mut().left = RECORD_BYTES_MAX;
    let line = reader.position().line();
    match reader.read_byte_record(&mut bytes) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) => return Err(explain(path, line, error)),
    }
    // The line on which it begins. The reader's own answer counts blank lines before a
    // record to it; where it ended is certain.
    let breaks = bytes.iter().flatten().filter(|byte| **byte == b'\n').count() as u64;
    let line = reader.position().line().saturating_sub(breaks + 1);
    if bytes.len() != header.len() {
        let (expected, found) = (header.len(), bytes.len());
        return Err(RecordingError::Ragged { path: path.to_owned(), line, expected, found });
    }
    let record = StringRecord::from_byte_record(bytes).map_err(|error| {
        let column = header[error.utf8_error().field()].to_owned();
        RecordingError::NotUtf8 { path: path.to_owned(), line, column }
    })?;
    Ok(Some((line, record)))
}

/// One row's cells, and where they stand.
struct Cells<'a> {
    recording: &'a Recording,
    record: &'a StringRecord,
    line: u64,
}

impl Cells<'_> {
    fn feature(&self, column: usize) -> Result<f32, RecordingError> {
        let value = self.text(column).parse::<f32>().ok().filter(|value| value.is_finite());
        value.ok_or_else(|| self.unfit(column, "a finite number that fits 32 bits"))
    }

    fn microseconds(&self, column: usize) -> Result<i64, RecordingError> {
        whole_number(self.text(column)).ok_or_else(|| self.unfit(column, "whole microseconds"))
    }

    fn seconds(&self, column: usize) -> Result<i64, RecordingError> {
        /// Beyond it, microseconds do not fit 64 bits.
        const SECONDS_MAX: f64 = 9.2e12;
        let seconds = self.text(column).parse::<f64>().ok().filter(|seconds| seconds.abs() <= SECONDS_MAX);
        let microseconds = seconds.map(|seconds| (seconds * 1e6).round() as i64);
        microseconds.ok_or_else(|| self.unfit(column, "seconds"))
    }

    fn text(&self, column: usize) -> &str {
        self.record[column].trim()
    }

    fn unfit(&self, column: usize, expected: &'static str) -> RecordingError {
        RecordingError::Unfit {
            path: self.recording.path.clone(),
            line: self.line,
            column: self.recording.header[column].to_owned(),
            found: error::excerpt(self.text(column)),
            expected,
        }
    }
}

fn explain(path: &Path, line: u64, error: csv::Error) -> RecordingError {
    let path = path.to_owned();
    match error.into_kind() {
        ErrorKind::Io(source) if source.get_ref().is_some_and(|inner| inner.is::<TooLong>()) => {
            RecordingError::TooLong { path, line }
        }
        ErrorKind::Io(source) => RecordingError::Read { path, line, source },
        // Only the header is read as text.
        ErrorKind::Utf8 { err, .. } => {
            RecordingError::NotUtf8 { path, line, column: (err.field() + 1).to_string() }
        }
        // Equal lengths, seeking and serde are not asked for.
        other => RecordingError::Read { path, line, source: io::Error::other(format!("{other:?}")) },
    }
}

/// Reads no more than is `left`, so that one row cannot take all memory. Every line
/// leaves it with a line feed as its only end, so that lines can be counted:
/// carriage returns are left out, a missing last line feed is added.
struct Lines<R> {
    inner: R,
    left: usize,
    last: u8,
}

#[derive(Debug, thiserror::Error)]
#[error("the row is too long")]
struct TooLong;

impl<R: BufRead> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(TooLong));
        }
        let room = buffer.len().min(self.left);
        let mut written = 0;
        while written == 0 && room > 0 {
            let chunk = self.inner.fill_buf()?;
            if chunk.is_empty() && self.last == b'\n' {
                return Ok(0);
            }
            let taken = chunk.len().min(room);
            let ending: &[u8] = if chunk.is_empty() { b"\n" } else { &chunk[..taken] };
            for &byte in ending.iter().filter(|byte| **byte != b'\r') {
                buffer[written] = byte;
                self.last = byte;
                written += 1;
            }
            self.inner.consume(taken);
        }
        self.left -= written;
        Ok(written)
    }
}
