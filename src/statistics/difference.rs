//! Differences of two placements, paired and unpaired: by how much they differ, and whether that means
//! anything.

use super::bootstrap::{Bootstrap, Interval};
use super::samples::{Samples, mean};

/// The difference of two placements, the second less the first, in the samples' unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// How many pairs had the same input; none where the two are compared as a whole.
    pub pairs: Option<usize>,
    /// The mean difference, the second less the first.
    pub mean: f64,
    /// A confidence interval for the mean difference.
    pub interval: Interval,
    /// What that means for the second.
    pub verdict: Verdict,
}

/// How the second of two compares with the first, where less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval is on its side.
    Better,
    /// The whole interval is on the other's.
    Worse,
    /// The interval holds differences in both directions, or only such as do not matter.
    NoDifference,
}

impl Difference {
    /// Compares pairs of what was measured for the same input, in the order of
    /// measurement. Differences of at most `margin` do not matter, such as the
    /// resolution of a clock. Nothing when there are no pairs or one is not finite.
    pub fn paired(pairs: &[(f64, f64)], margin: f64, bootstrap: &Bootstrap) -> Option<Self> {
        // What both placements owe to the input is in both and drops out, so that fewer samples show the same
        // difference.
        let differences: Vec<_> = pairs.iter().map(|(first, second)| second - first).collect();
        if differences.is_empty() || !differences.iter().all(|difference| difference.is_finite()) {
            return None;
        }
        let interval = bootstrap.of_mean(&differences);
        let verdict = Verdict::of(interval, margin);
        Some(Self { pairs: Some(pairs.len()), mean: mean(&differences), interval, verdict })
    }

    /// Compares what was measured for different inputs: the difference of the means, each
    /// resampled on its own. It takes many more samples to find the same difference.
    pub fn unpaired(first: &Samples, second: &Samples, margin: f64, bootstrap: &Bootstrap) -> Self {
        let interval = bootstrap.of_mean_difference(first.measured(), second.measured());
        let verdict = Verdict::of(interval, margin);
        Self { pairs: None, mean: second.mean() - first.mean(), interval, verdict }
    }
}

impl Verdict {
    fn of(interval: Interval, margin: f64) -> Self {
        if interval.high < -margin {
            Self::Better
        } else if interval.low > margin {
            Self::Worse
        } else {
            Self::NoDifference
        }
    }

    /// The verdict as people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::NoDifference => "no difference",
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, LogNormal};

    use super::*;

    /// Latencies of one placement in milliseconds, measured twice, the second time `shift_ms` slower.
    fn pairs(seed: u64, shift_ms: f64) -> Vec<(f64, f64)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let latency_ms = LogNormal::from_mean_cv(60.0, 0.3).unwrap();
        (0..1_000).map(|_| (latency_ms.sample(&mut rng), latency_ms.sample(&mut rng) + shift_ms)).collect()
    }

    fn verdicts(shift_ms: f64, expected: Verdict) -> usize {
        let of = |seed| {
            let bootstrap = Bootstrap { resamples: 300, seed, ..Bootstrap::default() };
            Difference::paired(&pairs(seed, shift_ms), 0.0, &bootstrap).unwrap().verdict
        };
        (0..100).filter(|seed| of(*seed) == expected).count()
    }

    #[test]
    fn the_same_placement_twice_is_no_difference() {
        let found = verdicts(0.0, Verdict::NoDifference);
        assert!(found >= 94, "{found}");
    }

    #[test]
    fn five_milliseconds_are_found_every_time() {
        assert_eq!(verdicts(5.0, Verdict::Worse), 100);
        assert_eq!(verdicts(-5.0, Verdict::Better), 100);
    }

    #[test]
    fn differences_within_the_margin_do_not_matter() {
        let of = |margin| Difference::paired(&[(1.0, 1.5); 20], margin, &Bootstrap::default()).unwrap();
        assert_eq!((of(0.0).verdict, of(0.5).verdict), (Verdict::Worse, Verdict::NoDifference));
        assert_eq!((of(0.0).mean, of(0.0).pairs), (0.5, Some(20)));
        assert_eq!(Difference::paired(&[], 0.0, &Bootstrap::default()), None);
    }
    #[test]
    fn what_had_different_input_is_compared_by_its_means() {
        let of = |shift_ms| {
            let (first, second) = pairs(1, shift_ms).into_iter().unzip();
            let (first, second) = (Samples::new(first).unwrap(), Samples::new(second).unwrap());
            Difference::unpaired(&first, &second, 0.0, &Bootstrap::default())
        };
        let (same, slower) = (of(0.0), of(5.0));
        assert_eq!(
            (same.verdict, slower.verdict, slower.pairs),
            (Verdict::NoDifference, Verdict::Worse, None)
        );
        // Two means of 1,000 samples with a deviation of 18 ms: 1.96 standard errors of 0.8 ms each way.
        let width = slower.interval.high - slower.interval.low;
        assert!((width - 3.16).abs() < 0.5, "{width}");
    }
}
