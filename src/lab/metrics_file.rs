//! `metrics.csv`: one row for each answer, in the columns of the replaced system.

use std::io::{self, Read};

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use crate::inference::whole_number;
use crate::suggestion;
use crate::text::{self, Quotes};

/// The columns, in the order of the replaced system; a file may have them in any order, and others besides.
pub const COLUMNS: [&str; 6] =
    ["timestamp_us", "device_id", "placement", "inference_time_ms", "cloud_latency_ms", "total_latency_ms"];

/// The most rows that are read: some 1.5 GB of memory.
pub const ROWS_MAX: usize = 10_000_000;

/// One answer. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// When, in microseconds on the experiment's clock.
    pub timestamp_us: i64,
    /// The id of the device whose request it was.
    pub device_id: String,
    /// Where the answer was made.
    pub placement: String,
    /// How long the forward pass took.
    pub inference_ms: f64,
    /// The network, both ways.
    pub network_ms: f64,
    /// From request to answer.
    pub total_ms: f64,
}

/// A file that holds no measurements.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum MetricsFileError {
    /// It cannot be read to its end.
    #[error("{file}: cannot be read: {cause}")]
    Unreadable { file: String, cause: io::Error },
    /// Something else than commas stands between the columns' names.
    #[error(
        "{file}, line 1: found names with {found} between them, expected commas: save it with commas, and with points before \
         decimals"
    )]
    Delimiter { file: String, found: &'static str },
    /// A row has more or fewer cells than the header.
    #[error("{file}, line {line}: found {found} cells, expected {expected} as in the header")]
    Ragged { file: String, line: u64, found: u64, expected: u64 },
    /// A quote is not closed, so that the rows below it are a part of its cell.
    #[error(
        "{file}, line {line}: a quote is opened there and not closed, so that the rows below it would be a part of its cell; \
         close it, or take it out"
    )]
    OpenQuote { file: String, line: u64 },
    /// A column is missing.
    #[error("{file}, line 1: the column {column} is missing, found {found}{hint}")]
    NoColumn { file: String, column: &'static str, found: String, hint: String },
    /// A cell cannot be used.
    #[error("{file}, line {line}, column {column}: found {found:?}, expected {expected}")]
    Cell {
        file: String,
        /// Line, from 1.
        line: u64,
        column: &'static str,
        found: String,
        expected: &'static str,
    },
    /// There is nothing but a header, or not even that.
    #[error("{file}: there are no measurements, expected a header and rows with {}", COLUMNS.join(","))]
    Empty { file: String },
    /// There are too many.
    #[error("{file}: there are more than the {ROWS_MAX} rows that are read")]
    TooMany { file: String },
}

/// Reads every row of `input`, which `file` names in errors.
///
/// # Errors
/// [`MetricsFileError`] for the first thing that is wrong, with line and column.
pub fn read(file: &str, input: impl Read) -> Result<Vec<Measurement>, MetricsFileError> {
    let unreadable = |cause| MetricsFileError::Unreadable { file: file.to_owned(), cause };
    let input = text::unmarked(input).map_err(unreadable)?;
    let watched = Watched { input, quotes: Quotes::new(b','), is_over: false };
    let mut reader = ReaderBuilder::new().trim(csv::Trim::All).from_reader(watched);
    let header = reader.headers().map_err(|error| explain(file, error))?.clone();
    if header.is_empty() {
        return Err(MetricsFileError::Empty { file: file.to_owned() });
    }
    let columns = columns(file, &header)?;
    let mut measurements = Vec::new();
    let mut record = StringRecord::new();
    loop {
        let read = reader.read_record(&mut record);
        // What a quote left open is the end of the file, and is whole or has too few cells.
        if let (Some(line), Ok(false) | Err(_)) = (reader.get_ref().open_quote(), &read) {
            return Err(MetricsFileError::OpenQuote { file: file.to_owned(), line });
        }
        if !read.map_err(|error| explain(file, error))? {
            break;
        }
        if measurements.len() == ROWS_MAX {
            return Err(MetricsFileError::TooMany { file: file.to_owned() });
        }
        measurements.push(Row { file, columns: &columns, record: &record }.measurement()?);
    }
    if measurements.is_empty() {
        return Err(MetricsFileError::Empty { file: file.to_owned() });
    }
    Ok(measurements)
}

fn columns(file: &str, header: &StringRecord) -> Result<[usize; 6], MetricsFileError> {
    let mut positions = [0; 6];
    let others = [(';', "semicolons"), ('\t', "tabs"), ('|', "bars (|)")];
    let is_between = |(other, _): &&(char, &str)| header.len() == 1 && header[0].contains(*other);
    if let Some((_, found)) = others.iter().find(is_between) {
        return Err(MetricsFileError::Delimiter { file: file.to_owned(), found });
    }
    for (position, column) in positions.iter_mut().zip(COLUMNS) {
        // Spreadsheets put a byte order mark in front of the first name.
        let found = header.iter().position(|name| name.trim_start_matches('\u{feff}') == column);
        *position = found.ok_or_else(|| MetricsFileError::NoColumn {
            file: file.to_owned(),
            column,
            found: text::excerpt(&header.iter().collect::<Vec<_>>().join(",")),
            hint: suggestion::meant(column, header.iter().filter(|name| !COLUMNS.contains(name)))
                .map(|name| format!("; is it {name:?}?"))
                .unwrap_or_default(),
        })?;
    }
    Ok(positions)
}

/// What is read, with its quotes followed.
struct Watched<R> {
    input: R,
    quotes: Quotes,
    is_over: bool,
}

