//! Placements compared by what was measured of them.

use std::collections::HashMap;

use super::metrics_file::Measurement;
use crate::statistics::{Bootstrap, Difference, Proportion, Samples, Summary, deadline_misses, ks_distance};

/// What is said of several placements.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Each of them, in the order they first came.
    pub placements: Vec<PlacementFigures>,
    /// Every other one against the first.
    pub contrasts: Vec<Contrast>,
    /// Whether every total is the sum of inference and network: then it was computed, and holds no queueing.
    pub totals_are_sums: bool,
}

/// What is said of one placement. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacementFigures {
    /// The placement's name.
    pub name: String,
    /// How long it took from request to answer.
    pub total_ms: Summary,
    /// How long forward passes took.
    pub inference_ms: Summary,
    /// How long messages were on the network, both ways.
    pub network_ms: Summary,
    /// Answers later than the deadline, where there is one.
    pub deadline_misses: Option<Proportion>,
}

/// One placement against another.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrast {
    /// The placement that is compared with.
    pub first: String,
    /// The placement that is compared; differences are its times less the first one's.
    pub second: String,
    /// The difference of the total latencies, in milliseconds.
    pub total_ms: Difference,
    /// The Kolmogorov-Smirnov distance of the total latencies.
    pub distance: f64,
    /// Measurements of one that the other lacks; they are left out of the pairs.
    pub unpaired: usize,
}

/// How placements are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Options {
    /// How intervals are made.
    pub bootstrap: Bootstrap,
    /// From which total latency an answer is late, in milliseconds.
    pub deadline_ms: Option<f64>,
    /// Differences of at most so many milliseconds do not matter.
    pub margin_ms: f64,
}

impl Comparison {
    /// Compares the placements that `measurements` name. Pairs are measurements of the
    /// same device and time stamp; without at least half of them in pairs, placements
    /// are compared as a whole. Nothing when there are no measurements.
    pub fn of(measurements: &[Measurement], options: &Options) -> Option<Self> {
        let mut groups: Vec<(&str, Vec<&Measurement>)> = Vec::new();
        for measurement in measurements {
            match groups.iter_mut().find(|(name, _)| *name == measurement.placement) {
                Some((_, group)) => group.push(measurement),
                None => groups.push((&measurement.placement, vec![measurement])),
            }
        }
        // Neighbours in time are neighbours for the bootstrap.
        groups.iter_mut().for_each(|(_, group)| group.sort_by_key(|measurement| measurement.timestamp_us));
        let placements = groups.iter().map(|(name, group)| figures(name, group, options));
        let placements = placements.collect::<Option<Vec<_>>>()?;
        let (first, others) = groups.split_first()?;
        let contrasts = others.iter().map(|other| contrast(first, other, options));
        let is_sum =
            |row: &Measurement| (row.inference_ms + row.network_ms - row.total_ms).abs() < SUM_TOLERANCE_MS;
        Some(Self {
            placements,
            contrasts: contrasts.collect::<Option<Vec<_>>>()?,
            totals_are_sums: measurements.iter().all(is_sum),
        })
    }
}

/// A total this close to the sum was computed from it.
const SUM_TOLERANCE_MS: f64 = 1e-6;

fn samples(group: &[&Measurement], of: impl Fn(&Measurement) -> f64) -> Option<Samples> {
    Samples::new(group.iter().map(|measurement| of(measurement)).collect())
}

fn figures(name: &str, group: &[&Measurement], options: &Options) -> Option<PlacementFigures> {
    let total_ms = samples(group, |measurement| measurement.total_ms)?;
    let summary = |of: fn(&Measurement) -> f64| Some(samples(group, of)?.summary(&options.bootstrap));
    Some(PlacementFigures {
        name: name.to_owned(),
        inference_ms: summary(|measurement| measurement.inference_ms)?,
        network_ms: summary(|measurement| measurement.network_ms)?,
        deadline_misses: options.deadline_ms.map(|deadline| deadline_misses(total_ms.measured(), deadline)),
        total_ms: total_ms.summary(&options.bootstrap),
    })
}

fn contrast(
    (first_name, first): &(&str, Vec<&Measurement>),
    (second_name, second): &(&str, Vec<&Measurement>),
    options: &Options,
) -> Option<Contrast> {
    let (one, other) = (
        samples(first, |measurement| measurement.total_ms)?,
        samples(second, |measurement| measurement.total_ms)?,
    );
    let pairs = pairs(first, second);
    let unpaired = first.len() + second.len() - 2 * pairs.len();
    Some(Contrast {
        first: (*first_name).to_owned(),
        second: (*second_name).to_owned(),
        distance: ks_distance(&one, &other),
        total_ms: difference((&one, &other), &pairs, options.margin_ms, &options.bootstrap),
        unpaired,
    })
}

