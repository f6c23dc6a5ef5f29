//! Which rows of a device count, how long each stands for, and which events there are.

use std::ops::Range;
use std::time::Duration;

use super::series::{Judged, Series};
use crate::detection::State;
use crate::detection::{Budget, Per};

/// What time is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Days of a device's own clock; delays in seconds.
    Days,
    /// Thousands of rows, where some row has no time; delays in rows.
    ThousandRows,
}

impl Unit {
    /// Days, where every row of every device has a time.
    pub fn of(series: &[Series]) -> Self {
        let mut rows = series.iter().flat_map(|series| &series.rows);
        if rows.all(|row| row.at_us.is_some()) { Self::Days } else { Self::ThousandRows }
    }
}

/// What counted and what did not.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counted {
    /// All rows.
    pub rows: usize,
    /// Those that count.
    pub judged: usize,
    /// Of the warm-up, which do not.
    pub warm_up: usize,
    /// After the warm-up, without a truth; they do not count either.
    pub unlabelled: usize,
    /// Of those that count, how many are said to be of a stopped machine.
    pub stopped: usize,
    /// Of those that count, how many have a score that is not a number.
    pub without_score: usize,
    /// Events with at least one row that counts.
    pub events: usize,
    /// Events without one, which count as neither found nor missed.
    pub events_left_out: usize,
    /// How long the rows that count stand for, in the [`Unit`].
    pub exposure: f64,
    /// The same without rows of events.
    pub healthy_exposure: f64,
}

impl Counted {
    /// Adds those of another device.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.judged += other.judged;
        self.warm_up += other.warm_up;
        self.unlabelled += other.unlabelled;
        self.stopped += other.stopped;
        self.without_score += other.without_score;
        self.events += other.events;
        self.events_left_out += other.events_left_out;
        self.exposure += other.exposure;
        self.healthy_exposure += other.healthy_exposure;
    }
}

/// A device, ready to be judged.
pub struct Device<'a> {
    /// The rows that count.
    pub rows: Vec<Counting<'a>>,
    /// The events with at least one of them, in their order.
    pub events: Vec<Event>,
    /// What counted.
    pub counted: Counted,
    /// Whether the last event lasts until the end of the file.
    pub ends_in_event: bool,
}

/// A row that counts.
#[derive(Clone, Copy)]
pub struct Counting<'a> {
    /// What was said of it.
    pub judged: &'a Judged,
    /// Its number in the file, from 0.
    pub number: usize,
    /// When it was: seconds, or rows.
    pub at: f64,
    /// How long it stands for, in the [`Unit`].
    pub exposure: f64,
    /// Whether something was wrong.
    pub truth: bool,
    /// Whether an alarm began with it.
    pub begins: bool,
}

/// A maximal run of rows in which something was wrong.
pub struct Event {
    /// Which of the rows that count.
    pub rows: Range<usize>,
    /// When its first row was, be it in the warm-up or not.
    pub onset: f64,
    /// When its last row was.
    pub end: f64,
}

/// A step of so many usual ones is a pause, in which there was nothing to judge: it counts as one usual step.
const PAUSE_STEPS: f64 = 10.0;
const SECONDS_A_DAY: f64 = 86_400.0;

impl<'a> Device<'a> {
    pub fn of(series: &'a Series, unit: Unit) -> Self {
        let all = &series.rows;
        let at = |number: usize| match (unit, all[number].at_us) {
            (Unit::Days, Some(at_us)) => at_us as f64 / 1e6,
            _ => number as f64,
        };
        let exposures = exposures(all.len(), unit, at);
        let mut rows = Vec::with_capacity(all.len());
        let mut counted = Counted { rows: all.len(), ..Counted::default() };
        for (number, judged) in all.iter().enumerate() {
            if judged.state == State::Learning {
                counted.warm_up += 1;
                continue;
            }
            let Some(truth) = judged.truth else {
                counted.unlabelled += 1;
                continue;
            };
            let begins = series.begins(number);
            let row = Counting { judged, number, at: at(number), exposure: exposures[number], truth, begins };
            counted.judged += 1;
            counted.stopped += usize::from(judged.state == State::Stopped);
            counted.without_score += usize::from(judged.score.is_nan());
            counted.exposure += row.exposure;
            counted.healthy_exposure += if truth { 0.0 } else { row.exposure };
            rows.push(row);
        }
        let runs = wrong(all);
        let events: Vec<Event> = runs.iter().filter_map(|run| event(run, &rows, at)).collect();
        counted.events = events.len();
        counted.events_left_out = runs.len() - events.len();
        let ends_in_event = all.last().is_some_and(|row| row.truth == Some(true)) && !events.is_empty();
        Self { rows, events, counted, ends_in_event }
    }
}

/// The maximal runs of rows in which something was wrong, by their numbers.
fn wrong(all: &[Judged]) -> Vec<Range<usize>> {
    let truth: Vec<bool> = all.iter().map(|row| row.truth == Some(true)).collect();
    crate::statistics::runs(&truth)
}

fn event(run: &Range<usize>, rows: &[Counting<'_>], at: impl Fn(usize) -> f64) -> Option<Event> {
    let from = rows.partition_point(|row| row.number < run.start);
    let to = rows.partition_point(|row| row.number < run.end);
    (from < to).then(|| Event { rows: from..to, onset: at(run.start), end: at(run.end - 1) })
}

/// How long each row stands for: since the row before it.
fn exposures(rows: usize, unit: Unit, at: impl Fn(usize) -> f64) -> Vec<f64> {
    if unit == Unit::ThousandRows {
        return vec![1e-3; rows];
    }
    let steps: Vec<f64> = (1..rows).map(|row| (at(row) - at(row - 1)).max(0.0)).collect();
    let mut sorted: Vec<f64> = steps.iter().copied().filter(|step| *step > 0.0).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    let step = |step: f64| if step > PAUSE_STEPS * usual { usual } else { step };
    // Nothing is before the first row: it stands for a usual step.
    std::iter::once(usual)
        .chain(steps.into_iter().map(step))
        .take(rows)
        .map(|step| step / SECONDS_A_DAY)
        .collect()
}

/// How many episodes `budget` allows in all the time in which nothing was wrong; nothing where it is one of
/// time and the rows have none.
pub fn allowed(budget: &Budget, unit: Unit, devices: &[Device<'_>]) -> Option<f64> {
    let healthy_rows = devices.iter().flat_map(|device| &device.rows).filter(|row| !row.truth).count();
    let days: f64 = devices.iter().map(|device| device.counted.healthy_exposure).sum();
    match (budget.per, unit) {
        (Per::Rows(_), _) => Some(budget.share(None) * healthy_rows as f64),
        (Per::Time(_), Unit::Days) => {
            Some(budget.share(Duration::try_from_secs_f64(days * SECONDS_A_DAY).ok()))
        }
        (Per::Time(_), Unit::ThousandRows) => None,
    }
}
