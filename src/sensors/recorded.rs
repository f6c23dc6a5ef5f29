//! Recorded files: rows of features from a CSV with a header, or from Parquet, one at a time.
//!
//! A file may be far larger than memory: a recording holds one row and never more
//! than [`RECORD_BYTES_MAX`] of it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ErrorKind, StringRecord};

mod columns;
mod error;
mod fleet;
mod format;
mod header;
mod inputs;
mod iso8601;
mod labels;
mod lines;
mod parquet;
mod remedy;
mod times;

pub use self::columns::{Columns, FeatureColumns};
pub use self::error::{RecordingError, Suggestion};
pub use self::fleet::{FLEET_VALUES_MAX, Fleet, FleetError, Recorded, Wanted};
pub use self::format::{Decimal, Foreign, Format};
pub use self::inputs::Input;
pub use self::labels::{Labels, UnknownLabel};
pub use self::remedy::Remedy;
pub use self::times::{NoTimes, TimeGoesBack};

use self::columns::{Chosen, Time};
use self::lines::{Lines, TooLong};
use self::parquet::ParquetRows;
use self::times::Times;
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
    /// Its time, from a column `timestamp_us` (integer microseconds), `time_s` (seconds), or one of times
    /// in ISO 8601 called `timestamp`, `time`, `datetime` or `date`; absent without any.
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
    format: Format,
    skipped: Option<Skipped>,
    times: Times,
    is_over: bool,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What was left out because it could not be used.
#[derive(Debug)]
pub struct Skipped {
    /// How many rows, or lines in front of the header.
    pub rows: u64,
    /// What is wrong with the first of them.
    pub first: RecordingError,
}

enum Source {
    Csv(Box<Csv>),
    Parquet(Box<ParquetRows>),
}

type Csv = csv::Reader<Lines<Unmarked<File>>>;

impl Recording {
    /// Opens the file at `path`, a CSV or Parquet, and finds `columns` in its header.
    ///
    /// # Errors
    /// [`RecordingError`] when it cannot be read, has no header, or its header lacks a column.
    pub fn open(path: impl AsRef<Path>, columns: &Columns) -> Result<Self, RecordingError> {
        let (path, format) = (path.as_ref().to_owned(), columns.format);
        if let Some((header, rows)) = ParquetRows::open(&path)? {
            let (source, chosen) = (Source::Parquet(Box::new(rows)), Chosen::find(columns, &header, &path)?);
            // Its numbers are no text of anybody's.
            let format = Format { decimal: Decimal::Point, ..format };
            let (skipped, times) = (None, Times::default());
            return Ok(Self { path, source, header, chosen, format, skipped, times, is_over: false });
        }
        let file = text::open(&path)
            .and_then(text::unmarked)
            .map_err(|source| RecordingError::Open { path: path.clone(), source })?;
        let lines = Lines::new(file, RECORD_BYTES_MAX, format.delimiter);
        // Rows of another length are refused here, where their line is known.
        let mut csv = csv::ReaderBuilder::new();
        let mut reader = csv.flexible(true).has_headers(false).delimiter(format.delimiter).from_reader(lines);
        let mut skipped = None;
        let (header, chosen) = find_header(&mut reader, columns, &path, &mut skipped)?;
        let source = Source::Csv(Box::new(reader));
        let times = Times::default();
        Ok(Self { path, source, header, chosen, format, skipped, times, is_over: false })
    }

    /// What was left out so far; `None` where everything can be used.
    pub fn skipped(&self) -> Option<&Skipped> {
        self.skipped.as_ref()
    }

    /// Rows so far that have no time although there is a column for it.
    pub fn without_time(&self) -> Option<&NoTimes> {
        self.times.none()
    }

    /// The first row so far whose time is before that of the row above it.
    pub fn time_goes_back(&self) -> Option<TimeGoesBack> {
        self.times.back()
    }

    /// Refuses times that nobody can keep to: those that go back, and other things in between.
    ///
    /// # Errors
    /// [`RecordingError`] that names the first such row so far.
    pub fn check_times(&self) -> Result<(), RecordingError> {
        if let Some(TimeGoesBack { line, by_us }) = self.times.back() {
            return Err(RecordingError::TimeGoesBack { path: self.path.clone(), line, by_us });
        }
        match self.times.none() {
            Some(NoTimes { line, column, found, .. }) if self.times.are_some() => {
                let (line, column, found) = (*line, column.clone(), found.clone());
                Err(RecordingError::NoTime { path: self.path.clone(), line, column, found })
            }
            _ => Ok(()),
        }
    }

