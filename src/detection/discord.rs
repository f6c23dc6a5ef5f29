//! `discord`: how unlike everything before it the shape of the last values is.
//!
//! The left discord (Y. Lu et al., "Matrix profile XXIV: scaling anomaly detection to trillions of datapoints
//! and ultra-fast arriving data streams", KDD 2022, DAMP): the distance of the newest subsequence to its
//! nearest neighbour among those of the past, each normalised by its own mean and deviation. The products of
//! the newest subsequence with all others follow from those of the row before in one step each (Y. Zhu et
//! al., "Matrix profile II", ICDM 2016, STOMP), by lag: as many steps as there are samples, and no transform.
//!
//! What hardly moves has no shape: the deviation is never less than a share of what is normal, so that noise
//! on a constant is near to a constant, and a flat line is unlike everything that moves.

use super::block::{Word, floats};
use super::detect::{Detect, Row};

/// A sample is kept as a multiple of this, in 16 bits, so that a thousand take two kilobytes.
const STEP: f32 = 1.0 / 1024.0;
/// Numbers that one instruction takes at once, or two.
const LANES: usize = 8;

/// The left discord of one feature on a ring of the past.
#[derive(Debug, Clone, PartialEq)]
pub struct Discord {
    /// Which feature.
    pub feature: usize,
    /// How many samples a subsequence has; at least 4.
    pub length: usize,
    /// How many samples are remembered; more than twice the length.
    pub samples: usize,
    /// What is added to a subsequence's own deviation, in squares and in the units of the normalised
    /// features, before it is normalised by it: at 0, shape is all that counts; the larger, the more its size
    /// counts too.
    pub deviation_floor: f32,
}

/// In front of all: rows seen; sum and sum of squares of the newest subsequence; which product is renewed
/// next.
const HEAD: usize = 4;

/// What is kept of a device. Places in the ring fall with time, so that lags rise with places.
struct Ring<'a> {
    /// As multiples of [`STEP`].
    samples: &'a mut [i16],
    /// Of the subsequence that ends here.
    means: &'a mut [f32],
    /// One over its deviation.
    inverses: &'a mut [f32],
    /// Of the newest subsequence and the one that ended so many rows before, from the first lag on.
    products: &'a mut [f32],
}

impl Discord {
    /// Of lags: from one subsequence to the one that does not overlap it, up to the oldest.
    fn lags(&self) -> usize {
        self.samples.saturating_sub(2 * self.length)
    }

    fn sample_words(&self) -> usize {
        self.samples.div_ceil(4)
    }

    fn ring_words(&self) -> usize {
        self.samples.div_ceil(2)
    }

    fn split<'a>(&self, rest: &'a mut [Word]) -> Ring<'a> {
        let (samples, rest) = rest.split_at_mut(self.sample_words());
        let (means, rest) = rest.split_at_mut(self.ring_words());
        let (inverses, products) = rest.split_at_mut(self.ring_words());
        Ring {
            samples: &mut bytemuck::cast_slice_mut(samples)[..self.samples],
            means: &mut floats(means)[..self.samples],
            inverses: &mut floats(inverses)[..self.samples],
            products: &mut floats(products)[..self.lags()],
        }
    }

    /// The place of the sample of so many rows before `newest`.
    fn place(&self, newest: usize, rows: usize) -> usize {
        (newest + rows) % self.samples
    }
}

impl Detect for Discord {
    fn words(&self) -> usize {
        HEAD + self.sample_words() + 2 * self.ring_words() + self.lags().div_ceil(2)
    }

