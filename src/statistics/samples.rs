//! Descriptive statistics: samples of one quantity, and what is said of them.

use super::bootstrap::{Bootstrap, Interval};

/// The percentiles of a summary, in per cent.
pub const PERCENTILES: [f64; 5] = [50.0, 90.0, 95.0, 99.0, 99.9];

/// At least one finite sample, in the order they were measured and sorted.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    measured: Vec<f64>,
    sorted: Vec<f64>,
}

/// What is said of samples of one quantity. All figures are in the samples' unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// The mean of the samples.
    pub mean: f64,
    /// A confidence interval for the mean.
    pub mean_interval: Interval,
    /// The least of the samples.
    pub min: f64,
    /// The greatest of the samples.
    pub max: f64,
    /// Each of [`PERCENTILES`].
    pub percentiles: Vec<Percentile>,
}

/// What a part of the samples do not exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentile {
    /// How many of a hundred do not.
    pub percent: f64,
    /// What they do not exceed.
    pub value: f64,
    /// A confidence interval for it.
    pub interval: Interval,
}

impl Summary {
    /// One of [`PERCENTILES`], such as 99.0; `None` for any other.
    ///
    /// ```
    /// use nearfar::statistics::{Bootstrap, Samples};
    ///
    /// let samples = Samples::new((1..=100).map(f64::from).collect()).expect("there are some");
    /// let summary = samples.summary(&Bootstrap::default());
    /// let p99 = summary.percentile(99.0).expect("it is one of them");
    /// assert!((p99.value - 99.01).abs() < 1e-9 && p99.interval.low <= p99.value);
    /// ```
    pub fn percentile(&self, percent: f64) -> Option<&Percentile> {
        self.percentiles.iter().find(|one| one.percent == percent)
    }
}

impl Samples {
    /// Samples in the order they were measured; nothing when there are none or one is not finite.
    pub fn new(measured: Vec<f64>) -> Option<Self> {
        if measured.is_empty() || !measured.iter().all(|sample| sample.is_finite()) {
            return None;
        }
        let mut sorted = measured.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        Some(Self { measured, sorted })
    }

    /// In the order they were measured.
    pub fn measured(&self) -> &[f64] {
        &self.measured
    }

    /// From the least to the greatest.
    pub fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    /// How many there are; never 0.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The mean of the samples.
    pub fn mean(&self) -> f64 {
        mean(&self.measured)
    }

    /// Their standard deviation, with n - 1 below; 0 for a single sample.
    pub fn sd(&self) -> f64 {
        // In two passes: the mean of squares less the square of the mean may lose every digit where samples
        // are large and alike.
        let mean = self.mean();
        let squares: f64 = self.measured.iter().map(|sample| (sample - mean).powi(2)).sum();
        // By n - 1, since the mean is of the same samples and too near to them (Bessel's correction).
        (squares / (self.count().max(2) - 1) as f64).sqrt()
    }

    /// The quantile for a share in `[0, 1]`: linear between the two samples next to it.
    /// Definition 7 of R. J. Hyndman and Y. Fan, "Sample quantiles in statistical
    /// packages", 1996, which R, NumPy and spreadsheets use.
    pub fn quantile(&self, share: f64) -> f64 {
        let (below, weight) = position(self.count(), share);
        let at = |index: usize| self.sorted.get(index).or(self.sorted.last()).copied().unwrap_or(f64::NAN);
        between(at(below), at(below + 1), weight)
    }

    /// Mean, extremes and percentiles, with intervals.
    pub fn summary(&self, bootstrap: &Bootstrap) -> Summary {
        let percentile = |percent: f64| {
            let share = percent / 100.0;
            let (value, interval) = (self.quantile(share), bootstrap.of_quantile(self, share));
            Percentile { percent, value, interval }
        };
        Summary {
            count: self.count(),
            mean: self.mean(),
            mean_interval: bootstrap.of_mean(&self.measured),
            min: self.quantile(0.0),
            max: self.quantile(1.0),
            percentiles: PERCENTILES.map(percentile).to_vec(),
        }
    }
}

/// The mean of some samples; not a number for none.
pub fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

/// Which sorted sample a quantile is at or behind, from 0, and how far it is on the way to the next.
pub fn position(count: usize, share: f64) -> (usize, f64) {
    let at = share.clamp(0.0, 1.0) * (count - 1) as f64;
    (at as usize, at.fract())
}

/// Between two values; exactly the first for a weight of 0.
pub fn between(low: f64, high: f64, weight: f64) -> f64 {
    if weight == 0.0 { low } else { low + (high - low) * weight }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_r_s_default() {
        // quantile(c(15, 20, 35, 40, 50), c(0.05, 0.3, 0.4, 0.5, 1)) in R.
        let samples = Samples::new(vec![35.0, 20.0, 15.0, 50.0, 40.0]).unwrap();
        let found = [0.05, 0.3, 0.4, 0.5, 1.0].map(|share| samples.quantile(share));
        for (found, expected) in found.into_iter().zip([16.0, 23.0, 29.0, 35.0, 50.0]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!((samples.mean(), samples.count()), (32.0, 5));
        assert!((samples.sd() - 14.404_860_290_887_93).abs() < 1e-9);
    }

    #[test]
    fn one_sample_is_all_of_its_own_statistics() {
        let samples = Samples::new(vec![3.0]).unwrap();
        let summary = samples.summary(&Bootstrap::default());
        assert_eq!((summary.min, summary.mean, summary.max), (3.0, 3.0, 3.0));
        assert!(
            summary
                .percentiles
                .iter()
                .all(|one| (one.value, one.interval.low, one.interval.high) == (3.0, 3.0, 3.0))
        );
        assert_eq!(samples.sd(), 0.0);
    }

    #[test]
    fn what_is_no_sample_is_refused() {
        assert_eq!(Samples::new(Vec::new()), None);
        assert_eq!(Samples::new(vec![1.0, f64::NAN]), None);
    }
}