    /// The names of the columns that hold features, in the order asked for.
    pub fn feature_columns(&self) -> impl Iterator<Item = &str> {
        self.chosen.features.iter().map(|&column| &self.header[column])
    }

    /// The names of every column, without the blanks around them.
    pub fn header(&self) -> &StringRecord {
        &self.header
    }

    fn read(&mut self) -> Result<Option<Row>, RecordingError> {
        loop {
            match self.read_one() {
                Err(error) if self.format.skips_bad_rows && error.is_of_a_row() => {
                    skip(&mut self.skipped, error);
                }
                read => return read,
            }
        }
    }

    fn read_one(&mut self) -> Result<Option<Row>, RecordingError> {
        let found = match &mut self.source {
            Source::Csv(reader) => read_csv(reader, &self.path, &self.header, &self.format)?,
            Source::Parquet(rows) => rows.next(&self.path)?,
        };
        let Some((line, record)) = found else { return Ok(None) };
        let row = self.row(line, record)?;
        match (row.timestamp_us, self.chosen.time) {
            (Some(us), _) => self.times.see(line, Ok(us)),
            (None, Some(Time::Date(column))) => {
                self.times.see(line, Err((&self.header[column], format::bare(&row.record[column]))));
            }
            (None, _) => {}
        }
        Ok(Some(row))
    }

