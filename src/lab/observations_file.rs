//! `observations.parquet`: every observation of an experiment, as a table for notebooks.
//!
//! Times are whole nanoseconds, so that nothing is rounded. Columns that may be
//! empty are null where nothing is known.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::observation::{End, Observation};
use super::scenario::Scenario;

/// The most observations of a row group: what is copied into columns at once.
const ROW_GROUP_ROWS_MAX: usize = 500_000;

const SCHEMA: &str = "message observations {
    required int32 point;
    required int32 repeat;
    required binary placement (UTF8);
    required binary device_id (UTF8);
    required int64 input;
    required boolean counts;
    required int64 due_ns;
    required int64 sent_late_ns;
    optional int64 total_ns;
    required binary end (UTF8);
    required int64 network_ns;
    required int64 queue_ns;
    required int64 inference_ns;
    optional float prediction;
    optional boolean is_anomaly;
    optional boolean truth;
    required int64 request_bytes;
    required int64 answer_bytes;
    optional binary made_by (UTF8);
    optional binary reason (UTF8);
}";

/// The file while it is written. What was added is readable only once it is [finished](Self::finish).
pub struct ObservationsFile<W: Write + Send> {
    writer: SerializedFileWriter<W>,
}

impl<W: Write + Send> ObservationsFile<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(output: W) -> Result<Self, ParquetError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = Arc::new(WriterProperties::builder().build());
        Ok(Self { writer: SerializedFileWriter::new(output, schema, properties)? })
    }

    /// Adds observations of `scenario`, whose `devices` they name by number.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add(
        &mut self,
        scenario: &Scenario,
        devices: &[Arc<str>],
        observations: &[Observation],
    ) -> Result<(), ParquetError> {
        for rows in observations.chunks(ROW_GROUP_ROWS_MAX) {
            let mut columns = Columns { group: self.writer.next_row_group()?, rows };
            columns.write(scenario, devices)?;
            columns.group.close()?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When its end cannot be written.
    pub fn finish(self) -> Result<W, ParquetError> {
        self.writer.into_inner()
    }
}

/// A row group, column by column in the order of the schema.
struct Columns<'a, W: Write + Send> {
    group: SerializedRowGroupWriter<'a, W>,
    rows: &'a [Observation],
}

impl<W: Write + Send> Columns<'_, W> {
    fn write(&mut self, scenario: &Scenario, devices: &[Arc<str>]) -> Result<(), ParquetError> {
        // One text for each name: a column holds many of them.
        let placements: Vec<_> = scenario.placements.iter().map(|one| text(&one.name)).collect();
        let devices: Vec<_> = devices.iter().map(|id| text(id)).collect();
        let name = |names: &[ByteArray], at: usize| names.get(at).cloned().unwrap_or_default();
        self.all::<Int32Type>(|row| row.point.into())?;
        self.all::<Int32Type>(|row| row.repeat.into())?;
        self.all::<ByteArrayType>(|row| name(&placements, row.placement.into()))?;
        self.all::<ByteArrayType>(|row| name(&devices, row.device as usize))?;
        self.all::<Int64Type>(|row| row.input.into())?;
        self.all::<BoolType>(|row| row.due >= scenario.warm_up)?;
        self.all::<Int64Type>(|row| nanoseconds(row.due))?;
        self.all::<Int64Type>(|row| nanoseconds(row.sent_late))?;
        self.known::<Int64Type>(|row| row.total.map(nanoseconds))?;
        let (answered, silent) = (text("ANSWERED"), text("SILENT"));
        self.all::<ByteArrayType>(|row| match row.end {
            End::Answered => answered.clone(),
            End::Refused(code) => text(code),
            End::Silent => silent.clone(),
        })?;
        self.all::<Int64Type>(|row| nanoseconds(row.stages.network))?;
        self.all::<Int64Type>(|row| nanoseconds(row.stages.queue))?;
        self.all::<Int64Type>(|row| nanoseconds(row.stages.inference))?;
        self.known::<FloatType>(|row| row.prediction)?;
        self.known::<BoolType>(|row| row.is_anomaly)?;
        self.known::<BoolType>(|row| row.truth)?;
        self.all::<Int64Type>(|row| row.request_bytes.into())?;
        self.all::<Int64Type>(|row| row.answer_bytes.into())?;
        self.known::<ByteArrayType>(|row| row.choice.as_ref().map(|choice| text(&choice.made_by)))?;
        self.known::<ByteArrayType>(|row| row.choice.as_ref().map(|choice| text(&choice.reason)))
    }

    fn all<T: DataType>(&mut self, of: impl Fn(&Observation) -> T::T) -> Result<(), ParquetError> {
        let values: Vec<_> = self.rows.iter().map(of).collect();
        self.column::<T>(&values, None)
    }

    fn known<T: DataType>(&mut self, of: impl Fn(&Observation) -> Option<T::T>) -> Result<(), ParquetError> {
        let (mut values, mut levels) = (Vec::new(), Vec::with_capacity(self.rows.len()));
        for row in self.rows {
            let value = of(row);
            levels.push(i16::from(value.is_some()));
            values.extend(value);
        }
        self.column::<T>(&values, Some(&levels))
    }

    fn column<T: DataType>(&mut self, values: &[T::T], levels: Option<&[i16]>) -> Result<(), ParquetError> {
        let Some(mut column) = self.group.next_column()? else {
            return Err(ParquetError::General("there are more columns than the schema has".to_owned()));
        };
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()
    }
}

