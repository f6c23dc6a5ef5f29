//! Latency distributions: how long a message is under way, before bandwidth, outages and reordering have
//! their say.

use std::sync::Arc;
use std::time::Duration;

use rand_distr::{Distribution, LogNormal, Normal, Pareto};

use super::parameter::{DELAY_MAX, ParameterError, at_most_delay_max, milliseconds, within};
use super::random::{Purpose, Stream};
use super::recorded::{Samples, TimeSeries};

/// One-way delays. Parameters are in milliseconds, and no sample is longer than [`DELAY_MAX`].
#[derive(Debug, Clone, PartialEq)]
pub struct Delay {
    /// Added to every sample: what light and wire take.
    plus: Duration,
    model: Model,
}

#[derive(Debug, Clone, PartialEq)]
enum Model {
    Constant,
    Uniform { least: f64, most: f64 },
    Normal(Normal<f64>),
    LogNormal(LogNormal<f64>),
    Pareto(Pareto<f64>),
    Empirical(Arc<Samples>),
    Series(Arc<TimeSeries>),
}

impl Default for Delay {
    fn default() -> Self {
        Self::constant(Duration::ZERO)
    }
}

impl Delay {
    /// One delay for every message; a longer one than [`DELAY_MAX`] is cut to it.
    pub const fn constant(delay: Duration) -> Self {
        Self { plus: at_most_delay_max(delay), model: Model::Constant }
    }

    /// Every delay between `least_ms` and `most_ms` is as likely as any other.
    ///
    /// # Errors
    /// When one is no delay, or the least is more than the most.
    pub fn uniform(least_ms: f64, most_ms: f64) -> Result<Self, ParameterError> {
        let (least, most) = (milliseconds("least_ms", least_ms)?, milliseconds("most_ms", most_ms)?);
        if least > most {
            let problem = format!("found {least_ms}, expected at most most_ms ({most_ms})");
            return Err(ParameterError::new("least_ms", problem));
        }
        Ok(Self::from(Model::Uniform { least, most }))
    }

    /// A normal distribution truncated at zero: samples below it are drawn again.
    /// `mean_ms` and `sd_ms` are those of the distribution before it is truncated.
    ///
    /// # Errors
    /// When one is no delay.
    pub fn normal(mean_ms: f64, sd_ms: f64) -> Result<Self, ParameterError> {
        let (mean, sd) = (milliseconds("mean_ms", mean_ms)?, milliseconds("sd_ms", sd_ms)?);
        let normal =
            Normal::new(mean, sd).map_err(|error| ParameterError::new("sd_ms", error.to_string()))?;
        Ok(Self::from(Model::Normal(normal)))
    }

    /// A lognormal distribution; `mean_ms` and `sd_ms` are those of the delays, not of their logarithms.
    ///
    /// # Errors
    /// When one is no delay, or the mean is 0.
    pub fn lognormal(mean_ms: f64, sd_ms: f64) -> Result<Self, ParameterError> {
        let (mean, sd) = (milliseconds("mean_ms", mean_ms)?, milliseconds("sd_ms", sd_ms)?);
        if mean == 0.0 {
            return Err(ParameterError::new("mean_ms", "found 0, expected more"));
        }
        let lognormal = LogNormal::from_mean_cv(mean, sd / mean)
            .map_err(|error| ParameterError::new("sd_ms", error.to_string()))?;
        Ok(Self::from(Model::LogNormal(lognormal)))
    }

    /// A Pareto distribution: no delay is less than `least_ms`, and one is more than `x` with probability
    /// `(least_ms / x) ^ shape`. With a shape of 1 or less the mean is infinite, with 2 or less the variance.
    ///
    /// # Errors
    /// When `least_ms` is no delay or 0, or `shape` is not between 0.1 and 1,000.
    pub fn pareto(least_ms: f64, shape: f64) -> Result<Self, ParameterError> {
        let (least, shape) = (milliseconds("least_ms", least_ms)?, within("shape", shape, 0.1, 1_000.0)?);
        let pareto =
            Pareto::new(least, shape).map_err(|error| ParameterError::new("least_ms", error.to_string()))?;
        Ok(Self::from(Model::Pareto(pareto)))
    }

    /// Measured delays, each as likely as any other.
    pub fn empirical(samples: Arc<Samples>) -> Self {
        Self::from(Model::Empirical(samples))
    }