    fn row(&self, line: u64, record: StringRecord) -> Result<Row, RecordingError> {
        let cell = Cells { recording: self, record: &record, line };
        let features =
            self.chosen.features.iter().map(|&column| cell.feature(column)).collect::<Result<_, _>>()?;
        let timestamp_us = match self.chosen.time {
            None => None,
            Some(Time::Microseconds(column)) => Some(cell.microseconds(column)?),
            Some(Time::Seconds(column)) => Some(cell.seconds(column)?),
            // A column of that name may hold something else, and then the rows have no time.
            Some(Time::Date(column)) => iso8601::microseconds(cell.text(column)),
        };
        let label = self.chosen.label.map(|column| format::bare(&record[column]).to_owned());
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

fn skip(skipped: &mut Option<Skipped>, error: RecordingError) {
    match skipped {
        Some(skipped) => skipped.rows += 1,
        None => *skipped = Some(Skipped { rows: 1, first: error }),
    }
}

/// The names of the columns, behind remarks that may be skipped, and where the wanted ones stand.
fn find_header(
    reader: &mut Csv,
    columns: &Columns,
    path: &Path,
    skipped: &mut Option<Skipped>,
) -> Result<(StringRecord, Chosen), RecordingError> {
    loop {
        let Some((line, cells)) = next_record(reader, path)? else {
            return Err(RecordingError::Empty { path: path.to_owned() });
        };
        let cells = StringRecord::from_byte_record(cells).map_err(|error| {
            let column = (error.utf8_error().field() + 1).to_string();
            RecordingError::NotUtf8 { path: path.to_owned(), line, column }
        })?;
        if let Some(found) = header::said_delimiter(&cells, columns.format.delimiter).filter(|_| line == 1) {
            let (path, expected) = (path.to_owned(), columns.format.delimiter.into());
            if found == expected {
                continue;
            }
            return Err(RecordingError::Delimiter { path, line, found, expected });
        }
        let names = header::names(&cells);
        if names.iter().all(str::is_empty) {
            return Err(RecordingError::Empty { path: path.to_owned() });
        }
        let missing = match Chosen::find(columns, &names, path) {
            Ok(chosen) => return Ok((names, chosen)),
            Err(missing) => missing,
        };
        let uncommented = header::uncommented(&cells);
        if header::is_comment(&cells)
            && let Ok(chosen) = Chosen::find(columns, &uncommented, path)
        {
            return Ok((uncommented, chosen));
        }
        match header::fault(&cells, line, &columns.format, path) {
            Some(error @ RecordingError::Comment { .. }) if columns.format.skips_bad_rows => {
                skip(skipped, error);
            }
            fault => return Err(fault.unwrap_or(missing)),
        }
    }
}

/// The next row that is not blank, and the line on which it begins.
fn next_record(reader: &mut Csv, path: &Path) -> Result<Option<(u64, ByteRecord)>, RecordingError> {
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
    match reader.get_ref().open_quote() {
        // What the last record has of a line that is not ended is counted as a line too.
        Some(opened) if breaks > 0 && (line..=line + breaks + 1).contains(&opened) => {
            Err(RecordingError::OpenQuote { path: path.to_owned(), line: opened })
        }
        _ => Ok(Some((line, bytes))),
    }
}

fn read_csv(
    reader: &mut Csv,
    path: &Path,
    header: &StringRecord,
    format: &Format,
) -> Result<Option<(u64, StringRecord)>, RecordingError> {
    let Some((line, bytes)) = next_record(reader, path)? else { return Ok(None) };
    if bytes.len() != header.len() {
        return Err(ragged(&bytes, line, header.len(), format, path));
    }
    let record = StringRecord::from_byte_record(bytes).map_err(|error| {
        let column = header[error.utf8_error().field()].to_owned();
        RecordingError::NotUtf8 { path: path.to_owned(), line, column }
    })?;
    Ok(Some((line, record)))
}

/// What is wrong with a row of another length than the header.
fn ragged(cells: &ByteRecord, line: u64, expected: usize, format: &Format, path: &Path) -> RecordingError {
    let (path, found) = (path.to_owned(), cells.len());
    if let Some(first) = cells.get(0).filter(|first| first.trim_ascii_start().starts_with(b"#")) {
        let found = error::excerpt(&String::from_utf8_lossy(first));
        return RecordingError::Comment { path, line, found };
    }
    let is_whole = |cell: &[u8]| {
        let cell = cell.trim_ascii();
        let digits = cell.strip_prefix(b"-").unwrap_or(cell);
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    };
    if format.delimiter == b',' && found == 2 * expected && cells.iter().all(is_whole) {
        return RecordingError::Commas { path, line, expected, found };
    }
    if format.delimiter == b',' && found > expected && format::thousands(cells.iter()) == found - expected {
        return RecordingError::Thousands { path, line, expected, found };
    }
    RecordingError::Ragged { path, line, expected, found }
}

/// One row's cells, and where they stand.
struct Cells<'a> {
    recording: &'a Recording,
    record: &'a StringRecord,
    line: u64,
}

impl Cells<'_> {
    fn feature(&self, column: usize) -> Result<f32, RecordingError> {
        let value = self.recording.format.decimal.number_f32(self.text(column));
        let value = value.filter(|value| value.is_finite());
        value.ok_or_else(|| self.unfit(column, "a finite number that fits 32 bits"))
    }

    fn microseconds(&self, column: usize) -> Result<i64, RecordingError> {
        let written = whole_number(self.text(column)).or_else(|| iso8601::microseconds(self.text(column)));
        written.ok_or_else(|| self.unfit(column, "whole microseconds"))
    }

    fn seconds(&self, column: usize) -> Result<i64, RecordingError> {
        /// Beyond it, microseconds do not fit 64 bits.
        const SECONDS_MAX: f64 = 9.2e12;
        let seconds = self.recording.format.decimal.number(self.text(column));
        let seconds = seconds.filter(|seconds| seconds.abs() <= SECONDS_MAX);
        let microseconds = seconds.map(|seconds| (seconds * 1e6).round() as i64);
        let microseconds = microseconds.or_else(|| iso8601::microseconds(self.text(column)));
        microseconds.ok_or_else(|| self.unfit(column, "seconds"))
    }

    fn text(&self, column: usize) -> &str {
        format::bare(&self.record[column])
    }

    fn unfit(&self, column: usize, expected: &'static str) -> RecordingError {
        let foreign = Foreign::of(self.text(column), self.recording.format.decimal);
        RecordingError::Unfit {
            path: self.recording.path.clone(),
            line: self.line,
            column: self.recording.header[column].to_owned(),
            found: error::excerpt(self.text(column)),
            expected,
            foreign,
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
        // Text, equal lengths, seeking and serde are not asked for.
        other => RecordingError::Read { path, line, source: io::Error::other(format!("{other:?}")) },
    }
}
