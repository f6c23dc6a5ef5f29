//! `smoothed`: another detector's scores over some time, in which what is slightly unusual for long adds up
//! while what was unusual once is forgotten: the exponentially weighted moving average (S. W. Roberts,
//! "Control chart tests based on geometric moving averages", Technometrics 1, 1959) of scores.

use super::block::{Word, floats};
use super::detect::{Detect, Row};

/// An average of a detector's scores.
pub struct Smoothed {
    /// The detector, which keeps a state of its own.
    pub detector: Box<dyn Detect>,
    /// The share of a new score in the average.
    pub rate: f32,
    /// A score counts as this at most: what is one wild row is for others to say.
    pub score_max: f32,
}

impl Detect for Smoothed {
    fn words(&self) -> usize {
        1 + self.detector.words()
    }

    fn begin(&self, state: &mut [Word]) {
        self.detector.begin(&mut state[1..]);
    }

    fn score(&self, row: &Row<'_>, state: &mut [Word]) -> Option<f32> {
        let (own, rest) = state.split_at_mut(1);
        let score = self.detector.score(row, rest)?.min(self.score_max);
        let [average, has_any] = floats(own) else { return None };
        *average += if *has_any == 0.0 { score } else { self.rate * (score - *average) };
        *has_any = 1.0;
        Some(*average)
    }

    fn learn(&self, row: &Row<'_>, state: &mut [Word]) {
        self.detector.learn(row, &mut state[1..]);
    }

    fn contributions(&self, row: &Row<'_>, state: &mut [Word], into: &mut [f32]) {
        self.detector.contributions(row, &mut state[1..], into);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Linear;
    use super::*;

    #[test]
    fn what_lasts_adds_up_and_what_was_once_is_cut() {
        let plain = Linear { features: 1, order: 1, keeps: 0.999 };
        let smoothed = Smoothed { detector: Box::new(plain.clone()), rate: 0.1, score_max: 5.0 };
        let mut states = [vec![0; plain.words()], vec![0; smoothed.words()]];
        plain.begin(&mut states[0]);
        smoothed.begin(&mut states[1]);
        let mut see = |value: f32| {
            let row = Row { features: &[value], network: None, timestamp_us: None };
            let scores = (plain.score(&row, &mut states[0]), smoothed.score(&row, &mut states[1]));
            plain.learn(&row, &mut states[0]);
            smoothed.learn(&row, &mut states[1]);
            scores
        };
        assert_eq!(see(0.0), (None, None));
        for at in 0..500 {
            see(if at % 2 == 0 { 0.1 } else { -0.1 } * (at as f32).sin());
        }
        let (wild, after) = see(1e4);
        assert!(wild.unwrap() > 100.0 && after.unwrap() < 2.0);
    }
}
