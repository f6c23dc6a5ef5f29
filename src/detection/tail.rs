//! From a score to how rare it is: the tail probability among scores of normal rows.
//!
//! Within what was seen it is a rank; beyond that it is extrapolated and said to be so. It is handled as
//! surprisal, `-ln p`, in which rare things are far apart. Scores follow one another and are much alike: this
//! is the probability of a row, and that rows come in crowds is the [`Controller`](super::Controller)'s part.

use super::block::{Word, floats, words_of_floats};
use super::calibration::Calibration;
use super::excess::{Excess, TOP};

/// The largest surprisal: a probability below 1e-304 is no number that anybody can vouch for.
pub const SURPRISAL_MAX: f64 = 700.0;

/// The tail of one detector's scores.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tail {
    /// What is known beforehand, if anything.
    pub calibration: Option<Calibration>,
    /// How many of a device's own scores are ranked among; with 0 a device keeps nothing but its scale: the
    /// mean surprisal under the calibration, or mean and variance of its scores where there is none.
    pub window: usize,
    /// Whether, with no window, the calibration holds for every device as it is, without the device's own
    /// scale: for a network that was taught what failing is, whose score has the same meaning everywhere.
    pub is_shared: bool,
    /// More than this is not believed: what the data behind it can know. 0 for no bound.
    pub surprisal_max: f64,
}

/// How rare a score is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rarity {
    /// `-ln p`, from 0 to 700 (`SURPRISAL_MAX`).
    pub surprisal: f64,
    /// Whether the score is beyond all that were seen.
    pub is_extrapolated: bool,
}

/// The words in front of the window: how many scores are in it and where the next goes; then what lies beyond
/// it, as the four numbers of [`Excess`].
const HEAD: usize = 3;
/// The words where there is no window: mean, variance, weight, and one that is free.
const COMPACT: usize = 2;
/// So many scores of its own a device needs.
const SCORES_MIN: usize = 32;
/// In this many parts of a window the excess is fitted anew: it changes slowly.
const FITS: usize = 4;
/// As many rows the mean surprisal of a device like all others weighs at the beginning.
const PRIOR_ROWS: f32 = 100.0;
/// Of as many rows, about, a device's scale is made.
const SCALE_ROWS: f32 = 5000.0;
/// How far a device may be quieter than the calibration says, so that one which hardly moves in training does
/// not find each row rare.
const SCALE_MIN: f64 = 0.25;

impl Tail {
    /// How many words are kept of a device.
    pub fn words(&self) -> usize {
        if self.is_calibrated_alone() {
            0
        } else if self.window == 0 {
            COMPACT
        } else {
            HEAD + words_of_floats(self.window)
        }
    }

    /// How rare `score` is; `None` while too little is known, or for a score that is no number.
    pub fn rarity(&self, score: f32, state: &mut [Word]) -> Option<Rarity> {
        if score.is_nan() {
            return None;
        }
        let known = |tail: &Self| tail.calibration.as_ref().map(|calibration| calibration.rarity(score));
        if self.is_calibrated_alone() {
            return known(self);
        }
        if self.window == 0 {
            let &mut [mean, variance, weight, _] = floats(state) else { return None };
            return match known(self) {
                Some(rarity) => Some(scaled(rarity, mean, weight)),
                None if weight < SCORES_MIN as f32 => None,
                None => Some(as_gamma(score, mean, variance)),
            };
        }
        let (head, window) = state.split_at_mut(HEAD);
        let kept = head[0] as u32 as usize;
        if kept < SCORES_MIN.min(self.window) {
            return known(self);
        }
        let above = floats(window)[..kept].iter().map(|one| u32::from(*one >= score)).sum::<u32>();
        let rank = ((kept + 1) as f64 / (f64::from(above) + 1.0)).ln();
        if above > 0 {
            return Some(Rarity { surprisal: rank, is_extrapolated: false });
        }
        let surprisal = (rank + excess_of(head).beyond(score)).min(SURPRISAL_MAX);
        Some(Rarity { surprisal, is_extrapolated: true })
    }

    /// Takes the score of a normal row.
    pub fn learn(&self, score: f32, state: &mut [Word]) {
        if !score.is_finite() || self.is_calibrated_alone() {
            return;
        }
        if self.window == 0 {
            self.learn_scale(score, state);
            return;
        }
        let (head, window) = state.split_at_mut(HEAD);
        let (kept, next) = (head[0] as u32 as usize, (head[0] >> 32) as usize);
        let window = floats(window);
        window[next] = score;
        let (kept, next) = ((kept + 1).min(self.window), (next + 1) % self.window);
        head[0] = kept as u64 | (next as u64) << 32;
        let mut excess = excess_of(head);
        excess.largest = if kept == 1 { score } else { excess.largest.max(score) };
        let least = SCORES_MIN.min(self.window);
        if kept >= least && (kept == least || next.is_multiple_of(self.window.div_ceil(FITS))) {
            excess = Excess::fit(&window[..kept]);
        }
        let Excess { from, scale, shape, largest } = excess;
        floats(&mut head[1..]).copy_from_slice(&[from, scale, shape, largest]);
    }

