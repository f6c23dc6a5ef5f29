//! `baseline`: each feature against its own exponentially weighted mean and variance (S. W. Roberts, "Control
//! chart tests based on geometric moving averages", Technometrics 1, 1959), and the deviations, themselves
//! smoothed, as one number (C. A. Lowry et al., "A multivariate exponentially weighted moving average control
//! chart", Technometrics 34, 1992, with a diagonal covariance: a full one is the detector `t2`).
//!
//! Of a feature x with mean m and standard deviation s, `z = (x - m) / s`, `f += λ (z - f)`, and the score is
//! the root mean square of `f / sqrt(λ / (2 - λ))` over all features: how many standard deviations it is off.
//! A shift that stays adds up in `f`, noise does not. Mean and variance move on only with rows that are
//! learnt, and so slowly that a machine which is run in, or a season, is followed, and a fault is not.
//!
//! A device has 8 bytes, and 8 a feature: the mean in 32 bits, the variance and the deviation in 16. That is
//! 264 bytes at 32 features.

use super::block::{Word, floats, words_of_floats};
use super::detect::{Detect, Row};

/// How many rows a mean is made of before anything is said.
const ROWS_MIN: f32 = 16.0;
/// Counters stay exact up to here.
const ROWS_COUNTED_MAX: f32 = 16_777_216.0;
/// As far as a deviation counts, in standard deviations: what is beyond is as certain, and fits no 16 bits.
const DEVIATION_MAX: f32 = 120.0;
/// The unit in which 16 bits hold a smoothed deviation.
const DEVIATION_UNIT: f32 = 1.0 / 256.0;

/// As far as a value moves the mean: so that no difference is infinite.
const DIFFERENCE_MAX: f32 = 1e18;
/// Sums side by side, for the processor's vectors.
const LANES: usize = 8;

/// The words in front: rows learnt from, and rows seen.
const HEAD: usize = 1;

/// An exponentially weighted mean and variance of each feature, and a smoothed deviation from them.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// How many features a row has.
    pub features: usize,
    /// The share of a new row in what is normal, once more than `1 / rate` rows were learnt; before, all
    /// weigh the same.
    pub rate: f32,
    /// λ: the share of a new row in the deviation. 1 judges each row alone, which finds spikes soonest; less
    /// finds what stays, and Lowry's tables go from 0.05 to 0.25.
    pub smoothing: f32,
    /// Whether values below the mean are as unusual as those above it.
    pub two_sided: bool,
}

impl Baseline {
    /// One for rows of so many features, with settings that suit machines which wear.
    pub fn new(features: usize) -> Self {
        Self { features, rate: 0.005, smoothing: 0.1, two_sided: true }
    }
}

impl Detect for Baseline {
    fn words(&self) -> usize {
        HEAD + words_of_floats(self.features) + 2 * self.words_of_halves()
    }

    fn score(&self, row: &Row<'_>, state: &mut [Word]) -> Option<f32> {
        let Parts { head: [learnt, seen], means, variances, deviations } = self.parts(state) else {
            return None;
        };
        if *learnt < ROWS_MIN {
            return None;
        }
        *seen = (*seen + 1.0).min(ROWS_COUNTED_MAX);
        // As λ, all rows weigh the same at first; and its variance is that of so many.
        let share = self.smoothing.max(1.0 / *seen);
        let of_smoothed = share / (2.0 - share);
        let floor = if self.two_sided { -DEVIATION_MAX } else { 0.0 };
        let (xs, x) = row.features.as_chunks::<LANES>();
        let (ms, m) = means.as_chunks::<LANES>();
        let (vs, v) = variances.as_chunks::<LANES>();
        let (ds, d) = deviations.as_chunks_mut::<LANES>();
        let mut sums = [0.0; LANES];
        for (((xs, ms), vs), ds) in xs.iter().zip(ms).zip(vs).zip(ds) {
            let squares = squares(share, floor, xs, ms, vs, ds);
            sums.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
        }
        let mut sum: f32 = sums.iter().sum();
        for (((x, m), v), d) in x.iter().zip(m).zip(v).zip(d) {
            let [square] = squares(share, floor, &[*x], &[*m], &[*v], std::array::from_mut(d));
            sum += square;
        }
        Some((sum / (of_smoothed * self.features.max(1) as f32)).sqrt())
    }

