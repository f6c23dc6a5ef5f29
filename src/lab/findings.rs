//! What an experiment says: every figure of every placement at every point of the
//! sweeps, and the answer in a sentence.
//!
//! Repeats are pooled, neighbours in a repeat staying neighbours. What was due within the warm-up does not
//! count, except in what is used of a machine, which is known of whole repeats only. Times are in
//! milliseconds unless their name says otherwise. The same run and the same options give the same findings.

mod accuracy;
mod answer;
mod consumption;
mod contrast;
mod curve;
mod lateness;
mod placement;
mod selection;

use std::time::Duration;

pub use self::accuracy::{Accuracy, DetectionFindings};
pub use self::answer::{Answer, FURTHER_MAX};
pub use self::consumption::Consumption;
pub use self::contrast::Contrast;
pub use self::curve::{CDF_STEPS_MAX, TIME_BINS_MAX, TimeBin};
pub use self::lateness::{
    LATENESS_INTERVAL_SHARE_MAX, LATENESS_LATENCY_SHARE_MAX, LATENESS_MEDIAN_SHARE_MAX, Lateness,
};
pub use self::placement::{
    ChoiceCount, Counts, DeadlineMisses, PlacementFindings, RepeatFindings, StageFindings,
};

use self::selection::Selection;
use super::observation::Run;
use crate::statistics::{Bootstrap, EnergyModel};

/// How findings are made.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Options {
    /// How intervals are made.
    pub bootstrap: Bootstrap,
    /// Differences of at most so many milliseconds do not matter.
    pub margin_ms: f64,
    /// What energy is computed by; a model, not a measurement.
    pub energy: EnergyModel,
}

/// What an experiment says.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// How they were made; with fewer resamples than were asked for where there are many points, see
    /// [`RESAMPLES_TOGETHER_MAX`].
    pub options: Options,
    /// Each point of the sweeps.
    pub points: Vec<PointFindings>,
    /// What it comes to, in words.
    pub answer: Answer,
}

/// What is said of one point of the sweeps.
#[derive(Debug, Clone, PartialEq)]
pub struct PointFindings {
    /// Keys and their values; none without sweeps.
    pub settings: Vec<(String, f64)>,
    /// The answer time from which a request is late, in milliseconds.
    pub deadline_ms: Option<f64>,
    /// How long at the beginning of each repeat nothing counts.
    pub warm_up: Duration,
    /// Every placement, in the order of the scenario.
    pub placements: Vec<PlacementFindings>,
    /// Every other placement against the first.
    pub contrasts: Vec<Contrast>,
}

/// The most resamples of all points and placements together, for each figure: with
/// more than a hundred of those, each has fewer than the default. A sweep of a
/// thousand points is for its curves, not for the last digit of an interval.
pub const RESAMPLES_TOGETHER_MAX: usize = 200_000;
/// The fewest resamples of a figure.
pub const RESAMPLES_LEAST: usize = 200;

impl Findings {
    /// Computes everything from an experiment.
    pub fn of(run: &Run, options: &Options) -> Self {
        let selection = Selection::of(run);
        let figures = selection.points.len() * selection.names.len();
        let resamples_max = (RESAMPLES_TOGETHER_MAX / figures.max(1)).max(RESAMPLES_LEAST);
        let resamples = options.bootstrap.resamples.min(resamples_max);
        let options = Options { bootstrap: Bootstrap { resamples, ..options.bootstrap }, ..*options };
        let points: Vec<_> =
            (0..selection.points.len()).map(|at| PointFindings::of(run, &selection, at, &options)).collect();
        let answer = Answer::of(run, &points, &options);
        Self { options, points, answer }
    }

    /// The points at which only `key` differs from the first one, with its values, rising:
    /// what a curve over that key is drawn from. Empty for a key that is not varied.
    pub fn along(&self, key: &str) -> Vec<(f64, &PointFindings)> {
        along(&self.points, key)
    }
}

fn along<'a>(points: &'a [PointFindings], key: &str) -> Vec<(f64, &'a PointFindings)> {
    let Some(first) = points.first() else { return Vec::new() };
    let differs_in_key_alone = |point: &&PointFindings| {
        let mut pairs = point.settings.iter().zip(&first.settings);
        pairs.all(|((name, value), (_, first))| name == key || value == first)
    };
    let value = |point: &'a PointFindings| {
        let value = point.settings.iter().find(|(name, _)| name == key)?.1;
        Some((value, point))
    };
    let mut along: Vec<_> = points.iter().filter(differs_in_key_alone).filter_map(value).collect();
    along.sort_by(|one, other| one.0.total_cmp(&other.0));
    along
}

impl PointFindings {
    fn of(run: &Run, selection: &Selection<'_>, at: usize, options: &Options) -> Self {
        let settings = run.points.get(at).map(|point| point.settings.clone()).unwrap_or_default();
        let setting = |wanted: &str| settings.iter().find(|(key, _)| key == wanted).map(|(_, value)| *value);
        let deadline_ms =
            setting("deadline_ms").or(run.scenario.deadline.map(|deadline| deadline.as_secs_f64() * 1e3));
        let warm_up = setting("simulation.warm_up_s")
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or(run.scenario.warm_up);
        let chosen: Vec<_> =
            (0..selection.names.len()).map(|placement| selection.chosen(at, placement, warm_up)).collect();
        let groups: Vec<_> = chosen.iter().map(placement::Latencies::of).collect();
        let placements = chosen.iter().zip(&groups).enumerate().map(|(placement, (chosen, latencies))| {
            let context = placement::Context {
                run,
                point: at,
                placement,
                name: &selection.names[placement],
                deadline_ms,
                options,
            };
            PlacementFindings::of(&context, chosen, latencies)
        });
        let placements = placements.collect();
        let contrasts = (1..chosen.len()).map(|other| {
            let names = (selection.names[0].as_str(), selection.names[other].as_str());
            let latencies = (groups[0].all.as_ref(), groups[other].all.as_ref());
            Contrast::of(names, (&chosen[0], &chosen[other]), latencies, deadline_ms, options)
        });
        Self { deadline_ms, warm_up, contrasts: contrasts.collect(), placements, settings }
    }
}
