//! Rows of a Parquet file, as the text that a CSV would have.
//!
//! Read are files without nested columns, plain or compressed with Snappy, which is
//! what most tools write unless told otherwise.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::reader::RowIter;
use ::parquet::record::{Field, Row};
use csv::StringRecord;

use super::error::RecordingError;
use crate::text;

/// What every Parquet file begins with.
const MAGIC: [u8; 4] = *b"PAR1";

/// A file under way.
pub struct ParquetRows {
    rows: RowIter<'static>,
    line: u64,
}

impl ParquetRows {
    /// The columns' names and the rows of the file at `path`; nothing when it is no Parquet file.
    pub fn open(path: &Path) -> Result<Option<(StringRecord, Self)>, RecordingError> {
        let open =
            || text::open(path).map_err(|source| RecordingError::Open { path: path.to_owned(), source });
        let mut magic = Vec::with_capacity(MAGIC.len());
        let read = open()?.take(MAGIC.len() as u64).read_to_end(&mut magic);
        read.map_err(|source| RecordingError::Read { path: path.to_owned(), line: 1, source })?;
        if magic != MAGIC {
            return Ok(None);
        }
        let file = open()?;
        let reader =
            guarded(|| SerializedFileReader::new(file)).map_err(|problem| fault(path, 1, problem))?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        if let Some(nested) = schema.root_schema().get_fields().iter().find(|column| column.is_group()) {
            let problem = format!("column {:?} is nested, expected columns of single values", nested.name());
            return Err(fault(path, 1, problem));
        }
        let header = schema.root_schema().get_fields().iter().map(|column| column.name()).collect();
        Ok(Some((header, Self { rows: RowIter::from_file_into(Box::new(reader)), line: 1 })))
    }

    /// The next row and its number, counted as the lines of a CSV are: the first one is 2.
    pub fn next(&mut self, path: &Path) -> Result<Option<(u64, StringRecord)>, RecordingError> {
        self.line += 1;
        let row = guarded(|| self.rows.next().transpose());
        let row = row.map_err(|problem| fault(path, self.line, problem))?;
        Ok(row.map(|row| (self.line, texts(&row))))
    }
}

fn texts(row: &Row) -> StringRecord {
    row.get_column_iter().map(|(_name, field)| text(field)).collect()
}

fn text(field: &Field) -> String {
    match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::TimestampMicros(microseconds) => microseconds.to_string(),
        Field::TimestampMillis(milliseconds) => milliseconds.saturating_mul(1_000).to_string(),
        Field::Float(value) => value.to_string(),
        Field::Double(value) => value.to_string(),
        other => other.to_string(),
    }
}

/// A broken file makes the reader fail, or panic.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_panic) => Err("it is broken".to_owned()),
    }
}

fn fault(path: &Path, line: u64, problem: String) -> RecordingError {
    RecordingError::Parquet { path: path.to_owned(), line, problem }
}
