//! A detection as a model's `config.json` describes it, under `detection`.
//!
//! What was learnt beforehand, numbers by the thousand, stands beside it in tensors.

mod kind;
mod span;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

pub use self::kind::{DEVIATION_FLOOR, Kind, Period, T2_ROWS, T2_WINDOW};
pub use self::span::SpanError;

use super::budget::{Budget, BudgetError};
use super::calibration::Calibration;
use super::controller::{Controller, Rule};
use super::detect::Detect;
use super::episode::EpisodeRule;
use super::excess::Excess;
use super::fusion::Fusion;
use super::pipeline::{DETECTORS_MAX, Detection, Parts, Running};
use super::smoothed::Smoothed;
use super::tail::Tail;
use crate::settings::{Entry, SettingError, Table};

/// The longest window of a device's own scores.
const SCORES_WINDOW_MAX: usize = 65_536;

/// A detection's description.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The detectors.
    pub detectors: Vec<DetectorSettings>,
    /// How what they say becomes one.
    pub fusion: Fusion,
    /// So many rows of a device are learnt from before anything is said of it.
    pub warm_up: u64,
    /// How many false alarms a device may have.
    #[serde(serialize_with = "in_words")]
    pub false_alarms: Budget,
    /// Whether that is for all devices together, and not for each.
    #[serde(rename = "together", skip_serializing_if = "is_false")]
    pub is_together: bool,
    /// The largest surprisal that the budget alone may ask for: what the warm-up and the training can know; 0
    /// for no bound.
    #[serde(skip_serializing_if = "is_zero")]
    pub surprisal_max: f64,
    /// How many rows one excursion lasts, about; 1 for rows that know nothing of each other.
    pub crowd: f64,
    /// How much higher the threshold is, as a share of itself, soon after an alarm.
    pub caution: f64,
    /// How far the threshold may go below what the budget alone says.
    pub below_max: f64,
    /// From where on a row counts: by the budget, or `spot`.
    pub threshold: Rule,
    /// When rows that count are an alarm.
    #[serde(flatten)]
    pub episode: EpisodeRule,
    /// How a machine is told that stands still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// After so many rows that taught nothing the new level is what is normal; 0 for never.
    pub adopt_after: u32,
    /// How many devices are known at once; beyond, the one that was silent for longest is forgotten.
    pub devices_max: usize,
}

/// One detector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DetectorSettings {
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
    /// How many of a device's own scores the next one is ranked among; 0 for no more than their scale.
    pub window: usize,
    /// Whether, with no window, scores of training hold for every device as they are.
    #[serde(rename = "shared", skip_serializing_if = "is_false")]
    pub is_shared: bool,
    /// More surprisal than this is not believed of it; 0 for no bound.
    #[serde(skip_serializing_if = "is_zero")]
    pub surprisal_max: f64,
    /// An average of its scores in the place of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothed: Option<SmoothedSettings>,
}

/// An exponentially weighted average of scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SmoothedSettings {
    /// The share of a new score.
    pub rate: f32,
    /// A score counts as this at most.
    pub score_max: f32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it a reference")]
