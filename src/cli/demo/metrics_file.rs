//! `metrics.csv`: one line for each answer, with the columns that people's notebooks already read.

use std::path::Path;

use csv::Writer;

use crate::growing_file::GrowingFile;
use crate::wire::client::AnswerBody;

const COLUMNS: [&str; 6] =
    ["timestamp_us", "device_id", "placement", "inference_time_ms", "cloud_latency_ms", "total_latency_ms"];

/// A new file is of use while it grows; one that replaces another does so once it is complete.
pub struct MetricsFile {
    writer: Option<Writer<GrowingFile>>,
}

impl MetricsFile {
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let create = if path.exists() { GrowingFile::create_unfinished } else { GrowingFile::create };
        let mut writer = Writer::from_writer(create(path)?);
        writer.write_record(COLUMNS)?;
        // A disk that is full already is better known before anything is measured.
        writer.flush()?;
        Ok(Self { writer: Some(writer) })
    }

    /// Adds an answer; errors have no times and leave them empty.
    pub fn write(
        &mut self,
        device: &str,
        placement: &str,
        timestamp_us: i64,
        answer: &AnswerBody,
    ) -> anyhow::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        Ok(writer.write_record([
            timestamp_us.to_string(),
            device.to_owned(),
            placement.to_owned(),
            number(answer.inference_time_ms),
            number(answer.cloud_latency_ms),
            number(answer.total_latency_ms),
        ])?)
    }

    /// Leaves the file as it is, because something came in between.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        self.writer.as_mut().map_or(Ok(()), |writer| Ok(writer.flush()?))
    }

    /// Nothing more comes: the file has its name.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        Ok(writer.into_inner().map_err(|error| error.into_error())?.complete()?)
    }
}