fn text(text: &str) -> ByteArray {
    ByteArray::from(text)
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::super::observation::Stages;
    use super::super::scenario::Document;
    use super::*;

    #[test]
    fn what_is_written_can_be_read_again() {
        let text = "simulation: {duration_s: 3, seed: 9, warm_up_s: 1}\nplacements: [{name: a, model: m}]\n";
        let scenario = Document::parse("s.yaml", text).unwrap().scenario(&|_| Ok(None)).unwrap();
        let observation = |input: u32, end: End| Observation {
            point: 0,
            repeat: 1,
            placement: 0,
            device: 1,
            input,
            due: Duration::from_millis(u64::from(input) * 600),
            sent_late: Duration::ZERO,
            total: (end != End::Silent).then_some(Duration::from_nanos(1_234_567)),
            end,
            stages: Stages::default(),
            prediction: (end == End::Answered).then_some(0.25),
            is_anomaly: None,
            truth: Some(true),
            request_bytes: 400,
            answer_bytes: 0,
            choice: None,
        };
        let ends = [End::Answered, End::Refused("OVERLOADED"), End::Silent];
        let rows: Vec<_> = (0..).zip(ends).map(|(input, end)| observation(input, end)).collect();
        let mut file = ObservationsFile::new(Vec::new()).unwrap();
        file.add(&scenario, &["x".into(), "y".into()], &rows).unwrap();
        file.add(&scenario, &["x".into(), "y".into()], &rows[..1]).unwrap();
        let bytes = bytes::Bytes::from(file.finish().unwrap());
        let reader = SerializedFileReader::new(bytes).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 2);
        let read: Vec<_> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap()).collect();
        assert_eq!(read.len(), 4);
        let ends: Vec<_> = read.iter().map(|row| row.get_string(9).unwrap().as_str()).collect();
        assert_eq!(ends, ["ANSWERED", "OVERLOADED", "SILENT", "ANSWERED"]);
        assert_eq!((read[1].get_string(3).unwrap().as_str(), read[1].get_long(8).unwrap()), ("y", 1_234_567));
        // The total of a silent request is null, and the second and third are beyond the warm-up.
        assert!(
            read[2].get_long(8).is_err() && read[2].get_bool(5).unwrap() && !read[1].get_bool(5).unwrap()
        );
        assert_eq!(read[0].get_float(13).unwrap(), 0.25);
    }
}