    fn score(&self, row: &Row<'_>, state: &mut [Word]) -> Option<f32> {
        let (head, rest) = state.split_at_mut(HEAD);
        let Ring { samples, means, inverses, products } = self.split(rest);
        let seen = head[0] as usize + 1;
        // The ring turns only as often as a counter does that starts anew; what is older than it was seen.
        head[0] = if seen >= 2 * self.samples { (seen - self.samples) as u64 } else { seen as u64 };
        let newest = self.samples - 1 - (seen - 1) % self.samples;
        let value = (row.features.get(self.feature)? / STEP).round().clamp(-32_768.0, 32_767.0) as i16;
        samples[newest] = value;
        let leaving = samples[self.place(newest, self.length)];
        // Sums of whole numbers, which are exact and so never drift.
        let (value, gone) = (i64::from(value), i64::from(leaving));
        let sum = head[1] as i64 + value - gone;
        let squares = head[2] as i64 + value * value - gone * gone;
        (head[1], head[2]) = (sum as u64, squares as u64);
        let count = self.length as f64;
        let mean = sum as f64 / count;
        let variance = ((squares as f64 - sum as f64 * mean) / count).max(0.0) * f64::from(STEP * STEP);
        let inverse = (1.0 / (variance + f64::from(self.deviation_floor).powi(2).max(1e-12)).sqrt()) as f32;
        means[newest] = (mean * f64::from(STEP)) as f32;
        inverses[newest] = inverse;
        // Of the lags, those that were seen as a whole.
        let known = (seen + 1).saturating_sub(2 * self.length).min(products.len());
        let newest_of = Newest {
            value: value as f32 * STEP * STEP,
            gone: gone as f32 * STEP * STEP,
            mean: means[newest],
            inverse,
            count: self.length as f32,
            floor: self.deviation_floor.powi(2),
        };
        let mut most = [f32::NEG_INFINITY; LANES];
        let mut lag = 0;
        while lag < products.len() {
            let (one, other) =
                (self.place(newest, self.length + lag), self.place(newest, 2 * self.length + lag));
            // Up to where one of the two comes to the end of the ring, or what was seen ends.
            let end = if lag < known { known } else { products.len() };
            let run = (self.samples - one).min(self.samples - other).min(end - lag);
            let products = &mut products[lag..lag + run];
            let (ones, others) = (&samples[one..one + run], &samples[other..other + run]);
            if lag < known {
                newest_of.step(
                    products,
                    ones,
                    others,
                    &means[one..one + run],
                    &inverses[one..one + run],
                    &mut most,
                );
            } else {
                newest_of.step_unseen(products, ones, others);
            }
            lag += run;
        }
        if !products.is_empty() {
            // One product is computed from the beginning with each row, so that none keeps what was rounded.
            let lag = head[3] as usize % products.len();
            products[lag] = self.product(samples, newest, self.length + lag);
            head[3] = lag as u64 + 1;
        }
        if known == 0 {
            return None;
        }
        let most = most.into_iter().fold(f32::NEG_INFINITY, f32::max);
        let own = 1.0 - (self.deviation_floor * inverse).powi(2);
        Some((own - most).max(0.0).sqrt())
    }

    /// The ring moves on with every row.
    fn learn(&self, _: &Row<'_>, _: &mut [Word]) {}

    fn contributions(&self, _: &Row<'_>, _: &mut [Word], into: &mut [f32]) {
        if let Some(into) = into.get_mut(self.feature) {
            *into = 1.0;
        }
    }
}

impl Discord {
    /// The product of the newest subsequence with the one that ended `lag` rows before.
    fn product(&self, samples: &[i16], newest: usize, lag: usize) -> f32 {
        let (mut back, mut sum) = (0, 0i64);
        while back < self.length {
            let (one, other) = (self.place(newest, back), self.place(newest, lag + back));
            let run = (self.length - back).min(self.samples - one).min(self.samples - other);
            let pairs = samples[one..one + run].iter().zip(&samples[other..other + run]);
            sum += pairs.map(|(one, other)| i64::from(i32::from(*one) * i32::from(*other))).sum::<i64>();
            back += run;
        }
        (sum as f64 * f64::from(STEP) * f64::from(STEP)) as f32
    }
}

/// What a step needs of the newest subsequence.
struct Newest {
    /// The sample that came and the one that went, in units in which products are.
    value: f32,
    gone: f32,
    mean: f32,
    inverse: f32,
    count: f32,
    floor: f32,
}

impl Newest {
    /// Moves the products on, and finds the largest of twice the correlation less the other's variance, as
    /// far as normalisation left it 1: what is largest is nearest.
    fn step(
        &self,
        products: &mut [f32],
        ones: &[i16],
        others: &[i16],
        means: &[f32],
        inverses: &[f32],
        most: &mut [f32; LANES],
    ) {
        let (scale, floor) = (2.0 * self.inverse / self.count, self.floor);
        let shift = self.count * self.mean;
        let nearness = |product: &mut f32, one: i16, other: i16, mean: f32, inverse: f32| {
            *product += self.value * f32::from(one) - self.gone * f32::from(other);
            let covariance = *product - shift * mean;
            covariance * scale * inverse - (1.0 - floor * inverse * inverse)
        };
        let whole = products.len() / LANES * LANES;
        let (lanes, last) = products.split_at_mut(whole);
        for (at, products) in lanes.chunks_exact_mut(LANES).enumerate() {
            let from = at * LANES;
            let (ones, others) = (&ones[from..from + LANES], &others[from..from + LANES]);
            let (means, inverses) = (&means[from..from + LANES], &inverses[from..from + LANES]);
            for lane in 0..LANES {
                let near =
                    nearness(&mut products[lane], ones[lane], others[lane], means[lane], inverses[lane]);
                most[lane] = if near > most[lane] { near } else { most[lane] };
            }
        }
        for (lane, product) in last.iter_mut().enumerate() {
            let at = whole + lane;
            let near = nearness(product, ones[at], others[at], means[at], inverses[at]);
            most[lane] = if near > most[lane] { near } else { most[lane] };
        }
    }

    /// Moves products on with what was not seen yet, and is 0.
    fn step_unseen(&self, products: &mut [f32], ones: &[i16], others: &[i16]) {
        for ((product, one), other) in products.iter_mut().zip(ones).zip(others) {
            *product += self.value * f32::from(*one) - self.gone * f32::from(*other);
        }
    }
}

#[cfg(test)]
#[path = "discord/tests.rs"]
mod tests;
