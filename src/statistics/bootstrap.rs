//! Confidence intervals by resampling.
//!
//! - **Mean**: the bias-corrected and accelerated interval (BCa; B. Efron, "Better bootstrap confidence
//!   intervals", 1987). What is measured one after another is not independent, so blocks of neighbours are
//!   drawn, around the end to the beginning (the circular block bootstrap; D. N. Politis and J. P. Romano,
//!   1992), as long as the cube root of the number of samples. Beyond [`MEAN_GROUPS_MAX`] samples neighbours
//!   are averaged first, in groups of one size, and the groups' means are resampled in their place. The mean
//!   stays what it is, and blocks become longer rather than shorter, so that an interval stays as wide as it
//!   should be, or becomes a little wider; and its cost stays the same for any number of samples.
//! - **Quantile**: the percentile interval. A quantile of a resample is one of the
//!   samples, or lies between two; which ones follows order statistics of uniform
//!   numbers, and those are drawn directly from their beta distributions, so that the
//!   interval costs the same for any number of samples and is that of resampling.
//! - **Anything of clusters**, such as devices: see `clusters.rs`.

use std::borrow::Cow;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

use super::normal;
use super::samples::{Samples, between, mean, position};

/// How often samples are drawn anew unless said otherwise.
pub const RESAMPLES_DEFAULT: usize = 2_000;

/// The most samples that are resampled one by one for a mean.
pub const MEAN_GROUPS_MAX: usize = 65_536;

/// How intervals are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// How often samples are drawn anew.
    pub resamples: usize,
    /// How probable it is that an interval holds the true value, such as 0.95.
    pub level: f64,
    /// What every draw comes from.
    pub seed: u64,
    /// How many neighbours are drawn at once for a mean; none for the cube root of the
    /// number of samples, 1 for samples that do not depend on one another.
    pub block: Option<usize>,
}

/// Where a true value probably lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: RESAMPLES_DEFAULT, level: 0.95, seed: 0, block: None }
    }
}

impl Bootstrap {
    /// An interval for the mean of samples in the order they were measured; not a number for none.
    pub fn of_mean(&self, measured: &[f64]) -> Interval {
        // Equal samples have neither a bias nor an acceleration to correct: the formulas would divide nothing
        // by nothing.
        if measured.iter().all(|sample| *sample == measured[0]) {
            let observed = mean(measured);
            return Interval { low: observed, high: observed };
        }
        let groups = groups(measured);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut means = self.means(&groups, &mut rng);
        means.sort_unstable_by(f64::total_cmp);
        // Latencies are skewed to the right, for which the percentile interval lies too low; BCa moves its
        // ends.
        self.corrected(&means, mean(&groups), acceleration(&groups, self.block_of(groups.len())))
    }

    /// An interval for the difference of two means, the second less the first, that were
    /// measured apart: the percentile interval.
    pub fn of_mean_difference(&self, first: &[f64], second: &[f64]) -> Interval {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let first = self.means(&groups(first), &mut rng);
        let second = self.means(&groups(second), &mut rng);
        let mut differences: Vec<_> =
            second.iter().zip(first).map(|(second, first)| second - first).collect();
        differences.sort_unstable_by(f64::total_cmp);
        self.middle(&differences)
    }

    /// Means of resamples.
    fn means(&self, measured: &[f64], rng: &mut ChaCha8Rng) -> Vec<f64> {
        let (count, sums) = (measured.len(), CircularSums::new(measured));
        let block = self.block_of(count);
        let resample = |_| {
            let (mut sum, mut left) = (0.0, count);
            while left > 0 {
                let length = block.min(left);
                sum += sums.of(rng.random_range(0..count), length);
                left -= length;
            }
            sum / count as f64
        };
        (0..self.resamples.max(1)).map(resample).collect()
    }

    /// How many neighbours are drawn at once out of `count`.
    fn block_of(&self, count: usize) -> usize {
        // The rate at which blocks should grow for the variance of a mean (H. R. Künsch, "The jackknife and
        // the bootstrap for general stationary observations", 1989).
        self.block.unwrap_or_else(|| (count as f64).cbrt().round() as usize).clamp(1, count.max(1))
    }

    /// The percentile interval from sorted statistics of resamples.
    pub(crate) fn middle(&self, sorted: &[f64]) -> Interval {
        let tail = (1.0 - self.level) / 2.0;
        Interval { low: sorted_quantile(sorted, tail), high: sorted_quantile(sorted, 1.0 - tail) }
    }

