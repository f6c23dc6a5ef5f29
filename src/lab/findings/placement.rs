//! What is said of one placement at one point.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Options;
use super::accuracy::Accuracy;
use super::consumption::Consumption;
use super::curve::{self, TimeBin};
use super::lateness::Lateness;
use super::selection::Chosen;
use crate::lab::observation::{Choice, End, Observation, Run};
use crate::statistics::{Proportion, Samples, Summary};

/// What is said of one placement.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacementFindings {
    /// The placement's name.
    pub name: String,
    /// How its requests ended.
    pub counts: Counts,
    /// From when requests were due to their answers; of requests with a result alone. Nothing without any.
    pub latency_ms: Option<Summary>,
    /// The share of all requests, with a result or not, that had a result within so many
    /// milliseconds: times and shares, both rising, at most [`CDF_STEPS_MAX`](super::CDF_STEPS_MAX).
    pub cdf: Vec<(f64, f64)>,
    /// Where the time of requests with a result went.
    pub stages: Option<StageFindings>,
    /// Requests without a result in time, where there is a deadline.
    pub deadline_misses: Option<DeadlineMisses>,
    /// How much later than due requests were sent; nothing without requests.
    pub lateness_ms: Option<Lateness>,
    /// How right its decisions are, where the truth is known.
    pub accuracy: Option<Accuracy>,
    /// The bytes, processor time and energy that the placement used.
    pub consumption: Consumption,
    /// Where results were made and why, the most frequent first; empty for placements that do not choose.
    pub choices: Vec<ChoiceCount>,
    /// Each repeat on its own.
    pub repeats: Vec<RepeatFindings>,
    /// The first repeat through its time, the warm-up included.
    pub timeline: Vec<TimeBin>,
}

/// How requests ended: `sent = answered + refused + silent`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were due after the warm-up.
    pub sent: usize,
    /// Requests that were answered with a result.
    pub answered: usize,
    /// Requests that were answered with an error, by its code.
    pub refused: BTreeMap<&'static str, usize>,
    /// Requests of which nothing was heard again.
    pub silent: usize,
    /// Requests that were due in the warm-up, which are in none of the other counts.
    pub warm_up: usize,
}

/// Where the time of requests with a result went. What a request did not have, and what was not known, is 0.
#[derive(Debug, Clone, PartialEq)]
pub struct StageFindings {
    /// The simulated network; decided, not measured.
    pub network_ms: Summary,
    /// Waiting for the model.
    pub queue_ms: Summary,
    /// The forward pass that the request was part of.
    pub inference_ms: Summary,
    /// The mean of what is left of the latency: broker, encoding, the operating system.
    pub rest_mean_ms: f64,
}

/// Requests without a result in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeadlineMisses {
    /// The answer time from which a request is late.
    pub deadline_ms: f64,
    /// Requests whose result came after the deadline.
    pub late: usize,
    /// Requests that were refused, or never answered.
    pub unanswered: usize,
    /// Late and unanswered requests, out of all.
    pub all: Proportion,
}

/// How often a placement had its result made in one place for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChoiceCount {
    /// Where and why.
    pub choice: Arc<Choice>,
    /// How many results were made there, for that reason.
    pub count: usize,
}

/// One repeat on its own.
#[derive(Debug, Clone, PartialEq)]
pub struct RepeatFindings {
    /// Its number, from 0.
    pub repeat: u16,
    /// Requests that count.
    pub sent: usize,
    /// Those with a result.
    pub answered: usize,
    /// Mean, median and 99th percentile of their latency; nothing without any.
    pub latency_ms: Option<[f64; 3]>,
    /// Requests without a result in time, where there is a deadline.
    pub deadline_misses: Option<Proportion>,
}

/// What figures of a placement are computed from, besides its observations.
pub struct Context<'a> {
    pub run: &'a Run,
    pub point: usize,
    pub placement: usize,
    pub name: &'a str,
    pub deadline_ms: Option<f64>,
    pub options: &'a Options,
}

/// Latencies of what counts and was answered, which figures and contrasts share.
pub struct Latencies {
    /// All repeats, nothing when there are none.
    pub all: Option<Samples>,
}

impl Latencies {
    pub fn of(chosen: &Chosen<'_, '_>) -> Self {
        Self { all: Samples::new(chosen.counted().filter_map(latency_ms).collect()) }
    }
}

