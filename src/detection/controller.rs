//! From which rarity on a row counts: a threshold that moves so that episodes begin as often as the budget
//! allows, and never more often, whatever the stream.
//!
//! Adaptive conformal inference (I. Gibbs and E. Candès, "Adaptive conformal inference under distribution
//! shift", NeurIPS 2021) as the quantile tracking with saturation of A. Angelopoulos, E. Candès and R.
//! Tibshirani ("Conformal PID control for time series prediction", NeurIPS 2023). What is tracked is the
//! beginning of episodes, not rows: rows that count come in crowds. Three parts make the threshold:
//! - the rarity that one row in as many has as the budget gives an episode, `-ln(share of a row)`, or less
//!   for rows that crowd;
//! - an offset that each episode raises and each quiet row lowers: it learns how rows crowd, and how far
//!   the extrapolated tail is wrong;
//! - saturation: episodes are paid for from a purse that fills by the budget and holds `burst`. Below one,
//!   nothing begins. So in any time T there are at most `budget · T + burst` episodes, on any stream.

use serde::Serialize;

use super::block::{Word, doubles};
use super::budget::{Budget, Per};

/// How the threshold follows from the budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// As above: the budget is kept.
    #[default]
    Budget,
    /// A constant rarity of the tail that follows the data (A. Siffer et al., "Anomaly detection in streams
    /// with extreme value theory", KDD 2017, SPOT). It trusts the extrapolation, and nothing keeps it within
    /// the budget: on series of the Numenta benchmark it broke it by 2 to 11 times.
    Spot,
}

impl Rule {
    /// Each with its name in settings.
    pub const NAMES: &[(&str, Self)] = &[("budget", Self::Budget), ("spot", Self::Spot)];
}

/// Keeps a device's episodes within a budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Controller {
    /// What is allowed.
    pub budget: Budget,
    /// Whether that is kept.
    pub rule: Rule,
    /// How many rows one excursion lasts, about: rows come in crowds where a detector judges a window, and an
    /// episode of so many rows is one. 1 for rows that know nothing of each other.
    pub crowd: f64,
    /// The surprisal below which the threshold does not go.
    pub surprisal_min: f64,
    /// By how much an episode raises the threshold, in surprisal.
    pub step: f64,
    /// How many episodes the purse holds, and so how many may follow one another at once; at least 1.
    pub burst: f64,
    /// Which share of the budget the threshold aims at on a quiet stream; the rest is there for what is real.
    /// At 1 the purse is often empty, and a fault waits until it is not.
    pub aim: f64,
    /// How far the threshold may go below what the budget alone says, in surprisal: for rows that crowd.
    pub below_max: f64,
    /// How much higher the threshold is, as a share of itself, when the purse holds one episode only: what
    /// follows an alarm closely must be more than a repetition.
    pub caution: f64,
    /// The surprisal above which the budget alone does not ask for more: what the data can know. A smaller
    /// budget is kept by the purse, and not by a threshold that nothing vouches for.
    pub surprisal_max: f64,
}

/// How far up the offset goes: what is a thousand times rarer than the budget asks for is always enough.
const ABOVE_MAX: f64 = 7.0;
/// A row longer after the one before it than this many times the mean is a gap, and says nothing of how
/// densely rows come.
const GAP: f64 = 10.0;
/// Of so many rows, about, the mean share of a row is made.
const SHARE_ROWS: f64 = 100.0;

impl Controller {
    /// One for `budget`, with settings for rows that are much like the ones before them.
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            rule: Rule::Budget,
            crowd: 1.0,
            surprisal_min: 1.0,
            step: 0.25,
            burst: 3.0,
            aim: 0.5,
            below_max: 1.5,
            caution: 0.5,
            surprisal_max: f64::INFINITY,
        }
    }

    /// The purse, the offset, and how densely rows come: for a budget of time the mean share of a row, and 0
    /// while it is not known; for one of rows the surprisal of it, which does not change.
    pub fn words(&self) -> usize {
        3
    }

    /// Writes the state of a device of which nothing was seen.
    pub fn begin(&self, state: &mut [Word]) {
        let density = match self.budget.per {
            Per::Rows(_) => self.surprisal_of(self.budget.share(None)),
            Per::Time(_) => 0.0,
        };
        doubles(state).copy_from_slice(&[self.burst, 0.0, density]);
    }

    /// The surprisal from which on a row counts, whether or not the purse allows an episode; caution is for
    /// what might begin, not for an alarm that `is_on`. Infinite as long as it is not known how densely rows
    /// come: where the budget is one of time, and no row said its time.
    pub fn threshold(&self, is_on: bool, state: &mut [Word]) -> f64 {
        let &mut [purse, offset, density] = doubles(state) else { return f64::INFINITY };
        let by_budget = match self.budget.per {
            Per::Rows(_) => density,
            Per::Time(_) if density > 0.0 => self.surprisal_of(density),
            Per::Time(_) => return f64::INFINITY,
        };
        if self.rule == Rule::Spot {
            return by_budget.max(self.surprisal_min);
        }
        let threshold = (by_budget.min(self.surprisal_max) + offset).max(self.surprisal_min);
        let spent =
            if is_on { 0.0 } else { ((self.burst - purse) / (self.burst - 1.0).max(1.0)).clamp(0.0, 1.0) };
        threshold * (1.0 + self.caution * spent)
    }

    fn surprisal_of(&self, share: f64) -> f64 {
        -(share * self.crowd.max(1.0)).ln()
    }

    /// Whether the purse allows an episode.
    pub fn allows(&self, state: &mut [Word]) -> bool {
        self.rule == Rule::Spot || doubles(state)[0] >= 1.0
    }

    /// Time passed that has this share of the budget, whether anything could begin in it or not.
    pub fn fill(&self, share: f64, state: &mut [Word]) {
        let [purse, _, mean] = doubles(state) else { return };
        *purse = (*purse + share).min(self.burst);
        if matches!(self.budget.per, Per::Time(_)) && share > 0.0 {
            *mean += if *mean > 0.0 { (share.min(GAP * *mean) - *mean) / SHARE_ROWS } else { share };
        }
    }

    /// A row was judged that had this share of the budget, and an episode began with it or not.
    pub fn judged(&self, share: f64, begins: bool, state: &mut [Word]) {
        let [purse, offset, _] = doubles(state) else { return };
        *offset = (*offset - self.step * self.aim * share.min(1.0)).max(-self.below_max);
        if begins {
            *purse = (*purse - 1.0).max(0.0);
            *offset = (*offset + self.step).min(ABOVE_MAX);
        }
    }
}

#[cfg(test)]
#[path = "controller/tests.rs"]
mod tests;