    /// An interval for a quantile.
    pub fn of_quantile(&self, samples: &Samples, share: f64) -> Interval {
        let count = samples.count();
        let (below, weight) = position(count, share);
        // The positions of its neighbours among the samples are order statistics of `count` uniform numbers.
        let (Ok(first), next) = (
            Beta::new((below + 1) as f64, (count - below) as f64),
            // The smallest of those that are left, on the way from the first to 1.
            Beta::new(1.0, (count - below - 1).max(1) as f64),
        ) else {
            return Interval { low: f64::NAN, high: f64::NAN };
        };
        let at = |uniform: f64| {
            let index = ((uniform * count as f64) as usize).min(count - 1);
            samples.sorted().get(index).copied().unwrap_or(f64::NAN)
        };
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut quantiles: Vec<_> = (0..self.resamples.max(1))
            .map(|_| {
                let one = first.sample(&mut rng);
                let other = next.map_or(one, |next| one + (1.0 - one) * next.sample(&mut rng));
                between(at(one), at(other), weight)
            })
            .collect();
        quantiles.sort_unstable_by(f64::total_cmp);
        self.middle(&quantiles)
    }

    /// The BCa interval from sorted statistics of resamples.
    fn corrected(&self, statistics: &[f64], observed: f64, acceleration: f64) -> Interval {
        let below = statistics.partition_point(|statistic| *statistic < observed);
        let up_to = statistics.partition_point(|statistic| *statistic <= observed);
        // Ties count half. A bias beyond all resamples is cut to one of them.
        let share = (below + up_to) as f64 / 2.0 / statistics.len() as f64;
        let least = 0.5 / statistics.len() as f64;
        let bias = normal::quantile(share.clamp(least, 1.0 - least));
        let end = |tail: f64| {
            let z = bias + normal::quantile(tail);
            sorted_quantile(statistics, normal::cdf(bias + z / (1.0 - acceleration * z)))
        };
        let tail = (1.0 - self.level) / 2.0;
        Interval { low: end(tail), high: end(1.0 - tail) }
    }
}

/// The samples themselves, or means of neighbours when there are more than [`MEAN_GROUPS_MAX`].
fn groups(measured: &[f64]) -> Cow<'_, [f64]> {
    if measured.len() <= MEAN_GROUPS_MAX {
        return Cow::Borrowed(measured);
    }
    // What is left at the end makes a smaller group, one of tens of thousands that weigh the same.
    let size = measured.len().div_ceil(MEAN_GROUPS_MAX);
    Cow::Owned(measured.chunks(size).map(mean).collect())
}

/// How much the variance of the mean changes with the mean itself, from leaving out one block after another.
fn acceleration(measured: &[f64], block: usize) -> f64 {
    // Leaving out a block changes the mean by an amount that is proportional to the
    // block's own deviation, whatever the block.
    let whole = mean(measured);
    let deviations = measured.chunks(block).map(|block| {
        block.iter().map(|sample| sample - whole).sum::<f64>() / (measured.len() - block.len()).max(1) as f64
    });
    let (squares, cubes) = deviations.fold((0.0, 0.0), |(squares, cubes), deviation| {
        (squares + deviation * deviation, cubes + deviation.powi(3))
    });
    // Efron's formula (1987), with blocks in the place of single samples.
    if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 }
}

fn sorted_quantile(sorted: &[f64], share: f64) -> f64 {
    let (below, weight) = position(sorted.len(), share);
    let at = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or(f64::NAN);
    between(at(below), at(below + 1), weight)
}

/// Sums of neighbours, around the end to the beginning, each in one subtraction.
struct CircularSums {
    /// The sum of the first `n` samples at `n`.
    before: Vec<f64>,
}

impl CircularSums {
    fn new(samples: &[f64]) -> Self {
        let mut before = Vec::with_capacity(samples.len() + 1);
        let mut sum = 0.0;
        before.push(sum);
        before.extend(samples.iter().map(|sample| {
            sum += sample;
            sum
        }));
        Self { before }
    }

