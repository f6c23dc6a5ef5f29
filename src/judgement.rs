//! How good a detector is, by a protocol that a reviewer may read: what its alarms are worth against the
//! truth, beside what alarms are worth that need no detector.
//!
//! ```text
//!  rows of a device ─▶ device ─▶ decisions ─▶ tally and ranking ─▶ figures ─▶ verdicts
//!  (score, state,      (which    (detector    (what became of       (over all   (against each
//!   truth)              count)    and five     events, rows and      devices,    control)
//!                                 controls)    scores)               intervals)
//! ```
//! - Rows of the warm-up count in no figure, nor do rows without a truth. A row of a machine that is said to
//!   be stopped counts as quiet.
//! - Events are what counts: how many were found, how many alarms were none, how late. Rows come second, and
//!   scores third. Nothing is adjusted to whole events, and there is no F1.
//! - Five controls are judged in the same way from the same rows: never, always, the row number, an alarm
//!   every 5 % of the file, its second half.
//! - Intervals are made by drawing devices anew, for rows of one device are no independent samples.
//!
//! Pure: rows in, figures out, every random draw from a seed. docs/judge.md has each definition.
//!
//! ```
//! use nearfar::judgement::{self, Judged, Options, Series, State};
//! use nearfar::report::{About, JudgementReport};
//!
//! // What a detector said of a machine whose last ten of a hundred rows, an hour apart, were wrong.
//! let row = |number: i64| Judged {
//!     at_us: Some(number * 3_600_000_000),
//!     score: if number < 92 { 1.0 } else { 9.0 },
//!     threshold: Some(6.0),
//!     state: if number < 20 { State::Learning } else if number < 92 { State::Normal } else { State::Alarm },
//!     begins: number == 92,
//!     truth: Some(number >= 90),
//! };
//! let series = vec![Series { device: "press".to_owned(), rows: (0..100).map(row).collect() }];
//! let options = Options::at("1/week".parse()?);
//! let mut judgement = judgement::judge(&series, &options)?;
//! assert_eq!(judgement.detector().found.cases, 1);
//! // For the curve the detection is run again at each budget, here without a difference.
//! for budget in ["1/month", "1/day"] {
//!     judgement.curve.push(judgement::at_budget(budget.parse()?, &series, &options)?);
//! }
//! let about = About { detector: "models/press".to_owned(), ..About::default() };
//! let report = JudgementReport { judgement: &judgement, about: &about };
//! assert!(report.text().starts_with("At a budget of 1/week, the one event is found"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod caution;
mod control;
mod curve;
mod decisions;
mod device;
mod figures;
mod ranking;
mod series;
mod tally;
#[cfg(test)]
mod tests;
mod trace;
mod verdict;

pub use self::caution::Caution;
pub use self::curve::CurvePoint;
pub use self::decisions::Who;
pub use self::device::{Counted, Unit};
pub use self::figures::{Estimate, Figures, Rate, Share, Spread};
pub use self::ranking::Ranking;
pub use self::series::{Judged, Series};
pub use self::tally::Tally;
pub use self::trace::{COLUMNS_MAX, Column, Trace};
pub use self::verdict::{Against, Outcome, Verdict};
pub use crate::detection::State;

use self::decisions::Decisions;
use self::device::Device;
use crate::detection::Budget;
use crate::statistics::Bootstrap;

/// How a detector is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// At which it answered.
    pub budget: Budget,
    /// The greatest width of the volumes under the surface, rows; at most [`WIDTH_MAX`].
    pub width_max: usize,
    /// How intervals are made.
    pub bootstrap: Bootstrap,
}

/// The most rows that labels are widened by.
pub const WIDTH_MAX: usize = 2_000;
/// By how much unless said otherwise.
pub const WIDTH_DEFAULT: usize = 100;

impl Options {
    /// Those for `budget`, and otherwise what is usual.
    pub fn at(budget: Budget) -> Self {
        Self { budget, width_max: WIDTH_DEFAULT, bootstrap: Bootstrap::default() }
    }
}

/// Why there is nothing to judge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// No row of any device has a truth.
    #[error("no row has a label, and without one nothing is known of the truth")]
    NoTruth,
    /// Every row that has a truth is one of the warm-up.
    #[error("all {rows} rows with a label are in the warm-up, in which nothing is said of a row")]
    OnlyWarmUp {
        /// How many those are.
        rows: usize,
    },
}

