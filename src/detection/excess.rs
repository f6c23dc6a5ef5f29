//! What lies beyond the scores that were seen: a generalised Pareto distribution of what the largest of them
//! exceed a level by.
//!
//! J. Pickands, "Statistical inference using extreme order statistics", Annals of Statistics 3, 1975; fitted
//! by the probability-weighted moments of J. R. M. Hosking and J. R. Wallis, "Parameter and quantile
//! estimation for the generalized Pareto distribution", Technometrics 29, 1987, which need no iteration and
//! are good where scores are few.

/// At most so many of the largest scores are fitted to.
pub const TOP: usize = 64;
/// At most this share of all scores is fitted to.
const TAIL_SHARE: f64 = 0.1;
/// At least so many are, where there are as many.
const TOP_MIN: usize = 8;
/// The heaviest tail that is believed; from 0.5 on a variance does not exist. Below 0, a distribution would
/// end somewhere, and what is beyond its end would be impossible instead of rare.
const SHAPE_MAX: f64 = 0.5;
/// A shape from so many scores is pulled half the way to 0, the exponential tail, for its error is as large.
const SHAPE_PRIOR_ROWS: f64 = 30.0;

/// The fitted tail.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Excess {
    /// The level.
    pub from: f32,
    /// The scale of what exceeds it.
    pub scale: f32,
    /// The shape, from 0 (exponential) to 0.5 (heavy).
    pub shape: f32,
    /// The largest score that was seen.
    pub largest: f32,
}

impl Excess {
    /// Fits the tail of `scores`, of which there is at least one, in any order.
    pub fn fit(scores: &[f32]) -> Self {
        let fitted =
            ((scores.len() as f64 * TAIL_SHARE) as usize).clamp(TOP_MIN, TOP).min(scores.len() - 1).max(1);
        // The largest in falling order, and behind them the level.
        let mut largest = [f32::NEG_INFINITY; TOP + 1];
        let largest = &mut largest[..fitted + 1];
        for score in scores {
            if *score > largest[fitted] {
                let at = largest.partition_point(|one| one >= score);
                largest.copy_within(at..fitted, at + 1);
                largest[at] = *score;
            }
        }
        let from = if scores.len() == 1 { largest[0] } else { largest[fitted] };
        let count = fitted as f64;
        let (mut mean, mut weighted) = (0.0, 0.0);
        for (at, score) in largest[..fitted].iter().enumerate() {
            let excess = f64::from(score - from);
            mean += excess / count;
            // Rank j of n in rising order is at probability (j - 0.35) / n.
            weighted += excess * (at as f64 + 0.35) / (count * count);
        }
        let shape = if mean > 2.0 * weighted { 2.0 - mean / (mean - 2.0 * weighted) } else { 0.0 };
        let shape = shape.clamp(0.0, SHAPE_MAX) * count / (count + SHAPE_PRIOR_ROWS);
        // The mean of the distribution is scale / (1 - shape). Where scores hardly differ, a thousandth of
        // their size is what a difference is measured by.
        let least = 1e-3 * f64::from(from.abs()).max(1e-9);
        let scale = (mean * (1.0 - shape)).max(least);
        Self { from, scale: scale as f32, shape: shape as f32, largest: largest[0] }
    }

    /// How much more surprising `score` is than the largest one that was seen: 0 or more.
    pub fn beyond(&self, score: f32) -> f64 {
        (self.hazard(score) - self.hazard(self.largest)).max(0.0)
    }

    /// `-ln` of the probability that what is above the level is above `score` too.
    fn hazard(&self, score: f32) -> f64 {
        let excess = (f64::from(score) - f64::from(self.from)).max(0.0) / f64::from(self.scale).max(1e-30);
        let shape = f64::from(self.shape);
        if shape < 1e-6 { excess } else { (shape * excess).ln_1p() / shape }
    }
}