impl<R> Watched<R> {
    /// The line of a quote that was not closed, as far as was read.
    fn open_quote(&self) -> Option<u64> {
        self.quotes.torn_on().or_else(|| self.quotes.open_on().filter(|_| self.is_over))
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        buffer[..read].iter().for_each(|byte| self.quotes.see(*byte));
        self.is_over = read == 0;
        Ok(read)
    }
}

fn explain(file: &str, error: csv::Error) -> MetricsFileError {
    let file = file.to_owned();
    let line = error.position().map_or(0, csv::Position::line);
    match error.into_kind() {
        ErrorKind::UnequalLengths { expected_len: expected, len: found, .. } => {
            MetricsFileError::Ragged { file, line, found, expected }
        }
        ErrorKind::Utf8 { .. } => {
            let problem = format!("line {line}: found bytes that are not UTF-8, expected text");
            MetricsFileError::Unreadable { file, cause: io::Error::other(problem) }
        }
        ErrorKind::Io(cause) => MetricsFileError::Unreadable { file, cause },
        // Seeking and serde are not asked for.
        other => MetricsFileError::Unreadable { file, cause: io::Error::other(format!("{other:?}")) },
    }
}

struct Row<'a> {
    file: &'a str,
    columns: &'a [usize; 6],
    record: &'a StringRecord,
}

impl Row<'_> {
    fn measurement(&self) -> Result<Measurement, MetricsFileError> {
        let timestamp_us = whole_number(self.cell(0)).ok_or_else(|| self.wrong(0, "whole microseconds"))?;
        Ok(Measurement {
            timestamp_us,
            device_id: self.name(1)?,
            placement: self.name(2)?,
            inference_ms: self.milliseconds(3)?,
            network_ms: self.milliseconds(4)?,
            total_ms: self.milliseconds(5)?,
        })
    }

    fn cell(&self, column: usize) -> &str {
        self.record.get(self.columns[column]).unwrap_or_default()
    }

    fn name(&self, column: usize) -> Result<String, MetricsFileError> {
        match self.cell(column) {
            "" => Err(self.wrong(column, "a name")),
            name => Ok(name.to_owned()),
        }
    }

    fn milliseconds(&self, column: usize) -> Result<f64, MetricsFileError> {
        let parsed = self.cell(column).parse().ok();
        parsed
            .filter(|milliseconds: &f64| milliseconds.is_finite() && *milliseconds >= 0.0)
            .ok_or_else(|| self.wrong(column, "milliseconds, a finite number of at least 0"))
    }

    fn wrong(&self, column: usize, expected: &'static str) -> MetricsFileError {
        MetricsFileError::Cell {
            file: self.file.to_owned(),
            line: self.record.position().map_or(0, csv::Position::line),
            column: COLUMNS[column],
            found: text::excerpt(self.cell(column)),
            expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "timestamp_us,device_id,placement,inference_time_ms,cloud_latency_ms,total_latency_ms\n";

    fn problem(text: &str) -> String {
        read("m.csv", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn rows_are_read_whatever_the_order_of_columns() {
        let text = "\u{feff}placement,extra,device_id,timestamp_us,total_latency_ms,cloud_latency_ms,inference_time_ms\n\
                    cloud,x,s1,1000,105.5,100,5.5\n";
        let expected = Measurement {
            timestamp_us: 1_000,
            device_id: "s1".to_owned(),
            placement: "cloud".to_owned(),
            inference_ms: 5.5,
            network_ms: 100.0,
            total_ms: 105.5,
        };
        assert_eq!(read("m.csv", text.as_bytes()).unwrap(), [expected]);
    }

    #[test]
    fn what_is_wrong_is_named_with_file_line_and_column() {
        let row = |row: &str| problem(&format!("{HEADER}1,s,edge,1,0,1\n{row}\n"));
        assert_eq!(
            row("2,s,edge,fast,0,1"),
            "m.csv, line 3, column inference_time_ms: found \"fast\", expected milliseconds, a finite number of at least 0"
        );
        assert!(row("2,s,edge,1,0,-1").contains("line 3, column total_latency_ms: found \"-1\""));
        assert!(row("2,s,edge,1,0,nan").contains("column total_latency_ms"));
        assert!(
            row("2.5,s,edge,1,0,1")
                .contains("column timestamp_us: found \"2.5\", expected whole microseconds")
        );
        assert!(row("2,s,,1,0,1").contains("column placement: found \"\", expected a name"));
        assert_eq!(row("2,s,edge,1"), "m.csv, line 3: found 4 cells, expected 6 as in the header");
        let open = format!("{HEADER}1,s,edge,1,0,1\n2,\"s,edge,1,0,1\n3,s,edge,1,0,1\n");
        assert!(problem(&open).starts_with("m.csv, line 3: a quote is opened there and not closed"));
        let torn =
            HEADER.replace("latency_ms\n", "latency_ms,note\n") + "1,s,edge,1,0,1,\"a\n2,s,edge,1,0,1,\"b\n";
        assert!(problem(&torn).starts_with("m.csv, line 2: a quote is opened"), "{}", problem(&torn));
        let semicolons = problem(&HEADER.replace(',', ";"));
        assert!(semicolons.contains("line 1: found names with semicolons between them, expected commas"));
        assert!(problem("timestamp_us,device_id,placemnt\n").contains("column placement is missing"));
        assert!(problem("timestamp_us,device_id,placemnt\n").contains("is it \"placemnt\"?"));
        assert!(problem(HEADER).contains("no measurements") && problem("").contains("no measurements"));
    }
}
