//! All rows of some recorded files, by the device that they are of.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use csv::StringRecord;

use super::columns::{self, Columns, DATES, FeatureColumns};
use super::{Format, Labels, Recording, RecordingError};

/// The most numbers of features that are read: 256 MiB of them.
pub const FLEET_VALUES_MAX: usize = 1 << 26;
/// How many rows decide which columns hold numbers.
const LOOKED_AT: usize = 200;

/// What is wanted of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The columns that hold features; where nothing is said, all that hold numbers and are nothing else.
    pub features: Option<FeatureColumns>,
    /// A column with the truth about a row.
    pub label: Option<String>,
    /// What its words mean.
    pub labels: Labels,
    /// A column that names the device; where nothing is said, each file is one of its own.
    pub device: Option<String>,
    /// A column with the time, where it has none of the usual names.
    pub time: Option<String>,
    /// How the files are written.
    pub format: Format,
}

/// The rows of one device, in the order in which they stand in the files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recorded {
    /// Its name.
    pub name: String,
    /// Row-major `(rows, features)`.
    pub features: Vec<f32>,
    /// Microseconds of each row, where there is a time.
    pub timestamps_us: Vec<Option<i64>>,
    /// What the label says of each row: whether it is an anomaly.
    pub truth: Vec<Option<bool>>,
}

/// All devices of some files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fleet {
    /// The names of the features, in order.
    pub features: Vec<String>,
    /// In the order in which they first occur.
    pub devices: Vec<Recorded>,
    /// What was left out, and why, in sentences.
    pub remarks: Vec<String>,
}

/// Why files cannot be read as a fleet.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A file cannot be used.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// There is no column that could be a feature.
    #[error(
        "{}: found no column of numbers besides label, device and time: name those that are features", path.display()
    )]
    NoFeatures {
        /// The file.
        path: PathBuf,
    },
    /// A label is none of the words that are known.
    #[error(
        "{}: line {line}: found the label {label:?}, expected 0 or 1, normal or anomaly, or the like; say which labels mean an anomaly",
        path.display()
    )]
    Label {
        /// The file.
        path: PathBuf,
        /// The row's line.
        line: u64,
        /// What stands there.
        label: String,
    },
    /// There are no rows at all.
    #[error("{}: there are no rows, expected at least one below the header", path.display())]
    NoRows {
        /// The first file.
        path: PathBuf,
    },
    /// There are more numbers than fit.
    #[error(
        "{}: line {line}: there are more than {FLEET_VALUES_MAX} numbers up to here; take fewer files, or fewer columns",
        path.display()
    )]
    TooMany {
        /// The file.
        path: PathBuf,
        /// The row's line.
        line: u64,
    },
}

impl Recorded {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.timestamps_us.len()
    }
}

impl Fleet {
    /// Reads all of `files`, which have the same columns.
    ///
    /// # Errors
    /// [`FleetError`], which says of what is wrong where it stands.
    pub fn read(files: &[PathBuf], wanted: &Wanted) -> Result<Self, FleetError> {
        let mut fleet = Self::default();
        let features = match (&wanted.features, files.first()) {
            (Some(features), _) => features.clone(),
            (None, Some(first)) => FeatureColumns::Named(fleet.numbers_of(first, wanted)?),
            (None, None) => FeatureColumns::Named(Vec::new()),
        };
        let columns = Columns {
            features,
            label: wanted.label.clone(),
            labels: wanted.labels.clone(),
            time: wanted.time.clone(),
            format: wanted.format,
        };
        let mut places = HashMap::new();
        let mut values = 0;
        for path in files {
            let mut recording = Recording::open(path, &columns)?;
            if fleet.features.is_empty() {
                fleet.features = recording.feature_columns().map(str::to_owned).collect();
            }
            let device = wanted.device.as_deref();
            let device = device.map(|name| columns::find(name, recording.header(), path)).transpose()?;
            for row in recording.by_ref() {
                let row = row?;
                values += row.features.len();
                if values > FLEET_VALUES_MAX {
                    return Err(FleetError::TooMany { path: path.clone(), line: row.line });
                }
                let truth = match &row.label {
                    None => None,
                    Some(label) => wanted.labels.truth(label).map_err(|_| FleetError::Label {
                        path: path.clone(),
                        line: row.line,
                        label: label.clone(),
                    })?,
                };
                let name = device.map_or_else(|| name_of(path), |column| row.record[column].to_owned());
                let place = *places.entry(name.clone()).or_insert_with(|| {
                    fleet.devices.push(Recorded { name, ..Recorded::default() });
                    fleet.devices.len() - 1
                });
                let device = &mut fleet.devices[place];
                device.features.extend(row.features);
                device.timestamps_us.push(row.timestamp_us);
                device.truth.push(truth);
            }
            if let Some(skipped) = recording.skipped() {
                let rows = skipped.rows;
                fleet.remarks.push(format!(
                    "{rows} rows of {} were left out, the first: {}",
                    path.display(),
                    skipped.first
                ));
            }
        }
        match files.first() {
            Some(path) if fleet.devices.is_empty() => Err(FleetError::NoRows { path: path.clone() }),
            _ => Ok(fleet),
        }
    }