    /// Measured delays replayed in time.
    pub fn series(series: Arc<TimeSeries>) -> Self {
        Self::from(Model::Series(series))
    }

    /// A delay that is `plus_ms` more for every message.
    ///
    /// # Errors
    /// When it is no delay.
    pub fn plus(self, plus_ms: f64) -> Result<Self, ParameterError> {
        let plus = Duration::from_secs_f64(milliseconds("plus_ms", plus_ms)?);
        Ok(Self { plus: (self.plus + plus).min(DELAY_MAX), ..self })
    }

    /// The delay of message `number`, which sets out at `at`; `purpose` tells a message from its duplicate.
    pub(crate) fn of(&self, key: u64, purpose: Purpose, number: u64, at: Duration) -> Duration {
        let seconds = match &self.model {
            Model::Constant => return self.plus,
            Model::Series(series) => return (self.plus + series.at(at)).min(DELAY_MAX),
            model => model.draw(&mut Stream::new(key, purpose, number)),
        };
        // Clamped first: `from_secs_f64` panics on what no duration can hold, and a Pareto sample may be
        // that.
        let drawn = Duration::from_secs_f64(seconds.clamp(0.0, DELAY_MAX.as_secs_f64()));
        (self.plus + drawn).min(DELAY_MAX)
    }

    /// The delay, if it is the same for every message.
    pub fn as_constant(&self) -> Option<Duration> {
        matches!(self.model, Model::Constant).then_some(self.plus)
    }
}

impl From<Model> for Delay {
    fn from(model: Model) -> Self {
        Self { plus: Duration::ZERO, model }
    }
}

impl Model {
    /// Draws a delay in seconds from `stream`, not yet bounded.
    fn draw(&self, stream: &mut Stream) -> f64 {
        match self {
            Self::Constant | Self::Series(_) => 0.0,
            Self::Uniform { least, most } => least + (most - least) * stream.unit(),
            Self::Normal(normal) => (0..TRUNCATION_TRIES_MAX)
                .map(|_| normal.sample(stream))
                .find(|seconds| *seconds >= 0.0)
                .unwrap_or_default(),
            Self::LogNormal(lognormal) => lognormal.sample(stream),
            Self::Pareto(pareto) => pareto.sample(stream),
            Self::Empirical(samples) => samples.pick(stream.unit()).as_secs_f64(),
        }
    }
}

