//! What the way through client, broker and threads takes, beside what is simulated.

use std::time::Duration;

/// How many quantiles stand for measured samples: every two-hundredth. Between the last two of
/// fewer the slowest request of all would make many slow ones, and the mean longer by a tenth.
const STEPS: usize = 200;

/// How long requests are on the way between client and model, simulated networks, queue and
/// forward pass not counted: a distribution by its quantiles, between which it is linear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path {
    quantiles: Vec<Duration>,
}

impl Path {
    /// The distribution with these quantiles, at equal distances from the least to the
    /// most; one is a constant, none is no time. They are sorted.
    pub fn new(mut quantiles: Vec<Duration>) -> Self {
        quantiles.sort_unstable();
        Self { quantiles }
    }

    /// A distribution like that of `samples`.
    pub fn of_samples(samples: Vec<Duration>) -> Self {
        let all = Self::new(samples);
        if all.quantiles.is_empty() {
            return all;
        }
        Self { quantiles: (0..=STEPS).map(|step| all.at(step as f64 / STEPS as f64)).collect() }
    }

    /// The quantiles at equal distances, from the least to the most.
    pub fn quantiles(&self) -> &[Duration] {
        &self.quantiles
    }

    /// The time that a `share` of the requests, 0 to 1, does not exceed.
    pub fn at(&self, share: f64) -> Duration {
        let Some(last) = self.quantiles.len().checked_sub(1) else { return Duration::ZERO };
        let place = share.clamp(0.0, 1.0) * last as f64;
        let below = place as usize;
        let (low, high) = (self.quantiles[below], self.quantiles[(below + 1).min(last)]);
        low + (high - low).mul_f64(place.fract())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_samples_and_linear_between_them() {
        let us = Duration::from_micros;
        let path = Path::of_samples((0..=400).rev().map(us).collect());
        assert_eq!(
            (path.quantiles().len(), path.at(0.0), path.at(0.5), path.at(1.0)),
            (201, us(0), us(200), us(400))
        );
        assert_eq!(path.at(0.2525), us(101));
        assert_eq!(Path::new(vec![us(7)]).at(0.3), us(7));
        assert_eq!(Path::of_samples(Vec::new()).at(0.9), us(0));
    }
}
