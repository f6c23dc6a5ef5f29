//! The answer in a sentence, and what has to be said beside it. Computed from the
//! findings: it says no more than they do.

mod single;
mod sweep;

use super::{Options, PointFindings};
use crate::lab::observation::{Clock, Run};
use crate::lab::words;

/// What an experiment comes to, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The answer in one sentence.
    pub sentence: String,
    /// Further ones, of other placements and other keys of the sweeps, at most [`FURTHER_MAX`].
    pub further: Vec<String>,
    /// What makes the answer less than it seems.
    pub cautions: Vec<String>,
}

/// The most further sentences.
pub const FURTHER_MAX: usize = 12;

impl Answer {
    pub(crate) fn of(run: &Run, points: &[PointFindings], options: &Options) -> Self {
        let mut sentences = match points {
            [point] => vec![single::sentence(point, options)],
            points => sweep::sentences(run, points, options),
        };
        let sentence = if sentences.is_empty() { NOTHING.to_owned() } else { sentences.remove(0) };
        sentences.truncate(FURTHER_MAX);
        Self { sentence, further: sentences, cautions: cautions(run, points) }
    }
}

const NOTHING: &str = "Nothing can be said: no request was sent after the warm-up.";

/// From this share of requests without a result on, latencies describe a selection.
const UNANSWERED_CAUTION: f64 = 0.01;
/// With fewer results the 99.9th percentile is little more than the slowest one.
const RESULTS_FOR_P999: usize = 1_000;

fn cautions(run: &Run, points: &[PointFindings]) -> Vec<String> {
    let mut cautions = Vec::new();
    if let Clock::Virtual(_) = run.clock {
        cautions.push(
            "Time was simulated. Networks decide as they do for a node; what a forward pass takes, and the way through client \
             and broker, was said or measured beforehand, not in this run."
                .to_owned(),
        );
    }
    let placements = || points.iter().flat_map(|point| &point.placements);
    let named = |is: &dyn Fn(&super::PlacementFindings) -> bool| {
        let mut names: Vec<String> = Vec::new();
        for placement in placements().filter(|placement| is(placement)) {
            if !names.contains(&placement.name) {
                names.push(placement.name.clone());
            }
        }
        (!names.is_empty()).then(|| words::list(&names))
    };
    let somewhere = if points.len() > 1 { " at one point of the sweeps at least" } else { "" };
    if let Some(names) = named(&|placement| placement.lateness_ms.is_some_and(|late| late.is_considerable)) {
        cautions.push(format!(
            "Requests were sent late{somewhere}: {names}. Either more than a third of the latency was the generator's own delay, or \
             requests came together that should not have. Ask for less, or use another machine."
        ));
    }
    let is_selective = |placement: &super::PlacementFindings| {
        placement.counts.sent > 0 && placement.unanswered().share() >= UNANSWERED_CAUTION
    };
    if let Some(names) = named(&is_selective) {
        cautions.push(format!(
            "Latencies are those of requests with a result. Many had none{somewhere}: {names}. Compare deadline misses and shares, \
             which count every request."
        ));
    }
    if let Some(names) = named(&|placement| (1..RESULTS_FOR_P999).contains(&placement.counts.answered)) {
        cautions.push(format!(
            "With fewer than {} results{somewhere} ({names}) the 99.9th percentile is little more than the slowest one.",
            words::count(RESULTS_FOR_P999)
        ));
    }
    cautions.extend(run.remarks.iter().cloned());
    cautions
}
