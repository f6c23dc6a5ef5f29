//! The recording's rows with their answers beside them, as CSV.

use std::path::Path;

use csv::{StringRecord, Writer};

use crate::growing_file::GrowingFile;
use crate::requester::Answer;
use crate::sensors::recorded::Row;

/// The columns that are added.
const COLUMNS: [&str; 6] =
    ["prediction", "anomaly", "inference_time_ms", "cloud_latency_ms", "total_latency_ms", "error"];

/// Written beside its final name, and given that name once it is complete.
pub struct AnswersFile {
    writer: Option<Writer<GrowingFile>>,
    threshold: f32,
}

impl AnswersFile {
    pub fn create(path: &Path, header: &StringRecord, threshold: f32) -> anyhow::Result<Self> {
        let mut writer = Writer::from_writer(GrowingFile::create_unfinished(path)?);
        writer.write_record(header.iter().chain(COLUMNS))?;
        // A disk that is full already is better known before anything is asked.
        writer.flush()?;
        Ok(Self { writer: Some(writer), threshold })
    }

    pub fn write(&mut self, row: &Row, answer: &Answer) -> anyhow::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let body = &answer.body;
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let error = match (&body.code, &body.error) {
            (Some(code), Some(error)) => format!("{code}: {error}"),
            (_, error) => error.clone().unwrap_or_default(),
        };
        let added = [
            body.prediction.map(|p| p.to_string()).unwrap_or_default(),
            body.prediction.map(|p| u8::from(p >= self.threshold).to_string()).unwrap_or_default(),
            number(body.inference_time_ms),
            number(body.cloud_latency_ms),
            number(body.total_latency_ms),
            error,
        ];
        Ok(writer.write_record(row.record.iter().chain(added.iter().map(String::as_str)))?)
    }

    /// Leaves the file as it is, without its name, because `error` came in between.
    pub fn leave(&mut self, error: anyhow::Error) -> anyhow::Error {
        // Where it cannot be written the error says so already.
        let Some(mut writer) = self.writer.take() else { return error };
        match writer.flush() {
            Ok(()) => {
                let place = writer.get_ref().path().display().to_string();
                error.context(format!("the answers so far are in {place}"))
            }
            Err(_) => error,
        }
    }

    /// Gives the file its name.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        Ok(writer.into_inner().map_err(|error| error.into_error())?.complete()?)
    }
}
