//! Which columns of a recorded file are wanted, and where its header has them.

use std::path::Path;

use csv::StringRecord;

use super::error::{RecordingError, Suggestion};
use super::format::Format;
use super::inputs::{self, Input};
use super::labels::Labels;

/// What columns with dates are called, whatever the case; where there are several, the first of these: a date
/// that has a column of its own is none without its time.
pub const DATES: [&str; 5] = ["timestamp", "datetime", "date_time", "time", "date"];

/// Which columns of a recorded file to read.
///
/// The time needs no mention: a column `timestamp_us`, or else `time_s`, or else one of dates, is taken where
/// there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Where the features come from.
    pub features: FeatureColumns,
    /// A column that says what a row really was; none unless asked for.
    pub label: Option<String>,
    /// What the words of that column mean.
    pub labels: Labels,
    /// A column that holds the time, where it has none of the usual names. Its unit is that in which its name
    /// ends, `_us` or `_s`; else it holds dates.
    pub time: Option<String>,
    /// How the file is written, if it is a CSV.
    pub format: Format,
}

/// Where the features come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureColumns {
    /// These columns, in this order.
    Named(Vec<String>),
    /// A model's inputs, each in the column of its name, with or without its unit behind it.
    Inputs(Vec<Input>),
    /// Every column from `first` to `last`, both included, in the file's order.
    Range {
        /// The first column's name.
        first: String,
        /// The last column's name.
        last: String,
    },
}

impl Columns {
    /// The columns `names`, in this order: a model's feature names, for example.
    pub fn named(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self::of(FeatureColumns::Named(names))
    }

    /// The columns of a model's inputs.
    pub fn inputs(inputs: impl IntoIterator<Item = Input>) -> Self {
        Self::of(FeatureColumns::Inputs(inputs.into_iter().collect()))
    }

    /// Features from columns as a person writes them: `a,b,c`, or `first..last` for a range. Blanks around
    /// names do not matter; that a column exists is checked when a file is opened.
    pub fn parse(text: &str) -> Self {
        let Some((first, last)) = text.split_once("..") else {
            return Self::named(text.split(',').map(str::trim));
        };
        let (first, last) = (first.trim().to_owned(), last.trim().to_owned());
        Self::of(FeatureColumns::Range { first, last })
    }

    fn of(features: FeatureColumns) -> Self {
        Self { features, label: None, labels: Labels::default(), time: None, format: Format::default() }
    }

    /// The same columns, where the words of the label mean this.
    pub fn labels(self, labels: Labels) -> Self {
        Self { labels, ..self }
    }

    /// Columns with `name` as the one that holds the truth about a row.
    pub fn label(self, name: impl Into<String>) -> Self {
        Self { label: Some(name.into()), ..self }
    }

    /// The same columns of a CSV that is written so.
    pub fn format(self, format: Format) -> Self {
        Self { format, ..self }
    }
}

/// Where the wanted columns stand, from 0.
pub struct Chosen {
    pub features: Vec<usize>,
    pub time: Option<Time>,
    pub label: Option<usize>,
}

/// Where the time stands, and in which unit.
#[derive(Clone, Copy)]
pub enum Time {
    Microseconds(usize),
    Seconds(usize),
    /// As ISO 8601 writes it, if it is one.
    Date(usize),
}

impl Chosen {
    pub fn find(columns: &Columns, header: &StringRecord, path: &Path) -> Result<Self, RecordingError> {
        let find = |name: &str| find(name, header, path);
        let features = match &columns.features {
            FeatureColumns::Named(names) => names.iter().map(|name| find(name)).collect::<Result<_, _>>()?,
            FeatureColumns::Inputs(inputs) => inputs::places(inputs, header, path)?,
            FeatureColumns::Range { first, last } => {
                let (from, to) = (find(first)?, find(last)?);
                if from > to {
                    let (first, last) = (first.clone(), last.clone());
                    return Err(RecordingError::Backwards { path: path.to_owned(), first, last });
                }
                (from..=to).collect()
            }
        };
        let has = |name: &str| header.iter().any(|column| column == name);
        let time = if let Some(name) = &columns.time {
            let place = find(name)?;
            Some(match () {
                () if name.ends_with("_us") => Time::Microseconds(place),
                () if name.ends_with("_s") => Time::Seconds(place),
                () => Time::Date(place),
            })
        } else if has("timestamp_us") {
            Some(Time::Microseconds(find("timestamp_us")?))
        } else if has("time_s") {
            Some(Time::Seconds(find("time_s")?))
        } else {
            let place = |date: &&str| header.iter().position(|column| column.eq_ignore_ascii_case(date));
            DATES.iter().find_map(place).map(Time::Date)
        };
        let label = columns.label.as_deref().map(find).transpose()?;
        Ok(Self { features, time, label })
    }
}

pub fn find(name: &str, header: &StringRecord, path: &Path) -> Result<usize, RecordingError> {
    let mut places = header.iter().enumerate().filter(|(_, column)| *column == name).map(|(place, _)| place);
    let path = path.to_owned();
    match (places.next(), places.next()) {
        (Some(place), None) => Ok(place),
        (Some(first), Some(second)) => {
            let column = name.to_owned();
            Err(RecordingError::Ambiguous { path, column, first: first + 1, second: second + 1 })
        }
        (None, _) => {
            let suggestion = Suggestion::of(name, header, header);
            Err(RecordingError::UnknownColumn { path, column: name.to_owned(), suggestion })
        }
    }
}
