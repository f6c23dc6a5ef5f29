//! `linear`: what comes next as a weighted sum of the last values of each feature, and how far it is missed
//! by.
//!
//! An autoregression whose weights follow the data by recursive least squares with forgetting (R. L.
//! Plackett, "Some theorems in least squares", Biometrika 37, 1950; the form with forgetting as in S. Haykin,
//! "Adaptive Filter Theory", chapter on RLS). A level, a slope and oscillations are all linear recurrences:
//! what is left is what could not be expected. Each feature is on its own; one of order 6 takes 368 bytes.

use super::block::{Word, doubles};
use super::detect::{Detect, Row};

/// The highest order.
pub const ORDER_MAX: usize = 8;
/// Weights: one for each value before, and one for the constant.
const WEIGHTS_MAX: usize = ORDER_MAX + 1;
/// How uncertain a weight is before anything was learnt: variance, in units of the innovations' variance. It
/// is also the most that forgetting makes of it, where nothing happens for long.
const UNCERTAINTY: f64 = 100.0;
/// Of so many innovations, about, their mean square is made.
const SPREAD_ROWS: f64 = 300.0;
/// The smallest standard deviation of innovations, in the units of the normalised features.
const DEVIATION_MIN: f64 = 1e-3;
/// An innovation counts at most as so many standard deviations in their mean square.
const CLIP: f64 = 6.0;

/// Autoregression of each feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// How many features a row has.
    pub features: usize,
    /// From how many values before a value is expected; from 1 to [`ORDER_MAX`].
    pub order: usize,
    /// How much of what it knows a row leaves: from 0 to 1; 0.999 is a memory of a thousand rows.
    pub keeps: f64,
}

/// In front of all: rows scored, and rows learnt from.
const HEAD: usize = 2;
/// In front of each feature's numbers: the mean square of its innovations, the last innovation, and the value
/// it belongs to, which the next row finds before it.
const OWN: usize = 3;

impl Detect for Linear {
    fn words(&self) -> usize {
        HEAD + self.features * self.of_each()
    }

    fn begin(&self, state: &mut [Word]) {
        for one in doubles(&mut state[HEAD..]).chunks_exact_mut(self.of_each()) {
            let covariance = self.split(one).covariance;
            (0..=self.order).for_each(|at| covariance[packed(at, at)] = UNCERTAINTY);
        }
    }

    fn score(&self, row: &Row<'_>, state: &mut [Word]) -> Option<f32> {
        let (head, rest) = state.split_at_mut(HEAD);
        let mut sum = 0.0;
        for (one, feature) in doubles(rest).chunks_exact_mut(self.of_each()).zip(row.features) {
            let Own { own, values, weights, .. } = self.split(one);
            if head[0] > 0 {
                values.copy_within(..self.order - 1, 1);
                values[0] = own[2];
            }
            own[2] = f64::from(*feature);
            own[1] = own[2] - dot(values, weights) - weights[self.order];
            sum += own[1] * own[1] / variance(own[0]);
        }
        head[0] = (head[0] + 1).min(u64::from(u32::MAX));
        let is_ripe = head[1] >= 4 * (self.order as u64 + 1);
        is_ripe.then(|| (sum / self.features as f64).sqrt() as f32).filter(|score| score.is_finite())
    }

    fn learn(&self, _: &Row<'_>, state: &mut [Word]) {
        let (head, rest) = state.split_at_mut(HEAD);
        if head[0] <= self.order as u64 {
            return;
        }
        head[1] = (head[1] + 1).min(u64::from(u32::MAX));
        let rate = (1.0 / head[1] as f64).max(1.0 / SPREAD_ROWS);
        for one in doubles(rest).chunks_exact_mut(self.of_each()) {
            let Own { own, values, weights, covariance } = self.split(one);
            // What is far off, and yet no alarm, moves neither the weights nor the spread by much.
            let bound =
                if head[1] > SPREAD_ROWS as u64 { CLIP * variance(own[0]).sqrt() } else { f64::INFINITY };
            let innovation = own[1].clamp(-bound, bound);
            own[0] += rate * (innovation * innovation - own[0]);
            self.update(values, weights, covariance, innovation);
        }
    }

    fn contributions(&self, _: &Row<'_>, state: &mut [Word], into: &mut [f32]) {
        for (one, into) in doubles(&mut state[HEAD..]).chunks_exact(self.of_each()).zip(into) {
            *into = (one[1] * one[1] / variance(one[0])) as f32;
        }
    }
}

/// What is kept of one feature.
struct Own<'a> {
    own: &'a mut [f64],
    /// The last values, the newest first.
    values: &'a mut [f64],
    /// One for each, and the constant.
    weights: &'a mut [f64],
    /// How uncertain they are: the lower triangle of a symmetric matrix, row by row.
    covariance: &'a mut [f64],
}

impl Linear {
    fn of_each(&self) -> usize {
        OWN + 2 * self.order + 1 + packed(self.order + 1, 0)
    }

    fn split<'a>(&self, one: &'a mut [f64]) -> Own<'a> {
        let (own, rest) = one.split_at_mut(OWN);
        let (values, rest) = rest.split_at_mut(self.order);
        let (weights, covariance) = rest.split_at_mut(self.order + 1);
        Own { own, values, weights, covariance }
    }

    /// One step of recursive least squares. Only one triangle of the covariance is kept, so that it stays
    /// symmetric whatever is rounded.
    fn update(&self, values: &[f64], weights: &mut [f64], covariance: &mut [f64], innovation: f64) {
        let count = self.order + 1;
        let input = |at: usize| if at < self.order { values[at] } else { 1.0 };
        let mut gain = [0.0; WEIGHTS_MAX];
        let mut along = self.keeps;
        for at in 0..count {
            for other in 0..count {
                gain[at] += covariance[packed(at.max(other), at.min(other))] * input(other);
            }
            along += gain[at] * input(at);
        }
        // Without news in some direction, forgetting would make it infinitely uncertain.
        let most = (0..count).map(|at| covariance[packed(at, at)]).fold(0.0, f64::max);
        let forgets = if most < UNCERTAINTY { 1.0 / self.keeps } else { 1.0 };
        for at in 0..count {
            weights[at] += gain[at] / along * innovation;
            for other in 0..=at {
                let one = &mut covariance[packed(at, other)];
                *one = (*one - gain[at] * gain[other] / along) * forgets;
            }
        }
    }
}

/// Where row and column are in a lower triangle.
fn packed(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}

fn variance(mean_square: f64) -> f64 {
    mean_square.max(DEVIATION_MIN * DEVIATION_MIN)
}

fn dot(values: &[f64], weights: &[f64]) -> f64 {
    values.iter().zip(weights).map(|(value, weight)| value * weight).sum()
}

#[cfg(test)]
#[path = "linear/tests.rs"]
mod tests;