/// How often a normal sample below zero is drawn again. As the mean is not below
/// zero, each try fails at most every second time.
const TRUNCATION_TRIES_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    const SAMPLES: u64 = 20_000;

    /// Mean and standard deviation of samples, in milliseconds.
    fn moments(delay: &Delay, key: u64) -> (f64, f64) {
        let of = |number| delay.of(key, Purpose::Delay, number, Duration::ZERO).as_secs_f64() * 1e3;
        let samples: Vec<f64> = (0..SAMPLES).map(of).collect();
        let mean = samples.iter().sum::<f64>() / SAMPLES as f64;
        let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / SAMPLES as f64;
        (mean, variance.sqrt())
    }

    /// Five standard errors of the mean, and `spread_error` of the standard deviation's own value.
    fn close((mean, sd): (f64, f64), (true_mean, true_sd): (f64, f64), spread_error: f64) {
        let error = true_sd / (SAMPLES as f64).sqrt();
        assert!((mean - true_mean).abs() <= 5.0 * error + 1e-6, "mean {mean}, expected {true_mean}");
        assert!((sd - true_sd).abs() <= spread_error * true_sd + 1e-6, "sd {sd}, expected {true_sd}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, rng_seed: RngSeed::Fixed(6), ..ProptestConfig::default() })]

        #[test]
        fn uniform_delays_have_their_moments(least in 0.0..50.0_f64, width in 0.0..50.0_f64, key: u64) {
            let delay = Delay::uniform(least, least + width).unwrap();
            close(moments(&delay, key), (least + width / 2.0, width / 12_f64.sqrt()), 0.05);
        }

        #[test]
        fn normal_delays_have_the_moments_of_a_truncated_normal(mean in 0.0..50.0_f64, sd in 0.5..30.0_f64, key: u64) {
            // Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 1, section 10.1.
            let alpha = -mean / sd;
            let density = (-alpha * alpha / 2.0).exp() / std::f64::consts::TAU.sqrt();
            let hazard = density / (libm::erfc(alpha / std::f64::consts::SQRT_2) / 2.0);
            let true_mean = mean + sd * hazard;
            let true_sd = sd * (1.0 + alpha * hazard - hazard * hazard).sqrt();
            close(moments(&Delay::normal(mean, sd).unwrap(), key), (true_mean, true_sd), 0.05);
        }

        #[test]
        fn lognormal_delays_have_the_moments_that_were_asked_for(mean in 1.0..80.0_f64, cv in 0.05..0.6_f64, key: u64) {
            let delay = Delay::lognormal(mean, mean * cv).unwrap().plus(3.0).unwrap();
            close(moments(&delay, key), (mean + 3.0, mean * cv), 0.15);
        }

        #[test]
        fn pareto_delays_have_their_moments(least in 1.0..20.0_f64, shape in 6.0..20.0_f64, key: u64) {
            let mean = shape * least / (shape - 1.0);
            let sd = least / (shape - 1.0) * (shape / (shape - 2.0)).sqrt();
            close(moments(&Delay::pareto(least, shape).unwrap(), key), (mean, sd), 0.25);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, rng_seed: RngSeed::Fixed(8), ..ProptestConfig::default() })]

        #[test]
        fn delays_from_a_file_have_the_moments_of_what_stands_in_it(
            recorded in prop::collection::vec(0.0..50.0_f64, 2..40), key: u64,
        ) {
            let count = recorded.len() as f64;
            let mean = recorded.iter().sum::<f64>() / count;
            let sd = (recorded.iter().map(|ms| (ms - mean).powi(2)).sum::<f64>() / count).sqrt();
            let text: String = recorded.iter().map(|ms| format!("{ms}\n")).collect();
            let delay = Delay::empirical(Arc::new(Samples::parse(&text).unwrap()));
            close(moments(&delay, key), (mean, sd), 0.08);
            // In time, a second each, every delay has the same share of every period.
            let text: String = recorded.iter().enumerate().map(|(at, ms)| format!("{at},{ms}\n")).collect();
            let delay = Delay::series(Arc::new(TimeSeries::parse(&text).unwrap()));
            let at = |step: usize| Duration::from_millis(step as u64 * 100 + 50);
            let of = |step| delay.of(key, Purpose::Delay, 0, at(step)).as_secs_f64() * 1e3;
            let over_time = (0..recorded.len() * 30).map(of).sum::<f64>() / (count * 30.0);
            prop_assert!((over_time - mean).abs() < 1e-3, "{over_time} {mean}");
        }
    }

    #[test]
    fn empirical_delays_have_the_moments_of_the_samples() {
        let samples = Arc::new(Samples::parse("1.0\n3.0\n8.0\n").unwrap());
        let delay = Delay::empirical(samples).plus(2.0).unwrap();
        close(moments(&delay, 5), (6.0, (26.0_f64 / 3.0).sqrt()), 0.05);
    }

    #[test]
    fn no_delay_is_negative_or_longer_than_the_longest() {
        let heavy = Delay::pareto(1.0, 0.1).unwrap();
        let of = |delay: &Delay, number| delay.of(1, Purpose::Delay, number, Duration::ZERO);
        assert_eq!((0..5_000).map(|number| of(&heavy, number)).max(), Some(DELAY_MAX));
        let wide = Delay::normal(0.0, 1_000.0).unwrap();
        assert!((0..5_000).all(|number| of(&wide, number) > Duration::ZERO));
    }

    #[test]
    fn senseless_parameters_are_refused_by_name() {
        assert_eq!(Delay::uniform(5.0, 4.0).unwrap_err().parameter, "least_ms");
        assert_eq!(Delay::normal(-1.0, 4.0).unwrap_err().parameter, "mean_ms");
        assert_eq!(Delay::normal(1.0, f64::NAN).unwrap_err().parameter, "sd_ms");
        assert_eq!(Delay::lognormal(0.0, 1.0).unwrap_err().parameter, "mean_ms");
        assert_eq!(Delay::pareto(0.0, 2.0).unwrap_err().parameter, "least_ms");
        assert_eq!(Delay::pareto(1.0, 0.0).unwrap_err().parameter, "shape");
    }
}
