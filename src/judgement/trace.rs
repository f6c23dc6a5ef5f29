//! The course of a device in as many columns as a drawing has pixels.

use std::ops::Range;

use super::device::Unit;
use super::series::{Judged, Series};
use crate::detection::State;

/// The most columns.
pub const COLUMNS_MAX: usize = 400;

/// The course of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// From its first row to its last, each column for as many rows.
    pub columns: Vec<Column>,
    /// What the columns' places are counted in: seconds since the first row, or rows.
    pub unit: Unit,
}

/// Neighbouring rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column {
    /// Where it begins.
    pub from: f64,
    /// Where the next begins.
    pub until: f64,
    /// The highest score of its rows that have one.
    pub score: Option<f64>,
    /// The lowest threshold in force.
    pub threshold: Option<f64>,
    /// Whether any row was of the warm-up.
    pub is_learning: bool,
    /// Whether an alarm was on in any row.
    pub is_alarm: bool,
    /// Whether something was wrong in any row.
    pub is_wrong: bool,
    /// How many alarms began in it where nothing was wrong.
    pub begins_false: usize,
    /// How many alarms began in it where something was.
    pub begins_right: usize,
}

impl Trace {
    /// That of a device.
    pub(crate) fn of(series: &Series, unit: Unit) -> Self {
        let rows = &series.rows;
        let at = |number: usize| match (unit, rows.first().and_then(|row| row.at_us)) {
            (Unit::Days, Some(first)) => {
                let row = rows.get(number).or(rows.last());
                row.and_then(|row| row.at_us).map_or(0.0, |at_us| at_us.saturating_sub(first) as f64 / 1e6)
            }
            _ => number as f64,
        };
        let size = rows.len().div_ceil(COLUMNS_MAX).max(1);
        let columns = (0..rows.len()).step_by(size).map(|from| {
            let until = (from + size).min(rows.len());
            Column { from: at(from), until: at(until), ..Column::of(series, from..until) }
        });
        Self { columns: columns.collect(), unit }
    }
}

impl Column {
    /// All but its place.
    fn of(series: &Series, numbers: Range<usize>) -> Self {
        let rows = &series.rows[numbers.clone()];
        let finite =
            |of: fn(&Judged) -> Option<f64>| rows.iter().filter_map(of).filter(|value| value.is_finite());
        let begins = |truth| {
            let begins = |number: &usize| series.begins(*number) && series.rows[*number].truth == Some(truth);
            numbers.clone().filter(begins).count()
        };
        Self {
            from: 0.0,
            until: 0.0,
            score: finite(|row| (row.state != State::Learning).then_some(row.score)).reduce(f64::max),
            threshold: finite(|row| row.threshold).reduce(f64::min),
            is_learning: rows.iter().any(|row| row.state == State::Learning),
            is_alarm: rows.iter().any(|row| row.state == State::Alarm),
            is_wrong: rows.iter().any(|row| row.truth == Some(true)),
            begins_false: begins(false),
            begins_right: begins(true),
        }
    }
}
