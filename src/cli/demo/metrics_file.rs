//! `metrics.csv`: one line for each answer, with the columns that people's notebooks already read.

use std::path::Path;

use csv::Writer;

use crate::growing_file::GrowingFile;
use crate::wire::client::AnswerBody;

const COLUMNS: [&str; 6] =
    ["timestamp_us", "device_id", "placement", "inference_time_ms", "cloud_latency_ms", "total_latency_ms"];

pub struct MetricsFile {
    writer: Writer<GrowingFile>,
}

impl MetricsFile {
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let mut writer = Writer::from_writer(GrowingFile::create(path)?);
        writer.write_record(COLUMNS)?;
        // A disk that is full already is better known before anything is measured.
        writer.flush()?;
        Ok(Self { writer })
    }

    /// Adds an answer; errors have no times and leave them empty.
    pub fn write(
        &mut self,
        device: &str,
        placement: &str,
        timestamp_us: i64,
        answer: &AnswerBody,
    ) -> anyhow::Result<()> {
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        Ok(self.writer.write_record([
            timestamp_us.to_string(),
            device.to_owned(),
            placement.to_owned(),
            number(answer.inference_time_ms),
            number(answer.cloud_latency_ms),
            number(answer.total_latency_ms),
        ])?)
    }

    pub fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.writer.flush()?)
    }
}