    fn of(&self, start: usize, length: usize) -> f64 {
        let count = self.before.len() - 1;
        let end = start + length;
        if end <= count {
            self.before[end] - self.before[start]
        } else {
            self.before[count] - self.before[start] + self.before[end - count]
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_distr::{Exp1, StandardNormal};

    use super::*;

    fn covers(interval: Interval, value: f64) -> bool {
        (interval.low..=interval.high).contains(&value)
    }

    /// In how many of `runs` the interval holds the true value.
    fn coverage(
        runs: u64,
        draw: impl Fn(&mut ChaCha8Rng) -> Vec<f64>,
        interval: impl Fn(&Bootstrap, Vec<f64>) -> Interval,
        truth: f64,
    ) -> usize {
        let covered = |seed: &u64| {
            let samples = draw(&mut ChaCha8Rng::seed_from_u64(*seed));
            let bootstrap = Bootstrap { resamples: 200, seed: *seed, ..Bootstrap::default() };
            covers(interval(&bootstrap, samples), truth)
        };
        (0..runs).filter(covered).count()
    }

    fn exponential(rng: &mut ChaCha8Rng) -> Vec<f64> {
        (0..150).map(|_| Exp1.sample(rng)).collect()
    }

    #[test]
    fn intervals_hold_the_true_value_as_often_as_they_say() {
        // 95 % of 400 is 380, with a standard deviation of 4.4; bootstrap intervals of 150
        // skewed samples are a little short.
        let mean = coverage(400, exponential, |bootstrap, samples| bootstrap.of_mean(&samples), 1.0);
        assert!((362..=395).contains(&mean), "{mean}");
        let quantile =
            |bootstrap: &Bootstrap, samples| bootstrap.of_quantile(&Samples::new(samples).unwrap(), 0.9);
        let p90 = coverage(400, exponential, quantile, 10_f64.ln());
        assert!((362..=395).contains(&p90), "{p90}");
    }

    #[test]
    fn neighbours_that_resemble_each_other_widen_the_interval() {
        // An autoregressive series with a coefficient of 0.6 has a mean twice as uncertain
        // as its samples suggest.
        let series = |rng: &mut ChaCha8Rng| {
            let mut last = 0.0;
            let next = |_| {
                let noise: f64 = StandardNormal.sample(rng);
                last = 0.6 * last + noise;
                last
            };
            (0..1_000).map(next).collect::<Vec<f64>>()
        };
        let blocks = coverage(100, series, |bootstrap, samples| bootstrap.of_mean(&samples), 0.0);
        let alone = |bootstrap: &Bootstrap, samples: Vec<f64>| {
            Bootstrap { block: Some(1), ..*bootstrap }.of_mean(&samples)
        };
        let single = coverage(100, series, alone, 0.0);
        assert!(blocks >= 86 && single < 75, "{blocks} {single}");
    }

    #[test]
    fn quantiles_by_order_statistics_are_those_of_resampling() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let samples = Samples::new(exponential(&mut rng)).unwrap();
        let mut resampled: Vec<_> = (0..4_000)
            .map(|_| {
                let draw = |_| samples.sorted()[rng.random_range(0..samples.count())];
                Samples::new((0..samples.count()).map(draw).collect()).unwrap().quantile(0.73)
            })
            .collect();
        resampled.sort_unstable_by(f64::total_cmp);
        let direct = Bootstrap { resamples: 4_000, ..Bootstrap::default() }.of_quantile(&samples, 0.73);
        let expected = (sorted_quantile(&resampled, 0.025), sorted_quantile(&resampled, 0.975));
        let error = (direct.low - expected.0).abs().max((direct.high - expected.1).abs());
        assert!(error < 0.03, "{direct:?} {expected:?}");
    }

    #[test]
    fn many_samples_are_averaged_first_and_the_interval_stays_what_it_is() {
        // The mean of n exponential samples has a standard error of 1 / sqrt(n): 1.96 of it each way.
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let samples: Vec<f64> = (0..MEAN_GROUPS_MAX * 3 + 1).map(|_| Exp1.sample(&mut rng)).collect();
        let interval = Bootstrap { resamples: 400, ..Bootstrap::default() }.of_mean(&samples);
        let half = (interval.high - interval.low) / 2.0;
        let expected = 1.96 / (samples.len() as f64).sqrt();
        assert!((half / expected - 1.0).abs() < 0.2, "{half} {expected}");
        assert!(covers(interval, mean(&samples)), "{interval:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let samples = exponential(&mut ChaCha8Rng::seed_from_u64(1));
        let bootstrap = |seed| Bootstrap { seed, ..Bootstrap::default() }.of_mean(&samples);
        assert_eq!(bootstrap(1), bootstrap(1));
        assert_ne!(bootstrap(1), bootstrap(2));
        assert_eq!(Bootstrap::default().of_mean(&[2.0; 9]), Interval { low: 2.0, high: 2.0 });
    }
}
