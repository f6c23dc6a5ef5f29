//! A paired comparison: one placement against the first, over the same inputs.

use super::Options;
use super::placement::{latency_ms, misses};
use super::selection::Chosen;
use crate::lab::comparison::difference;
use crate::lab::observation::Observation;
use crate::statistics::{Difference, Proportion, Samples, disagreements, ks_distance};

/// A placement against the first. Differences are its own figures less the first's,
/// over pairs of the same point, repeat and input.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrast {
    /// The placement that others are compared with, which is the first.
    pub first: String,
    /// The one that is compared with it.
    pub second: String,
    /// Inputs that both were asked about.
    pub inputs: usize,
    /// Those that both answered.
    pub both_answered: usize,
    /// Of the latency in milliseconds, where both answered; nothing when one never answered.
    pub latency_ms: Option<Difference>,
    /// The Kolmogorov-Smirnov distance of both latencies, whether paired or not.
    pub ks_distance: Option<f64>,
    /// Of the share of requests without a result in time, all inputs counted.
    pub deadline_misses: Option<Difference>,
    /// Of the share of requests without a result, all inputs counted.
    pub unanswered: Option<Difference>,
    /// How often they decide differently about the same input; nothing without such pairs.
    pub disagreements: Option<Proportion>,
}

impl Contrast {
    pub(crate) fn of(
        (first_name, second_name): (&str, &str),
        (first, second): (&Chosen<'_, '_>, &Chosen<'_, '_>),
        latencies: (Option<&Samples>, Option<&Samples>),
        deadline_ms: Option<f64>,
        options: &Options,
    ) -> Self {
        let pairs = pairs(first, second);
        let answered: Vec<_> =
            pairs.iter().filter_map(|(one, other)| Some((latency_ms(one)?, latency_ms(other)?))).collect();
        let both = latencies.0.zip(latencies.1);
        let shares = |is: &dyn Fn(&Observation) -> bool| {
            let of = |observation| if is(observation) { 1.0 } else { 0.0 };
            let shares: Vec<_> = pairs.iter().map(|(one, other)| (of(one), of(other))).collect();
            Difference::paired(&shares, 0.0, &options.bootstrap)
        };
        let decisions = pairs.iter().filter_map(|(one, other)| Some((one.is_anomaly?, other.is_anomaly?)));
        Self {
            first: first_name.to_owned(),
            second: second_name.to_owned(),
            inputs: pairs.len(),
            both_answered: answered.len(),
            latency_ms: both.map(|both| difference(both, &answered, options.margin_ms, &options.bootstrap)),
            ks_distance: both.map(|(first, second)| ks_distance(first, second)),
            deadline_misses: deadline_ms
                .and_then(|deadline_ms| shares(&|observation| misses(observation, deadline_ms))),
            unanswered: shares(&|observation| latency_ms(observation).is_none()),
            disagreements: Some(disagreements(decisions)).filter(|disagreements| disagreements.all > 0),
        }
    }
}

/// What both were asked about and counts, in the order of repeats and inputs.
fn pairs<'a>(first: &Chosen<'_, 'a>, second: &Chosen<'_, 'a>) -> Vec<(&'a Observation, &'a Observation)> {
    let mut pairs = Vec::new();
    for repeat in first.repeats {
        let Some(other) = second.repeats.iter().find(|other| other.number == repeat.number) else { continue };
        let mut others = second.counted_of(other).peekable();
        for one in first.counted_of(repeat) {
            while others.next_if(|other| other.input < one.input).is_some() {}
            if let Some(other) = others.next_if(|other| other.input == one.input) {
                pairs.push((one, other));
            }
        }
    }
    pairs
}
