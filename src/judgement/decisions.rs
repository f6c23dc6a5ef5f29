//! What is said of the rows that count, by the detector or in its place.

use super::device::{Counting, Device};
use crate::detection::State;

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// What is judged.
    Detector,
    /// No alarm at all.
    Never,
    /// An alarm from the first row to the last.
    Always,
    /// An alarm from one row number on, the same for every device, to the end. The number is chosen in its
    /// favour, with the truth in sight: that which finds most events with no more false episodes than the
    /// budget allows; of several the one with fewest, and of those the highest.
    RowNumber,
    /// An alarm of one row at every twentieth part of the file.
    EveryTwentieth,
    /// An alarm from the middle of the file to its end.
    SecondHalf,
}

impl Who {
    /// Those that need no detector, in the order of tables.
    pub const CONTROLS: [Self; 5] =
        [Self::Never, Self::Always, Self::RowNumber, Self::EveryTwentieth, Self::SecondHalf];

    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detector => "detector",
            Self::Never => "never",
            Self::Always => "always",
            Self::RowNumber => "row_number",
            Self::EveryTwentieth => "every_twentieth",
            Self::SecondHalf => "second_half",
        }
    }
}

/// What is said of the rows of a device that count; all parts are as long.
pub struct Decisions {
    pub alarms: Vec<bool>,
    pub begins: Vec<bool>,
    pub scores: Vec<f64>,
}

impl Decisions {
    /// What the detector said.
    pub fn of_detector(device: &Device<'_>) -> Self {
        let is_alarm = |row: &Counting<'_>| row.judged.state == State::Alarm;
        Self {
            alarms: device.rows.iter().map(is_alarm).collect(),
            begins: device.rows.iter().map(|row| row.begins).collect(),
            scores: device.rows.iter().map(|row| score(row.judged.score)).collect(),
        }
    }

    /// Those of a rule that knows a row's place alone; its score is 1 in an alarm and 0 otherwise.
    pub fn of_rule(rows: usize, is_alarm: impl Fn(usize) -> bool) -> Self {
        let alarms: Vec<bool> = (0..rows).map(is_alarm).collect();
        let begins = |at: usize| alarms[at] && (at == 0 || !alarms[at - 1]);
        Self {
            begins: (0..rows).map(begins).collect(),
            scores: alarms.iter().map(|is_alarm| f64::from(u8::from(*is_alarm))).collect(),
            alarms,
        }
    }
}

/// What is not a number is the least unusual.
fn score(score: f64) -> f64 {
    if score.is_nan() { f64::NEG_INFINITY } else { score }
}
