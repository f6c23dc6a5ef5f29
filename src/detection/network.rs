//! `network`: what the model's network says of a row, smoothed over the rows of its device: an exponentially
//! weighted mean of the logit (S. W. Roberts, "Control chart tests based on geometric moving averages",
//! Technometrics 1, 1959).
//!
//! A network judges each row alone, and a single snapshot is noisy; wear is not gone with the next one. Of
//! eleven bearings, each judged by a network that had not seen it, the mean ROC AUC was 0.997 with a share of
//! 0.1, and 0.991 with the newest row alone.

use super::block::{Word, floats};
use super::detect::{Detect, Row};

/// Logits beyond it are all the same: a probability in 32 bits is 1 from here on.
const LOGIT_MAX: f32 = 16.0;

/// The smoothed logit of a network that gives a probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The share of the newest row; before as many rows were seen, all weigh the same. 1 for no smoothing.
    pub rate: f32,
}

impl Default for Network {
    fn default() -> Self {
        Self { rate: 0.1 }
    }
}

impl Detect for Network {
    /// The mean logit and how many rows it is of: 8 bytes.
    fn words(&self) -> usize {
        1
    }

    /// `-ln(1 - p)` of the smoothed logit: as the logit where that is large, and never below 0.
    fn score(&self, row: &Row<'_>, state: &mut [Word]) -> Option<f32> {
        let probability = row.network.filter(|probability| probability.is_finite())?;
        let logit = (probability.ln() - (-probability).ln_1p()).clamp(-LOGIT_MAX, LOGIT_MAX);
        let [mean, rows] = floats(state) else { return None };
        *rows = (*rows + 1.0).min(16_777_216.0);
        *mean += self.rate.max(1.0 / *rows) * (logit - *mean);
        Some(mean.max(0.0) + (-mean.abs()).exp().ln_1p())
    }

    /// What is normal is in the weights.
    fn learn(&self, _row: &Row<'_>, _state: &mut [Word]) {}

    /// A network does not say which features moved it.
    fn contributions(&self, _row: &Row<'_>, _state: &mut [Word], into: &mut [f32]) {
        into.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(network: &Network, probabilities: &[f32]) -> Vec<Option<f32>> {
        let mut state = vec![0; network.words()];
        let row = |network| Row { features: &[], network, timestamp_us: None };
        probabilities.iter().map(|one| network.score(&row(Some(*one)), &mut state)).collect()
    }

    #[test]
    fn without_smoothing_the_score_is_the_surprisal_of_health() {
        for (probability, score) in scores(&Network { rate: 1.0 }, &[0.5, 0.9, 0.001])
            .into_iter()
            .zip([0.5f32, 0.9, 0.001].map(|probability| -(1.0 - probability).ln()))
        {
            assert!((probability.unwrap() - score).abs() < 1e-6);
        }
    }

    #[test]
    fn one_wild_row_moves_it_less_than_ten() {
        let network = Network::default();
        let mut rows = vec![0.01; 50];
        rows.push(1.0);
        let one = scores(&network, &rows)[50].unwrap();
        rows.extend([1.0; 9]);
        let ten = scores(&network, &rows)[59].unwrap();
        assert!(one < 0.2 && ten > 5.0, "{one} {ten}");
    }

    #[test]
    fn certainty_and_what_is_no_number_do_no_harm() {
        let network = Network::default();
        let said = scores(&network, &[0.0, 1.0, f32::NAN, 0.5]);
        assert_eq!(said[2], None);
        assert!(said.iter().flatten().all(|score| score.is_finite()));
        let mut state = vec![0; 1];
        assert_eq!(
            network.score(&Row { features: &[], network: None, timestamp_us: None }, &mut state),
            None
        );
    }
}