    fn learn(&self, row: &Row<'_>, state: &mut [Word]) {
        let Parts { head: [learnt, _], means, variances, .. } = self.parts(state) else { return };
        *learnt = (*learnt + 1.0).min(ROWS_COUNTED_MAX);
        let rate = self.rate.max(1.0 / *learnt);
        for ((feature, mean), variance) in row.features.iter().zip(means).zip(variances) {
            let difference = (feature - *mean).clamp(-DIFFERENCE_MAX, DIFFERENCE_MAX);
            *mean += rate * difference;
            // The incremental form of both, which stays at least 0 (T. Finch, "Incremental calculation of
            // weighted mean and variance", 2009).
            let before = narrow::read(*variance);
            *variance = narrow::write((1.0 - rate) * (before + rate * difference * difference));
        }
    }

    fn contributions(&self, _row: &Row<'_>, state: &mut [Word], into: &mut [f32]) {
        let deviations = self.parts(state).deviations;
        for (into, deviation) in into.iter_mut().zip(deviations) {
            *into = self.side(f32::from(*deviation) * DEVIATION_UNIT).powi(2);
        }
    }
}

/// Moves the smoothed deviations of some features on, and squares them. Step by step for all of them, which
/// compilers make vectors of.
#[inline(always)]
fn squares<const N: usize>(
    share: f32,
    floor: f32,
    values: &[f32; N],
    means: &[f32; N],
    variances: &[u16; N],
    deviations: &mut [i16; N],
) -> [f32; N] {
    let mut smoothed = [0.0; N];
    for at in 0..N {
        smoothed[at] = (values[at] - means[at]) / narrow::read(variances[at]).sqrt();
    }
    for at in 0..N {
        let before = f32::from(deviations[at]) * DEVIATION_UNIT;
        smoothed[at] = before + share * (smoothed[at].clamp(-DEVIATION_MAX, DEVIATION_MAX) - before);
    }
    for at in 0..N {
        deviations[at] = rounded(smoothed[at] / DEVIATION_UNIT);
    }
    smoothed.map(|one| if one > floor { one * one } else { floor * floor })
}

/// A device's state.
struct Parts<'a> {
    head: &'a mut [f32],
    means: &'a mut [f32],
    variances: &'a mut [u16],
    deviations: &'a mut [i16],
}

impl Baseline {
    fn words_of_halves(&self) -> usize {
        self.features.div_ceil(4)
    }

    fn parts<'a>(&self, state: &'a mut [Word]) -> Parts<'a> {
        let (head, rest) = state.split_at_mut(HEAD);
        let (means, rest) = rest.split_at_mut(words_of_floats(self.features));
        let (variances, deviations) = rest.split_at_mut(self.words_of_halves());
        Parts {
            head: floats(head),
            means: &mut floats(means)[..self.features],
            variances: &mut bytemuck::cast_slice_mut(variances)[..self.features],
            deviations: &mut bytemuck::cast_slice_mut(deviations)[..self.features],
        }
    }

    fn side(&self, deviation: f32) -> f32 {
        if self.two_sided { deviation } else { deviation.max(0.0) }
    }
}

/// The nearest whole number of one that is within 2^22 of 0, in operations that processors have vectors for:
/// in the sum with 1.5 * 2^23, a 32-bit number has no bits left behind the point.
fn rounded(value: f32) -> i16 {
    (value + 12_582_912.0).to_bits() as u16 as i16
}

/// A variance in 16 bits: five of exponent, from 2^-20 to 2^12, and eleven of mantissa. Half precision would
/// have one less, in which a small share of a new row is lost to rounding; and it would take longer.
mod narrow {
    /// Below it, a variance and half of its last bit still have an exponent that fits.
    const MOST: f32 = 4095.0;
    /// The bits of a 32-bit number that are cut off.
    const CUT: u32 = 12;
    /// The smallest variance, 2^-20: a deviation of a thousandth, in the units of normalised features.
    const LEAST: u32 = (127 - 20) << 23;

    pub fn read(variance: u16) -> f32 {
        f32::from_bits((u32::from(variance) << CUT) + LEAST)
    }

    pub fn write(variance: f32) -> u16 {
        let bits = variance.clamp(f32::from_bits(LEAST), MOST).to_bits();
        ((bits.wrapping_add(1 << (CUT - 1))).wrapping_sub(LEAST) >> CUT) as u16
    }
}

#[cfg(test)]
#[path = "baseline/tests.rs"]
mod tests;