/// The latency of a request with a result.
pub fn latency_ms(observation: &Observation) -> Option<f64> {
    let total = (observation.end == End::Answered).then_some(observation.total).flatten()?;
    Some(milliseconds(total))
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Whether a request had no result by `deadline_ms`.
pub fn misses(observation: &Observation, deadline_ms: f64) -> bool {
    latency_ms(observation).is_none_or(|latency_ms| latency_ms > deadline_ms)
}

impl PlacementFindings {
    pub(crate) fn of(context: &Context<'_>, chosen: &Chosen<'_, '_>, latencies: &Latencies) -> Self {
        let counts = Counts::of(chosen);
        let bootstrap = &context.options.bootstrap;
        let latency_ms = latencies.all.as_ref().map(|latencies| latencies.summary(bootstrap));
        let deadline_misses =
            context.deadline_ms.map(|deadline_ms| DeadlineMisses::of(chosen.counted(), deadline_ms));
        Self {
            name: context.name.to_owned(),
            cdf: latencies.all.as_ref().map_or(Vec::new(), |latencies| curve::cdf(latencies, counts.sent)),
            stages: latencies
                .all
                .as_ref()
                .and_then(|all| StageFindings::of(chosen, all.mean(), context.options)),
            deadline_misses,
            lateness_ms: Lateness::of(chosen, latencies.all.as_ref()),
            accuracy: Accuracy::of(chosen),
            consumption: Consumption::of(context, chosen),
            choices: choices(chosen),
            repeats: chosen
                .repeats
                .iter()
                .map(|repeat| {
                    RepeatFindings::of(
                        repeat.number,
                        chosen.counted_of(repeat).collect(),
                        context.deadline_ms,
                    )
                })
                .collect(),
            timeline: curve::timeline(chosen, context.run.scenario.duration),
            counts,
            latency_ms,
        }
    }

    /// Requests without a result, out of all.
    pub fn unanswered(&self) -> Proportion {
        Proportion { cases: self.counts.sent - self.counts.answered, all: self.counts.sent }
    }
}

impl Counts {
    fn of(chosen: &Chosen<'_, '_>) -> Self {
        let mut counts = Self::default();
        for observation in chosen.counted() {
            counts.sent += 1;
            match observation.end {
                End::Answered => counts.answered += 1,
                End::Refused(code) => *counts.refused.entry(code).or_default() += 1,
                End::Silent => counts.silent += 1,
            }
        }
        counts.warm_up = chosen.all().count() - counts.sent;
        counts
    }

    /// Whether every request that was sent is accounted for once.
    pub fn is_conserved(&self) -> bool {
        self.sent == self.answered + self.refused.values().sum::<usize>() + self.silent
    }
}

impl StageFindings {
    fn of(chosen: &Chosen<'_, '_>, mean_ms: f64, options: &Options) -> Option<Self> {
        let answered = || chosen.counted().filter(|observation| latency_ms(observation).is_some());
        let summary = |of: fn(&Observation) -> Duration| {
            let samples =
                Samples::new(answered().map(|observation| milliseconds(of(observation))).collect())?;
            Some(samples.summary(&options.bootstrap))
        };
        let network_ms = summary(|observation| observation.stages.network)?;
        let queue_ms = summary(|observation| observation.stages.queue)?;
        let inference_ms = summary(|observation| observation.stages.inference)?;
        let known_ms = network_ms.mean + queue_ms.mean + inference_ms.mean;
        // Clocks have a resolution: what is left is not less than nothing.
        Some(Self { rest_mean_ms: (mean_ms - known_ms).max(0.0), network_ms, queue_ms, inference_ms })
    }
}

impl DeadlineMisses {
    fn of<'a>(counted: impl Iterator<Item = &'a Observation>, deadline_ms: f64) -> Self {
        let (mut late, mut unanswered, mut sent) = (0, 0, 0);
        for observation in counted {
            sent += 1;
            match latency_ms(observation) {
                Some(latency_ms) if latency_ms > deadline_ms => late += 1,
                Some(_) => {}
                None => unanswered += 1,
            }
        }
        Self { deadline_ms, late, unanswered, all: Proportion { cases: late + unanswered, all: sent } }
    }
}

impl RepeatFindings {
    fn of(repeat: u16, counted: Vec<&Observation>, deadline_ms: Option<f64>) -> Self {
        let latencies: Vec<_> = counted.iter().copied().filter_map(latency_ms).collect();
        let misses =
            deadline_ms.map(|deadline_ms| DeadlineMisses::of(counted.iter().copied(), deadline_ms).all);
        Self {
            repeat,
            sent: counted.len(),
            answered: counted.iter().filter(|observation| observation.end == End::Answered).count(),
            latency_ms: Samples::new(latencies)
                .map(|latencies| [latencies.mean(), latencies.quantile(0.5), latencies.quantile(0.99)]),
            deadline_misses: misses,
        }
    }
}

fn choices(chosen: &Chosen<'_, '_>) -> Vec<ChoiceCount> {
    let mut counts: BTreeMap<(&str, &str), ChoiceCount> = BTreeMap::new();
    for choice in chosen.counted().filter_map(|observation| observation.choice.as_ref()) {
        let entry = counts
            .entry((&choice.made_by, &choice.reason))
            .or_insert_with(|| ChoiceCount { choice: Arc::clone(choice), count: 0 });
        entry.count += 1;
    }
    let mut counts: Vec<_> = counts.into_values().collect();
    // Equally frequent ones stay in the order of their names.
    counts.sort_by_key(|choice| std::cmp::Reverse(choice.count));
    counts
}
