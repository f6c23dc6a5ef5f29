//! What plots are drawn from: distributions and courses in time, thinned so that
//! they stay small whatever they are made of.

use std::time::Duration;

use super::placement::latency_ms;
use super::selection::Chosen;
use crate::statistics::Samples;

/// The most steps of a distribution.
pub const CDF_STEPS_MAX: usize = 400;
/// The most bins of a course in time.
pub const TIME_BINS_MAX: usize = 120;

/// Requests that were due at about the same time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeBin {
    /// When it begins, in seconds since the repeat began.
    pub from_s: f64,
    /// When it ends.
    pub until_s: f64,
    /// Median and 95th percentile of the latency of those with a result; nothing without any.
    pub latency_ms: Option<[f64; 2]>,
    /// How many requests there were.
    pub sent: usize,
    /// How many of them had no result.
    pub unanswered: usize,
}

/// Latencies and the share of `sent` requests that had a result by then.
pub fn cdf(latencies: &Samples, sent: usize) -> Vec<(f64, f64)> {
    let (sorted, sent) = (latencies.sorted(), sent.max(1) as f64);
    let step = |rank: usize| (sorted[rank - 1], rank as f64 / sent);
    if sorted.len() <= CDF_STEPS_MAX {
        return (1..=sorted.len()).map(step).collect();
    }
    // Ranks at equal distances, and as many again that halve the distance to the end,
    // because tails are what is looked for.
    let even = CDF_STEPS_MAX - TAIL_STEPS;
    let mut ranks: Vec<_> = (0..even).map(|at| 1 + at * (sorted.len() - 1) / (even - 1)).collect();
    let mut left = sorted.len() / even;
    for _ in 0..TAIL_STEPS {
        ranks.push(sorted.len() - left);
        left = left * 3 / 4;
    }
    ranks.sort_unstable();
    ranks.dedup();
    ranks.into_iter().map(step).collect()
}

/// Steps that are spent on the slowest requests: three quarters to the power of so
/// many reach from a million to one.
const TAIL_STEPS: usize = 50;

/// The first repeat through its time.
pub fn timeline(chosen: &Chosen<'_, '_>, duration: Duration) -> Vec<TimeBin> {
    let Some(repeat) = chosen.repeats.first() else { return Vec::new() };
    let last = repeat.observations.iter().map(|observation| observation.due).max().unwrap_or_default();
    let whole_s = duration.max(last).as_secs_f64();
    if whole_s <= 0.0 {
        return Vec::new();
    }
    let count = (repeat.observations.len() / BIN_REQUESTS_LEAST).clamp(1, TIME_BINS_MAX);
    let mut bins: Vec<(Vec<f64>, usize)> = vec![(Vec::new(), 0); count];
    for observation in &repeat.observations {
        let at = (observation.due.as_secs_f64() / whole_s * count as f64) as usize;
        let (latencies, sent) = &mut bins[at.min(count - 1)];
        *sent += 1;
        latencies.extend(latency_ms(observation));
    }
    let bin = |(at, (latencies, sent)): (usize, (Vec<f64>, usize))| TimeBin {
        from_s: whole_s * at as f64 / count as f64,
        until_s: whole_s * (at + 1) as f64 / count as f64,
        unanswered: sent - latencies.len(),
        sent,
        latency_ms: Samples::new(latencies)
            .map(|latencies| [latencies.quantile(0.5), latencies.quantile(0.95)]),
    };
    bins.into_iter().enumerate().map(bin).collect()
}

/// With fewer requests in a bin its percentiles say little.
const BIN_REQUESTS_LEAST: usize = 20;
