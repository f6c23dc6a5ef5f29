//! `t2`: how far a window's mean is from what is normal, by all features together and as they go together.
//!
//! Hotelling's T² (H. Hotelling, 1947) on an exponentially weighted mean (C. A. Lowry et al., "A multivariate
//! exponentially weighted moving average control chart", Technometrics 34, 1992) with Q, the squared
//! prediction error (J. E. Jackson and G. S. Mudholkar, Technometrics 21, 1979). A device's first rows say
//! - how its features go together, from differences of successive rows (D. S. Holmes and A. E. Mergen,
//!   "Improving the performance of the T² control chart", Quality Engineering 5, 1993), which a drift in
//!   these rows does not change, shrunk (Ledoit and Wolf 2004): this becomes one matrix, see [`whitening`];
//! - how far each feature's window mean strays from its mean by itself. What strays more than independent
//!   rows would wanders, as temperatures do; it is expected to go on like a random walk, so that it counts
//!   the less the longer the centre was not set. What only rustles counts in full for ever.
//!
//! What it does not do: it looks at no single row, and forgets nothing of the covariance; `relearn` does
//! that.

mod fit;
mod learning;
mod state;
mod whitening;

pub use self::fit::fit;
use self::state::{View, words};
use super::block::Word;
use super::detect::{Detect, Row};

/// Hotelling's T² and Q on a window's mean.
#[derive(Debug, Clone, PartialEq)]
pub struct T2 {
    /// How many features a row has; at most [`FEATURES_MAX`](Self::FEATURES_MAX).
    pub features: usize,
    /// Over how many rows the mean is: the weight of a row is `2 / (window + 1)`, which has the variance of a
    /// plain mean of so many.
    pub window: u32,
    /// How many rows of a device are learnt from before it is judged; at least
    /// [`WARM_UP_MIN`](Self::WARM_UP_MIN).
    pub warm_up: u32,
    /// The smallest deviation of a window's mean that is worth an alarm, in standard deviations of a row:
    /// what is known of the mean from so few rows is known no better.
    pub deviation_min: f32,
    /// Rows are cut at so many standard deviations from the centre, so that one of them is not an alarm, and
    /// a fault is soon forgotten when it is over.
    pub cut: f32,
    /// How many warm-ups long the memory of the centre is: it follows the window's mean that slowly.
    pub memory: f32,
    /// The variance by which each feature's window mean strays beyond that of independent rows, on other
    /// devices, in variances of a row. It weighs as much as the device's own; empty where no other is known.
    pub wander: Vec<f32>,
}

/// Room for the widest row.
const WIDE: usize = 256;
/// Up to so many features, a row is narrow.
const NARROW: usize = 32;

impl T2 {
    /// The widest row: whoever reads settings refuses wider ones.
    pub const FEATURES_MAX: usize = WIDE;
    /// The shortest warm-up: fewer rows say nothing.
    pub const WARM_UP_MIN: u32 = 16;

    /// With settings that suit sensors of one machine: none depends on what is measured.
    pub fn new(features: usize, window: u32, warm_up: u32) -> Self {
        Self { features, window, warm_up, deviation_min: 0.2, cut: 4.0, memory: 2.0, wander: Vec::new() }
    }

    /// How many rows one excursion of the score lasts where all is well, about. The
    /// [`Controller`](super::Controller) wants to know it.
    pub fn crowd(&self) -> f64 {
        f64::from(self.window)
    }

    fn rate(&self) -> f32 {
        2.0 / (self.window as f32 + 1.0)
    }
}

impl Detect for T2 {
    fn words(&self) -> usize {
        words(self.features)
    }

    fn score(&self, row: &Row<'_>, state: &mut [Word]) -> Option<f32> {
        let mut view = View::of(state, self.features);
        if *view.rows < self.warm_up as f32 {
            return None;
        }
        self.advance(row.features, &mut view);
        // Most rows are narrow, and to clear room for the widest takes longer than to judge them.
        Some(if self.features <= NARROW {
            self.distance::<NARROW>(&view)
        } else {
            self.distance::<WIDE>(&view)
        })
    }

    fn learn(&self, row: &Row<'_>, state: &mut [Word]) {
        let mut view = View::of(state, self.features);
        if *view.rows < self.warm_up as f32 {
            learning::take(self, row.features, &mut view);
            if *view.rows == self.warm_up as f32 {
                learning::finish(self, &mut view);
            }
            return;
        }
        let View { age, vectors: [mean, _, _, centre, ..], .. } = &mut view;
        let rate = 1.0 / (self.memory * self.warm_up as f32);
        **age -= rate * **age;
        for (centre, mean) in centre.iter_mut().zip(&**mean) {
            *centre += rate * (mean - *centre);
        }
    }

    /// The complete decomposition (C. F. Alcala and S. J. Qin, "Reconstruction-based contribution for process
    /// monitoring", Automatica 45, 2009): the shares add up to the square of the score.
    fn contributions(&self, _row: &Row<'_>, state: &mut [Word], into: &mut [f32]) {
        let whitened = self.whitened::<WIDE>(&View::of(state, self.features));
        for (into, value) in into.iter_mut().zip(whitened) {
            *into = value * value;
        }
    }
}

impl T2 {
    /// Moves the window on.
    fn advance(&self, row: &[f32], view: &mut View<'_>) {
        let View { age, vectors: [mean, scale, reference, centre, ..], .. } = view;
        **age += 1.0;
        let rate = self.rate();
        let learnt = scale.iter().zip(&**reference).zip(&**centre);
        for ((mean, value), ((scale, reference), centre)) in mean.iter_mut().zip(row).zip(learnt) {
            // Not `clamp`, which checks its bounds one by one.
            let value = ((value - reference) * scale).max(centre - self.cut).min(centre + self.cut);
            *mean += rate * (value - *mean);
        }
    }

    fn distance<const N: usize>(&self, view: &View<'_>) -> f32 {
        whitening::length(&self.whitened::<N>(view))
    }

    /// How far each feature's window mean is from its centre, by what is normal, with what they have in
    /// common taken out; 0 behind the last feature.
    fn whitened<const N: usize>(&self, view: &View<'_>) -> [f32; N] {
        let View { age, vectors: [mean, _, _, centre, variance, wander], matrix, .. } = view;
        let mut distances = [0.0; N];
        let learnt = centre.iter().zip(&**variance).zip(&**wander);
        for ((distance, mean), ((centre, variance), wander)) in distances.iter_mut().zip(&**mean).zip(learnt)
        {
            *distance = (mean - centre) / (variance + wander * **age).sqrt();
        }
        whitening::apply(matrix, self.features, &distances)
    }
}

#[cfg(test)]
mod tests;
