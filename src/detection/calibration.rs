//! What scores of normal rows are like in training: shared by all devices, a part of the model.

use super::excess::Excess;
use super::tail::{Rarity, SURPRISAL_MAX};

/// Scores of normal rows, as their quantiles and what lies beyond them.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    quantiles: Vec<f32>,
    rows: u64,
    excess: Excess,
}

impl Calibration {
    /// From `scores` of normal rows, of which at most `quantiles_max` quantiles are kept, the smallest and
    /// the largest included. `None` for less than two scores that are numbers.
    pub fn of_scores(scores: &[f32], quantiles_max: usize) -> Option<Self> {
        let mut sorted: Vec<f32> = scores.iter().copied().filter(|score| score.is_finite()).collect();
        if sorted.len() < 2 {
            return None;
        }
        sorted.sort_unstable_by(f32::total_cmp);
        let excess = Excess::fit(&sorted);
        let rows = sorted.len() as f64;
        let last = sorted.len().min(quantiles_max.max(2)) - 1;
        let quantile = |at: usize| {
            // So many scores are at least as large as this one, itself included.
            let above = (-surprisal_of_largest(rows) * at as f64 / last as f64).exp() * (rows + 1.0) - 1.0;
            sorted[(rows - above).round().clamp(0.0, rows - 1.0) as usize]
        };
        Some(Self { quantiles: (0..=last).map(quantile).collect(), rows: sorted.len() as u64, excess })
    }

    /// As it was kept in a file. `None` when the quantiles are less than two, do not rise or are no numbers.
    pub fn of_parts(quantiles: Vec<f32>, rows: u64, excess: Excess) -> Option<Self> {
        let rises =
            quantiles.is_sorted() && quantiles.len() > 1 && quantiles.iter().all(|one| one.is_finite());
        let is_sound = excess.scale > 0.0 && excess.scale.is_finite() && (0.0..=0.5).contains(&excess.shape);
        (rises && is_sound && rows > 1).then_some(Self { quantiles, rows, excess })
    }

    /// Scores in rising order, at evenly spaced surprisals from 0 to that of the largest one: so the few that
    /// are rare are as finely told apart as the many that are not.
    pub fn quantiles(&self) -> &[f32] {
        &self.quantiles
    }

    /// How many scores it was made of.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What lies beyond them.
    pub fn excess(&self) -> Excess {
        self.excess
    }

    /// How rare `score` is among them.
    pub fn rarity(&self, score: f32) -> Rarity {
        let rows = self.rows as f64;
        let last = self.quantiles.len() - 1;
        let below = self.quantiles.partition_point(|one| *one < score);
        if below > last {
            let surprisal = ((rows + 1.0).ln() + self.excess.beyond(score)).min(SURPRISAL_MAX);
            return Rarity { surprisal, is_extrapolated: true };
        }
        let place = match below {
            0 => 0.0,
            at => {
                let (low, high) = (f64::from(self.quantiles[at - 1]), f64::from(self.quantiles[at]));
                (at - 1) as f64 + (f64::from(score) - low) / (high - low)
            }
        };
        Rarity { surprisal: surprisal_of_largest(rows) * place / last as f64, is_extrapolated: false }
    }
}

/// The surprisal of the largest of so many scores, as a rank: itself and what will come are at least as
/// large.
fn surprisal_of_largest(rows: f64) -> f64 {
    ((rows + 1.0) / 2.0).ln()
}

#[cfg(test)]
#[path = "calibration/tests.rs"]
mod tests;