    /// Whether a row of this truth is sound, as far as anybody knows: where some rows are said to be sound, a
    /// row of which nothing is said is neither that nor an anomaly.
    pub fn soundness(&self) -> impl Fn(&Option<bool>) -> bool + use<> {
        let knows_sound =
            self.devices.iter().flat_map(|device| &device.truth).any(|truth| *truth == Some(false));
        move |truth| if knows_sound { *truth == Some(false) } else { *truth != Some(true) }
    }

    /// How many rows all devices have.
    pub fn rows(&self) -> usize {
        self.devices.iter().map(Recorded::rows).sum()
    }

    /// The columns of the file at `path` that hold numbers and are neither label, device nor time, nor merely
    /// count rows.
    fn numbers_of(&mut self, path: &Path, wanted: &Wanted) -> Result<Vec<String>, FleetError> {
        let columns = Columns { format: wanted.format, ..Columns::named(Vec::<String>::new()) };
        let mut recording = Recording::open(path, &columns)?;
        let header = recording.header().clone();
        let rows: Vec<StringRecord> =
            recording.by_ref().take(LOOKED_AT).filter_map(|row| row.ok().map(|row| row.record)).collect();
        let is_of_another_kind = |name: &str| {
            [&wanted.label, &wanted.device, &wanted.time].into_iter().flatten().any(|other| other == name)
                || ["timestamp_us", "time_s"].contains(&name)
                || DATES.iter().any(|date| name.eq_ignore_ascii_case(date))
        };
        let mut names = Vec::new();
        for (column, name) in header.iter().enumerate() {
            if name.is_empty() || is_of_another_kind(name) {
                continue;
            }
            let numbers: Option<Vec<f64>> =
                rows.iter().map(|row| wanted.format.decimal.number(row[column].trim())).collect();
            match numbers {
                Some(numbers) if counts_rows(&numbers) => self.remarks.push(format!(
                    "column {name} is left out: it rises from row to row by one step, as a row's number does; name the features if it is one"
                )),
                Some(numbers) if is_label(name) && numbers.iter().all(|one| [0.0, 1.0].contains(one)) => {
                    self.remarks.push(format!(
                        "column {name} is left out: it looks like a label; say so, or name the features if it is one"
                    ));
                }
                Some(numbers) if !numbers.is_empty() => names.push(name.to_owned()),
                _ => self.remarks.push(format!("column {name} is left out: it holds no numbers")),
            }
        }
        if names.is_empty() {
            return Err(FleetError::NoFeatures { path: path.to_owned() });
        }
        Ok(names)
    }
}

/// Whether a column of 0 and 1 is called like the truth about a row: taken for a feature it would be known by
/// whoever trains, and by no sensor.
fn is_label(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "label",
        "anomaly",
        "is_anomaly",
        "fault",
        "faulty",
        "failure",
        "target",
        "class",
        "outlier",
        "changepoint",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether numbers rise by one step, as those of rows do and their shares of all rows.
fn counts_rows(numbers: &[f64]) -> bool {
    let [first, second, .., last] = numbers else { return false };
    let mean = (last - first) / (numbers.len() - 1) as f64;
    // What is printed with few digits rises by steps that differ in the last one.
    second > first && numbers.windows(2).all(|pair| ((pair[1] - pair[0]) / mean - 1.0).abs() < 0.2)
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
