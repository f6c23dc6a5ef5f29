//! Recordings in Parquet: read as a CSV of the same columns would be, and refused in
//! words where they are broken.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearfar::sensors::recorded::{Columns, Recording, RecordingError};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, FloatType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;

const SCHEMA: &str = "message recording {
    required int64 time (TIMESTAMP_MILLIS);
    required int64 timestamp_us;
    required float rms;
    optional double peak;
    required binary truth (UTF8);
}";

fn write(directory: &Path, compression: Compression) -> PathBuf {
    let path = directory.join("mill.parquet");
    let properties = WriterProperties::builder().set_compression(compression).build();
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let mut writer =
        SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    macro_rules! column {
        ($type:ty, $values:expr, $levels:expr) => {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<$type>().write_batch($values, $levels, None).unwrap();
            column.close().unwrap();
        };
    }
    column!(Int64Type, &[1, 2], None);
    column!(Int64Type, &[1_000_000, 1_250_000], None);
    column!(FloatType, &[0.1, 0.25], None);
    column!(DoubleType, &[1e-9], Some(&[1, 0]));
    column!(ByteArrayType, &[ByteArray::from("normal"), ByteArray::from("faulty")], None);
    group.close().unwrap();
    writer.close().unwrap();
    path
}

#[test]
fn rows_are_read_as_those_of_a_csv_plain_or_compressed_with_snappy() {
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
        let directory = TempDir::new().unwrap();
        let path = write(directory.path(), compression);
        let recording = Recording::open(&path, &Columns::named(["rms"]).label("truth")).unwrap();
        let names: Vec<_> = recording.header().iter().map(str::to_owned).collect();
        assert_eq!(names, ["time", "timestamp_us", "rms", "peak", "truth"]);
        let rows: Vec<_> = recording.map(Result::unwrap).collect();
        let read: Vec<_> =
            rows.iter().map(|row| (row.line, row.timestamp_us, row.features.clone())).collect();
        assert_eq!(read, [(2, Some(1_000_000), vec![0.1]), (3, Some(1_250_000), vec![0.25])]);
        assert_eq!(rows[1].label.as_deref(), Some("faulty"));
        assert_eq!(&rows[1].record[0], "2000");
    }
}

#[test]
fn a_missing_value_is_named_by_row_and_column() {
    let directory = TempDir::new().unwrap();
    let path = write(directory.path(), Compression::SNAPPY);
    let mut recording = Recording::open(&path, &Columns::named(["peak"])).unwrap();
    assert_eq!(recording.next().unwrap().unwrap().features, [1e-9]);
    let error = recording.next().unwrap().unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("line 3, column peak: found \"\", expected a finite number that fits 32 bits"),
        "{error}"
    );
    assert!(recording.next().is_none());
}

#[test]
fn what_is_broken_is_refused_and_never_panics() {
    let directory = TempDir::new().unwrap();
    let path = write(directory.path(), Compression::SNAPPY);
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for at in 4..whole.len() {
        for broken in [whole[..at].to_vec(), [&whole[..at], &[whole[at] ^ 0x55], &whole[at + 1..]].concat()] {
            std::fs::write(&path, broken).unwrap();
            let rows = Recording::open(&path, &Columns::named(["rms"]))
                .and_then(|recording| recording.collect::<Result<Vec<_>, _>>());
            refused += usize::from(rows.is_err());
        }
    }
    // Every file that was cut is, and most of those with another byte.
    assert!(refused >= whole.len() - 4, "{refused} of {}", 2 * whole.len());
    std::fs::write(&path, "PAR1 and nothing else").unwrap();
    let error = Recording::open(&path, &Columns::named(["rms"])).err().unwrap();
    assert!(matches!(error, RecordingError::Parquet { line: 1, .. }), "{error}");
    assert!(error.to_string().contains("cannot be read as Parquet"), "{error}");
}