/// What was found of a detector.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// How it was judged.
    pub options: Options,
    /// What time is counted in.
    pub unit: Unit,
    /// What counted and what did not, of all devices.
    pub counted: Counted,
    /// The detector first, then the controls, in the order of [`Who::CONTROLS`].
    pub entries: Vec<Entry>,
    /// The detector device by device, in the order in which they were given.
    pub devices: Vec<DeviceFigures>,
    /// The detector against each control.
    pub verdicts: Vec<Verdict>,
    /// What has to be kept in mind.
    pub cautions: Vec<Caution>,
    /// Found against false alarms as the budget varies, as far as the caller had that made.
    pub curve: Vec<CurvePoint>,
}

/// A detector or a control with its figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Whose they are.
    pub who: Who,
    /// Over all devices.
    pub figures: Figures,
}

/// One device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceFigures {
    /// Its name.
    pub device: String,
    /// What counted of it.
    pub counted: Counted,
    /// What the detector's alarms came to.
    pub tally: Tally,
    /// What its scores are worth.
    pub ranking: Ranking,
    /// Its course, to be drawn.
    pub trace: Trace,
}

impl Judgement {
    /// The detector's figures.
    pub fn detector(&self) -> &Figures {
        &self.entries[0].figures
    }
}

/// Judges what a detector said of some devices, each a file or a machine of its own.
///
/// # Errors
/// When no row counts.
pub fn judge(series: &[Series], options: &Options) -> Result<Judgement, JudgeError> {
    let (unit, devices) = prepare(series)?;
    let allowed = device::allowed(&options.budget, unit, &devices);
    let entry = |who| {
        let decisions: Vec<Decisions> = match who {
            Who::Detector => devices.iter().map(Decisions::of_detector).collect(),
            control => control::decisions(control, &devices, allowed),
        };
        judge_one(who, &devices, &decisions, options, allowed)
    };
    let detector = entry(Who::Detector);
    let controls: Vec<Part> = Who::CONTROLS.into_iter().map(entry).collect();
    let of_devices = devices.iter().zip(series).enumerate().map(|(at, (device, series))| DeviceFigures {
        device: series.device.clone(),
        counted: device.counted,
        tally: detector.tallies[at].clone(),
        ranking: detector.rankings[at],
        trace: Trace::of(series, unit),
    });
    let of_devices = of_devices.collect();
    let verdicts = controls.iter().map(|control| verdict::of(&detector, control, options)).collect();
    let mut counted = Counted::default();
    devices.iter().for_each(|device| counted.add(device.counted));
    Ok(Judgement {
        options: options.clone(),
        unit,
        counted,
        devices: of_devices,
        cautions: caution::of(&devices, counted, &detector.figures, unit),
        verdicts,
        entries: std::iter::once(detector).chain(controls).map(Part::entry).collect(),
        curve: Vec::new(),
    })
}

/// One point of the curve: `series` are what the detector said at `budget`, which takes the place of that in
/// `options`.
///
/// # Errors
/// When no row counts.
pub fn at_budget(budget: Budget, series: &[Series], options: &Options) -> Result<CurvePoint, JudgeError> {
    let (unit, devices) = prepare(series)?;
    let allowed = device::allowed(&budget, unit, &devices);
    let tallies: Vec<Tally> =
        devices.iter().map(|device| Tally::of(device, &Decisions::of_detector(device))).collect();
    Ok(CurvePoint::of(budget, &tallies, allowed, &options.bootstrap))
}

/// A detector or a control with what its figures are made of.
struct Part {
    who: Who,
    tallies: Vec<Tally>,
    rankings: Vec<Ranking>,
    figures: Figures,
}

impl Part {
    fn entry(self) -> Entry {
        Entry { who: self.who, figures: self.figures }
    }
}

fn judge_one(
    who: Who,
    devices: &[Device<'_>],
    decisions: &[Decisions],
    options: &Options,
    allowed: Option<f64>,
) -> Part {
    let pairs = || devices.iter().zip(decisions);
    let tallies: Vec<Tally> = pairs().map(|(device, said)| Tally::of(device, said)).collect();
    let width_max = options.width_max.min(WIDTH_MAX);
    let rankings: Vec<Ranking> = pairs().map(|(device, said)| Ranking::of(device, said, width_max)).collect();
    let figures = Figures::of(&tallies, &rankings, allowed, &options.bootstrap);
    Part { who, tallies, rankings, figures }
}

fn prepare(series: &[Series]) -> Result<(Unit, Vec<Device<'_>>), JudgeError> {
    let unit = Unit::of(series);
    let devices: Vec<Device<'_>> = series.iter().map(|series| Device::of(series, unit)).collect();
    if devices.iter().any(|device| !device.rows.is_empty()) {
        return Ok((unit, devices));
    }
    match series.iter().flat_map(|series| &series.rows).filter(|row| row.truth.is_some()).count() {
        0 => Err(JudgeError::NoTruth),
        rows => Err(JudgeError::OnlyWarmUp { rows }),
    }
}