    /// Takes a score of which only this is known for sure: that it is at least as large as what was normal so
    /// far. Without it the rows that count would be missing from the tail, which would end at the threshold,
    /// and more and more rows would count.
    pub fn learn_censored(&self, score: f32, state: &mut [Word]) {
        if self.is_calibrated_alone() {
            return;
        }
        let largest = match (self.window, &self.calibration) {
            (0, _) => f32::INFINITY,
            _ if (state[0] as u32 as usize) < SCORES_MIN.min(self.window) => f32::INFINITY,
            _ => excess_of(&mut state[..HEAD]).largest,
        };
        self.learn(score.min(largest), state);
    }

    fn is_calibrated_alone(&self) -> bool {
        self.is_shared && self.window == 0 && self.calibration.is_some()
    }

    fn learn_scale(&self, score: f32, state: &mut [Word]) {
        let [mean, variance, weight, _] = floats(state) else { return };
        let (value, prior) = match &self.calibration {
            Some(calibration) => (calibration.rarity(score).surprisal as f32, PRIOR_ROWS),
            None => (score, 0.0),
        };
        if *weight == 0.0 {
            (*mean, *weight) = (if prior > 0.0 { 1.0 } else { value }, prior);
        }
        // One that is far beyond all others says little of the scale.
        let bound = if *weight < SCORES_MIN as f32 {
            f32::INFINITY
        } else {
            *mean + 8.0 * variance.sqrt().max(*mean)
        };
        *weight = (*weight + 1.0).min(SCALE_ROWS);
        let (rate, difference) = (1.0 / *weight, value.min(bound) - *mean);
        *mean += rate * difference;
        *variance = (1.0 - rate) * (*variance + rate * difference * difference);
    }
}

fn excess_of(head: &mut [Word]) -> Excess {
    match *floats(&mut head[1..]) {
        [from, scale, shape, largest] => Excess { from, scale, shape, largest },
        _ => Excess::default(),
    }
}

/// What a device's own scale makes of it: surprisals of a device that is like all others have a mean of 1.
fn scaled(rarity: Rarity, mean: f32, weight: f32) -> Rarity {
    let mean = if weight == 0.0 { 1.0 } else { f64::from(mean).max(SCALE_MIN) };
    Rarity { surprisal: (rarity.surprisal / mean).min(SURPRISAL_MAX), ..rarity }
}

/// The tail of a gamma distribution of this mean and variance, in the approximation of E. B. Wilson and M. M.
/// Hilferty ("The distribution of chi-square", PNAS 17, 1931): the cube root is nearly normal.
fn as_gamma(score: f32, mean: f32, variance: f32) -> Rarity {
    let mean = mean.max(1e-30);
    // A shape above 1e6 would be a constant, against which everything is rare.
    let ninth = (variance / (9.0 * mean * mean)).max(1e-7);
    let deviation = ((score.max(0.0) / mean).cbrt() - (1.0 - ninth)) / ninth.sqrt();
    let surprisal = normal_surprisal(f64::from(deviation)).clamp(0.0, SURPRISAL_MAX);
    // Three deviations out is more than the few hundred rows vouch for that stand behind the moments.
    Rarity { surprisal, is_extrapolated: deviation > 3.0 }
}

/// `-ln` of the upper tail of the standard normal distribution, to 0.003: the approximation of P. O.
/// Börjesson and C.-E. W. Sundberg ("Simple approximations of the error function Q(x) for communications
/// applications", IEEE Transactions on Communications 27, 1979), which is a third of the work of an error
/// function.
pub fn normal_surprisal(deviation: f64) -> f64 {
    const A: f64 = 0.339;
    const B: f64 = 5.510;
    /// The logarithm of the square root of 2 pi.
    const LN_ROOT_TAU: f64 = 0.918_938_533_204_672_8;
    let distance = deviation.abs();
    let mills = (1.0 - A) * distance + A * (distance * distance + B).sqrt();
    let far = 0.5 * distance * distance + LN_ROOT_TAU + mills.ln();
    if deviation >= 0.0 { far } else { -(-(-far).exp()).ln_1p() }
}

#[cfg(test)]
#[path = "tail/tests.rs"]
mod tests;

const _: () = assert!(TOP >= SCORES_MIN);
