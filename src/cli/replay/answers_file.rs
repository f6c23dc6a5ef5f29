//! The recording's rows with their answers beside them, as CSV.

use std::path::Path;
use std::time::{Duration, Instant};

use csv::{StringRecord, Writer};

use crate::growing_file::GrowingFile;
use crate::requester::Answer;
use crate::sensors::recorded::Row;

/// The columns that are added.
const COLUMNS: [&str; 6] =
    ["prediction", "anomaly", "inference_time_ms", "cloud_latency_ms", "total_latency_ms", "error"];

/// What stands before the name of an added column where the recording has one of that name.
const PREFIX: &str = "nearfar_";

/// How long rows may wait to be written: whoever looks at a slow replay sees how it gets on, and what ends
/// the process without asking takes no more.
const FLUSH_PERIOD: Duration = Duration::from_secs(1);

/// Written beside its final name, and given that name once it is complete.
pub struct AnswersFile {
    writer: Option<Writer<GrowingFile>>,
    threshold: f32,
    rows: u64,
    flushed_at: Instant,
    /// Added columns that have another name than usual.
    renamed: Vec<String>,
}

impl AnswersFile {
    pub fn create(path: &Path, header: &StringRecord, threshold: f32) -> anyhow::Result<Self> {
        let mut writer = Writer::from_writer(GrowingFile::create_unfinished(path)?);
        let added = COLUMNS.map(|column| name_beside(column, header));
        let renamed = added.iter().filter(|added| !COLUMNS.contains(&added.as_str())).cloned().collect();
        writer.write_record(header.iter().chain(added.iter().map(String::as_str)))?;
        // A disk that is full already is better known before anything is asked.
        writer.flush()?;
        Ok(Self { writer: Some(writer), threshold, rows: 0, flushed_at: Instant::now(), renamed })
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
        writer.write_record(row.record.iter().chain(added.iter().map(String::as_str)))?;
        self.rows += 1;
        Ok(())
    }

    /// Brings to the disk what has waited long enough.
    pub fn flush_in_time(&mut self) -> anyhow::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if self.flushed_at.elapsed() >= FLUSH_PERIOD {
            writer.flush()?;
            self.flushed_at = Instant::now();
        }
        Ok(())
    }

    /// The added columns that are not called as usual, because the recording has columns of those names.
    pub fn renamed(&self) -> &[String] {
        &self.renamed
    }

    /// Leaves the file as it is, without its name, because `error` came in between; one without an answer
    /// is taken away.
    pub fn leave(&mut self, error: anyhow::Error) -> anyhow::Error {
        // Where it cannot be written the error says so already.
        let Some(writer) = self.writer.take() else { return error };
        let place = writer.get_ref().path().display().to_string();
        match (writer.into_inner(), self.rows) {
            (Ok(file), 0) => {
                file.discard();
                error
            }
            (Ok(_), rows) => error.context(format!("the answers so far are in {place}, {rows} rows")),
            (Err(_), _) => error,
        }
    }

    /// Gives the file its name.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        Ok(writer.into_inner().map_err(|error| error.into_error())?.complete()?)
    }
}

/// What `column` is called beside those of `header`.
fn name_beside(column: &str, header: &StringRecord) -> String {
    let mut name = column.to_owned();
    while header.iter().any(|known| known == name) {
        name.insert_str(0, PREFIX);
    }
    name
}
