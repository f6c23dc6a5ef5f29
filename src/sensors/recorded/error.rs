//! What can be wrong with a recorded file, in words that let its owner mend it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use csv::StringRecord;

use super::RECORD_BYTES_MAX;
use super::format::Foreign;
use crate::suggestion;

/// Why a recorded file, or a row of it, cannot be used. Lines count from 1, the header's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum RecordingError {
    /// The file cannot be opened.
    #[error("{}: cannot be opened: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    /// The file stopped being readable.
    #[error("{}: line {line}: cannot be read: {source}", path.display())]
    Read { path: PathBuf, line: u64, source: io::Error },
    /// It begins as a Parquet file does, and cannot be read as one.
    #[error("{}: row {}: cannot be read as Parquet: {problem}", path.display(), line.saturating_sub(1))]
    Parquet {
        path: PathBuf,
        /// The row's number, where the first one is 2 as in a CSV; 1 for the file as a whole.
        line: u64,
        problem: String,
    },
    /// There is no header.
    #[error("{}: line 1: found nothing, expected a header with the columns' names", path.display())]
    Empty { path: PathBuf },
    /// Something else than was expected stands between the columns' names.
    #[error(
        "{}: line {line}: found names with {} between them, expected {}",
        path.display(), Delimiter(*found), Delimiter(*expected)
    )]
    Delimiter { path: PathBuf, line: u64, found: char, expected: char },
    /// The first line has no names.
    #[error("{}: line {line}: found numbers ({found}), expected a header with the columns' names", path.display())]
    NoHeader { path: PathBuf, line: u64, found: String },
    /// A line is a remark.
    #[error("{}: line {line}: found a comment ({found:?}), expected the columns", path.display())]
    Comment { path: PathBuf, line: u64, found: String },
    /// A row of numbers has twice as many cells as the header.
    #[error("{}: line {line}: found {found} cells, twice the {expected} of the header", path.display())]
    Commas { path: PathBuf, line: u64, expected: usize, found: usize },
    /// A quote is not closed, so that the rows below it are a part of its cell.
    #[error(
        "{}: line {line}: a quote is opened there and not closed, so that the rows below it would be a part of its cell; \
         close it, or take it out",
        path.display()
    )]
    OpenQuote { path: PathBuf, line: u64 },
    /// A row has more cells than the header, and so many of them look like the thousands before the next one.
    #[error("{}: line {line}: found {found} cells, expected {expected} as in the header: 1,658 is two cells", path.display())]
    Thousands { path: PathBuf, line: u64, expected: usize, found: usize },
    /// A row is longer than [`RECORD_BYTES_MAX`].
    #[error(
        "{}: line {line}: the row has more than {RECORD_BYTES_MAX} bytes; is a quote left open?",
        path.display()
    )]
    TooLong {
        path: PathBuf,
        /// The line on which the row begins.
        line: u64,
    },
    /// The header lacks a column.
    #[error("{}: line 1: found no column {column:?}; {suggestion}", path.display())]
    UnknownColumn {
        path: PathBuf,
        /// The column that was asked for.
        column: String,
        /// What may have been meant.
        suggestion: Suggestion,
    },
    /// The header lacks an input of the model.
    #[error("{}: line 1: found no column {input:?}, an input of the model; {suggestion}", path.display())]
    UnknownInput {
        path: PathBuf,
        input: String,
        /// What may have been meant.
        suggestion: Suggestion,
    },
    /// A column holds an input in another unit than the model takes it.
    #[error("{}: line 1: found column {column:?}, expected it in {expected}, the unit of the model", path.display())]
    Unit { path: PathBuf, column: String, expected: String },
    /// Two columns have the name that was asked for.
    #[error("{}: line 1: columns {first} and {second} are both called {column:?}, expected one", path.display())]
    Ambiguous {
        path: PathBuf,
        column: String,
        /// The first such column, from 1.
        first: usize,
        second: usize,
    },
    /// A range ends before it begins.
    #[error(
        "{}: line 1: column {last:?} stands before {first:?}, expected a range from left to right: {last}..{first}",
        path.display()
    )]
    Backwards { path: PathBuf, first: String, last: String },
    /// A row has more or fewer cells than the header.
    #[error("{}: line {line}: found {found} cells, expected {expected} as in the header", path.display())]
    Ragged { path: PathBuf, line: u64, expected: usize, found: usize },
    /// A cell is not text.
    #[error("{}: line {line}, column {column}: found bytes that are not UTF-8, expected text", path.display())]
    NotUtf8 {
        path: PathBuf,
        line: u64,
        /// The column's name, or its number from 1 in the header.
        column: String,
    },
    /// A cell does not hold what its column is used for.
    #[error("{}: line {line}, column {column}: found {found:?}, expected {expected}", path.display())]
    Unfit {
        path: PathBuf,
        line: u64,
        column: String,
        /// The cell, cut short where it is long.
        found: String,
        expected: &'static str,
        /// How it is written, where it is a number in another form.
        foreign: Option<Foreign>,
    },
    /// A column of times has something else between its times.
    #[error(
        "{}: line {line}, column {column}: found {found:?}, expected a time in ISO 8601, as in the rows around it",
        path.display()
    )]
    NoTime { path: PathBuf, line: u64, column: String, found: String },
    /// The time of a row is before that of the row above it.
    #[error(
        "{}: line {line}: its time is {} s before that of the row above, expected rows in the order of their times",
        path.display(), seconds(*by_us)
    )]
    TimeGoesBack { path: PathBuf, line: u64, by_us: u64 },
}

/// Seconds, with no more digits than there are microseconds.
pub fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

/// What stands between cells, in words.
struct Delimiter(char);

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ',' => f.write_str("commas"),
            ';' => f.write_str("semicolons"),
            '\t' => f.write_str("tabs"),
            '|' => f.write_str("bars (|)"),
            ' ' => f.write_str("blanks"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// What may have been meant by a column that a file does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suggestion {
    /// A column with a similar name.
    Similar(String),
    /// The columns there are, or the first of them.
    Columns(Vec<String>),
}

/// How many columns a suggestion lists.
const LISTED_MAX: usize = 8;
/// How much of a cell or a name an error shows, in characters.
const EXCERPT_CHARS_MAX: usize = 40;

impl Suggestion {
    /// The one of `columns` that was meant by `name`, or those of the header.
    pub(crate) fn of<'a>(
        name: &str,
        columns: impl IntoIterator<Item = &'a str>,
        header: &StringRecord,
    ) -> Self {
        // Names are compared in part, for a hostile header's can be very long.
        let columns: Vec<_> = columns.into_iter().map(excerpt).collect();
        match suggestion::meant(&excerpt(name), columns.iter().map(String::as_str)) {
            Some(column) => Self::Similar(column.to_owned()),
            None => Self::Columns(header.iter().take(LISTED_MAX + 1).map(excerpt).collect()),
        }
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Similar(column) => write!(f, "did you mean {column:?}?"),
            Self::Columns(columns) if columns.len() > LISTED_MAX => {
                write!(f, "there are {} and more", columns[..LISTED_MAX].join(", "))
            }
            Self::Columns(columns) => write!(f, "there are {}", columns.join(", ")),
        }
    }
}

pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
