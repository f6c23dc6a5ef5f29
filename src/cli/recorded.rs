//! Flags for files of recorded rows, of commands that read all of them before they begin.

use std::path::PathBuf;

use super::Unusable;
use crate::sensors::recorded::{Columns, Decimal, FeatureColumns, Fleet, Format, Labels, Wanted};

/// Files with rows of features.
#[derive(Debug, clap::Args)]
pub struct RecordedArgs {
    /// Recordings with a header line, as CSV or Parquet; all with the same columns
    #[arg(required = true)]
    data: Vec<PathBuf>,
    /// Column with the truth about a row
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Labels that mean an anomaly; every other one means that there is none [default: usual words such as 1,
    /// yes, faulty]
    #[arg(long, value_name = "LABELS", value_delimiter = ',', requires = "label")]
    anomaly: Vec<String>,
    /// Column that names the device of a row [default: each file is a device]
    #[arg(long, value_name = "COLUMN")]
    device: Option<String>,
    /// Column with the time of a row: microseconds where its name ends in _us, seconds where it ends in _s,
    /// else dates [default: timestamp_us, time_s, timestamp, datetime, date_time, time or date]
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// What stands between the recordings' cells, such as ';' or tab
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = super::values::delimiter)]
    delimiter: u8,
    /// What stands before the decimals of their numbers: a point or a comma
    #[arg(long, value_name = "CHARACTER", default_value = ".", value_parser = super::values::decimal)]
    decimal: Decimal,
    /// Leave out rows that cannot be used, and say how many
    #[arg(long)]
    skip_bad_rows: bool,
}

impl RecordedArgs {
    /// The files.
    pub fn files(&self) -> &[PathBuf] {
        &self.data
    }

    /// Whether there is a column with the truth.
    pub fn has_label(&self) -> bool {
        self.label.is_some()
    }

    /// Reads all rows, with `features` from these columns.
    ///
    /// # Errors
    /// [`Unusable`], which says what is wrong with which file.
    pub fn read(&self, features: Option<FeatureColumns>) -> anyhow::Result<Fleet> {
        let wanted = Wanted {
            features,
            label: self.label.clone(),
            labels: Labels { anomalies: self.anomaly.clone(), model: None },
            device: self.device.clone(),
            time: self.time.clone(),
            format: Format {
                delimiter: self.delimiter,
                decimal: self.decimal,
                skips_bad_rows: self.skip_bad_rows,
            },
        };
        Ok(Fleet::read(&self.data, &wanted).map_err(|error| Unusable(error.to_string()))?)
    }
}

/// The columns that a flag names.
pub fn columns(features: Option<&str>) -> Option<FeatureColumns> {
    features.map(|features| Columns::parse(features).features)
}