/// By how much the second of two groups differs: over pairs, or as a whole when
/// fewer than half of the smaller group has a counterpart.
pub(crate) fn difference(
    (first, second): (&Samples, &Samples),
    pairs: &[(f64, f64)],
    margin: f64,
    bootstrap: &Bootstrap,
) -> Difference {
    let paired = (2 * pairs.len() >= first.count().min(second.count()))
        .then(|| Difference::paired(pairs, margin, bootstrap))
        .flatten();
    paired.unwrap_or_else(|| Difference::unpaired(first, second, margin, bootstrap))
}

/// Total latencies of the same device and time stamp, in the order of the first. A
/// stamp that comes several times is paired in the order it comes.
fn pairs(first: &[&Measurement], second: &[&Measurement]) -> Vec<(f64, f64)> {
    let mut waiting: HashMap<(&str, i64), Vec<f64>> = HashMap::with_capacity(second.len());
    for measurement in second.iter().rev() {
        let key = (measurement.device_id.as_str(), measurement.timestamp_us);
        waiting.entry(key).or_default().push(measurement.total_ms);
    }
    let mut pairs = Vec::with_capacity(first.len().min(second.len()));
    for measurement in first {
        let key = (measurement.device_id.as_str(), measurement.timestamp_us);
        if let Some(total_ms) = waiting.get_mut(&key).and_then(Vec::pop) {
            pairs.push((measurement.total_ms, total_ms));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Verdict;

    fn row(placement: &str, device: &str, timestamp_us: i64, total_ms: f64) -> Measurement {
        Measurement {
            timestamp_us,
            device_id: device.to_owned(),
            placement: placement.to_owned(),
            inference_ms: 1.0,
            network_ms: 0.0,
            total_ms,
        }
    }

    fn rows(count: i64, shift_us: i64) -> Vec<Measurement> {
        let noise = |number: i64| (number * 7_919 % 101) as f64 / 10.0;
        (0..count)
            .flat_map(|number| {
                let edge = row("edge", "s", number, 5.0 + noise(number));
                [row("cloud", "s", number + shift_us, 105.5 + noise(number + 50)), edge]
            })
            .collect()
    }

    #[test]
    fn measurements_of_the_same_device_and_time_are_pairs() {
        let comparison = Comparison::of(&rows(200, 0), &Options::default()).unwrap();
        let names: Vec<_> = comparison.placements.iter().map(|placement| placement.name.as_str()).collect();
        assert_eq!(names, ["cloud", "edge"]);
        let contrast = &comparison.contrasts[0];
        assert_eq!((contrast.total_ms.pairs, contrast.unpaired, contrast.distance), (Some(200), 0, 1.0));
        assert_eq!(contrast.total_ms.verdict, Verdict::Better);
        assert!((contrast.total_ms.mean + 100.5).abs() < 0.5, "{contrast:?}");
    }

    #[test]
    fn without_pairs_the_means_are_compared() {
        let comparison = Comparison::of(&rows(200, 1_000_000), &Options::default()).unwrap();
        let contrast = &comparison.contrasts[0];
        assert_eq!((contrast.total_ms.pairs, contrast.unpaired), (None, 400));
        assert_eq!(contrast.total_ms.verdict, Verdict::Better);
    }

    #[test]
    fn deadlines_and_computed_totals_are_noticed() {
        let options = Options { deadline_ms: Some(50.0), ..Options::default() };
        let comparison = Comparison::of(&rows(10, 0), &options).unwrap();
        let late = |at: usize| comparison.placements[at].deadline_misses.unwrap().cases;
        assert_eq!((late(0), late(1), comparison.totals_are_sums), (10, 0, false));
        let computed = [row("edge", "s", 1, 1.0), row("edge", "s", 2, 1.0)];
        assert!(Comparison::of(&computed, &options).unwrap().totals_are_sums);
        assert_eq!(Comparison::of(&[], &options), None);
    }

    #[test]
    fn a_stamp_that_comes_twice_is_paired_in_its_order() {
        let (a, b) =
            ([row("a", "s", 1, 1.0), row("a", "s", 1, 2.0)], [row("b", "s", 1, 3.0), row("b", "s", 1, 4.0)]);
        assert_eq!(pairs(&a.each_ref(), &b.each_ref()), [(1.0, 3.0), (2.0, 4.0)]);
    }
}