fn is_false(is: &bool) -> bool {
    !is
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it a reference")]
fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// What was learnt beforehand: the numbers of each tensor by its name, such as `0.calibration`.
pub type Learnt = BTreeMap<String, Vec<f32>>;

fn in_words<S: Serializer>(budget: &Budget, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(budget)
}

impl Settings {
    /// A detection by `detectors`, with what suits most data for the rest.
    pub fn new(detectors: Vec<DetectorSettings>, false_alarms: Budget) -> Self {
        Self {
            detectors,
            fusion: Fusion::default(),
            warm_up: 200,
            false_alarms,
            is_together: false,
            surprisal_max: 0.0,
            crowd: 1.0,
            caution: Controller::new(false_alarms).caution,
            below_max: Controller::new(false_alarms).below_max,
            threshold: Rule::Budget,
            episode: EpisodeRule::new(1, 1),
            running: None,
            adopt_after: 0,
            devices_max: 100_000,
        }
    }

    /// Reads what `entry` says.
    pub fn read(entry: &Entry<'_>) -> Result<Self, SettingError> {
        let mut table = entry.table()?;
        let detectors = table.find("detectors");
        let detectors = table.required("detectors", detectors)?;
        let items = detectors.items()?;
        if items.len() == 0 || items.len() > DETECTORS_MAX {
            return Err(detectors.wrong(format!("1 to {DETECTORS_MAX} detectors (detectors_max)")));
        }
        let detectors = items.map(|item| DetectorSettings::read(&item)).collect::<Result<_, _>>()?;
        let false_alarms = table.find("false_alarms");
        let false_alarms = table.required("false_alarms", false_alarms)?;
        let budget = false_alarms.text()?.parse();
        let budget = budget.map_err(|error: BudgetError| false_alarms.invalid(error.to_string()))?;
        let mut settings = Self::new(detectors, budget);
        table.choice("fusion", Fusion::NAMES, &mut settings.fusion)?;
        table.number("warm_up", 1..=1_000_000_000, &mut settings.warm_up)?;
        table.flag("together", &mut settings.is_together)?;
        table.number("surprisal_max", 0.0..=700.0, &mut settings.surprisal_max)?;
        table.number("crowd", 1.0..=1e6, &mut settings.crowd)?;
        table.number("caution", 0.0..=10.0, &mut settings.caution)?;
        table.number("below_max", 0.0..=100.0, &mut settings.below_max)?;
        table.choice("threshold", Rule::NAMES, &mut settings.threshold)?;
        settings.read_episode(&mut table)?;
        settings.running = table.find("running").map(|entry| read_running(&entry)).transpose()?;
        table.number("adopt_after", .., &mut settings.adopt_after)?;
        table.number("devices_max", 1..=100_000_000, &mut settings.devices_max)?;
        table.finish()?;
        Ok(settings)
    }

    fn read_episode(&mut self, table: &mut Table<'_>) -> Result<(), SettingError> {
        let rule = &mut self.episode;
        table.number("of", 1..=32, &mut rule.of)?;
        table.number("needs", 1..=rule.of, &mut rule.needs)?;
        table.number("hysteresis", 0.0..=1.0, &mut rule.hysteresis)?;
        for (key, span) in [("clear_after", &mut rule.clear_after), ("silence", &mut rule.silence)] {
            if let Some(entry) = table.find(key) {
                let read = entry.text()?.parse();
                *span = read.map_err(|error: SpanError| entry.invalid(error.to_string()))?;
            }
        }
        Ok(())
    }

    /// Makes the detection for rows of so many `features`, with what was learnt beforehand.
    ///
    /// # Errors
    /// A sentence, when what was learnt is of another shape, or is missing.
    pub fn build(&self, features: usize, learnt: &mut Learnt) -> Result<Detection, String> {
        let mut detectors = Vec::with_capacity(self.detectors.len());
        for (at, one) in self.detectors.iter().enumerate() {
            detectors.push(one.build(at, features, learnt)?);
        }
        if let Some(name) = learnt.keys().next() {
            return Err(format!("nothing needs the tensor \"detection.{name}\""));
        }
        if let Some(running) = self.running
            && running.feature >= features
        {
            let place = running.feature;
            return Err(format!(
                "detection.running is told by feature {place}, and there are {features}, from 0"
            ));
        }
        Ok(Detection::new(Parts {
            detectors,
            fusion: self.fusion,
            warm_up: self.warm_up,
            controller: Controller {
                crowd: self.crowd,
                caution: self.caution,
                below_max: self.below_max,
                rule: self.threshold,
                surprisal_max: bound(self.surprisal_max),
                ..Controller::new(self.false_alarms)
            },
            is_together: self.is_together,
            episode: self.episode,
            running: self.running,
            adopt_after: self.adopt_after,
        }))
    }
}

/// A bound of which 0 says that there is none.
fn bound(number: f64) -> f64 {
    if number > 0.0 { number } else { f64::INFINITY }
}

fn read_running(entry: &Entry<'_>) -> Result<Running, SettingError> {
    let mut table = entry.table()?;
    let (feature, above) = (table.find_number("feature", ..)?, table.find_number::<f64>("above", ..)?);
    table.refuse_others()?;
    let above = table.required("above", above)? as f32;
    Ok(Running { feature: table.required("feature", feature)?, above })
}

fn read_smoothed(entry: &Entry<'_>) -> Result<SmoothedSettings, SettingError> {
    let mut table = entry.table()?;
    let (mut rate, mut score_max) = (0.1, 8.0);
    table.number("rate", 1e-6..=1.0, &mut rate)?;
    table.number("score_max", 0.0..=1e6, &mut score_max)?;
    table.finish()?;
    Ok(SmoothedSettings { rate: rate as f32, score_max: score_max as f32 })
}

impl DetectorSettings {
    /// A detector that knows of a device no more than the scale of its scores.
    pub fn new(kind: Kind) -> Self {
        Self { kind, window: 0, is_shared: false, surprisal_max: 0.0, smoothed: None }
    }

    fn read(entry: &Entry<'_>) -> Result<Self, SettingError> {
        let mut table = entry.table()?;
        let kind = Kind::read(&mut table)?;
        let mut settings = Self::new(kind);
        table.number("window", 0..=SCORES_WINDOW_MAX, &mut settings.window)?;
        table.flag("shared", &mut settings.is_shared)?;
        table.number("surprisal_max", 0.0..=700.0, &mut settings.surprisal_max)?;
        settings.smoothed = table.find("smoothed").map(|entry| read_smoothed(&entry)).transpose()?;
        table.finish()?;
        Ok(settings)
    }

    /// The detector with number `at`, without its tail.
    ///
    /// # Errors
    /// A sentence, when what was learnt is of another shape.
    pub fn detector(
        &self,
        at: usize,
        features: usize,
        learnt: &mut Learnt,
    ) -> Result<Box<dyn Detect>, String> {
        let detector = self.kind.build(at, features, learnt)?;
        Ok(match self.smoothed {
            Some(SmoothedSettings { rate, score_max }) => Box::new(Smoothed { detector, rate, score_max }),
            None => detector,
        })
    }

    fn build(
        &self,
        at: usize,
        features: usize,
        learnt: &mut Learnt,
    ) -> Result<(Box<dyn Detect>, Tail), String> {
        let calibration = calibration(at, learnt)?;
        let detector = self.detector(at, features, learnt)?;
        let Self { window, is_shared, surprisal_max, .. } = *self;
        Ok((detector, Tail { calibration, window, is_shared, surprisal_max }))
    }
}

/// Behind the quantiles of a calibration: how many scores it was made of, and what lies beyond them.
const BEHIND: usize = 5;

fn calibration(at: usize, learnt: &mut Learnt) -> Result<Option<Calibration>, String> {
    let Some(mut numbers) = learnt.remove(&format!("{at}.calibration")) else { return Ok(None) };
    let wrong = || {
        format!(
            "the tensor \"detection.{at}.calibration\" holds no quantiles in rising order with what lies beyond them"
        )
    };
    let quantiles = numbers.len().checked_sub(BEHIND).ok_or_else(wrong)?;
    let behind = numbers.split_off(quantiles);
    let &[rows, from, scale, shape, largest] = behind.as_slice() else { return Err(wrong()) };
    let excess = Excess { from, scale, shape, largest };
    Calibration::of_parts(numbers, rows as u64, excess).map(Some).ok_or_else(wrong)
}

/// The numbers of a calibration as they are kept in a tensor.
pub fn numbers_of(calibration: &Calibration) -> Vec<f32> {
    let Excess { from, scale, shape, largest } = calibration.excess();
    let mut numbers = calibration.quantiles().to_vec();
    numbers.extend([calibration.rows() as f32, from, scale, shape, largest]);
    numbers
}
