//! When rows that count become an alarm, and when it is over: one alarm an episode.

use std::time::Duration;

use serde::Serialize;

use super::block::Word;

/// How long something lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// In rows of the device.
    Rows(u32),
    /// By the device's own clock, which stands still for rows that do not say their time.
    Time(Duration),
}

/// So many of the last rows must count, and an alarm ends after quiet ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EpisodeRule {
    /// How many of the last `of` rows must count.
    pub needs: u32,
    /// Out of how many; at most 32.
    pub of: u32,
    /// From 0 to 1: in an alarm, a row is quiet only below this share of the threshold, so that a score which
    /// wavers about the threshold is one alarm and not many.
    pub hysteresis: f64,
    /// How long all rows must be quiet until an alarm is over.
    pub clear_after: Span,
    /// How long after an alarm is over the next may begin, at the earliest.
    pub silence: Span,
}

/// What an episode makes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// Whether an alarm is on, with this row.
    pub is_on: bool,
    /// Whether it began with it.
    pub begins: bool,
}

const IS_ON: u64 = 1 << 32;
const HAD_ONE: u64 = 1 << 33;

impl EpisodeRule {
    /// One that takes `needs` of the last `of` rows, with what suits most data for the rest.
    pub fn new(needs: u32, of: u32) -> Self {
        Self { needs, of, hysteresis: 0.7, clear_after: Span::Rows(10), silence: Span::Rows(10) }
    }

    /// The one word has which of the last rows counted and the flags, the other how long it has been quiet.
    pub fn words(&self) -> usize {
        2
    }

    /// Whether an alarm is on before the next row is seen.
    pub fn is_on(&self, state: &[Word]) -> bool {
        state[0] & IS_ON != 0
    }

    /// Takes a row of this `surprisal`, `elapsed` after the one before it; where none `may_begin`, an alarm
    /// that is on goes on.
    pub fn see(
        &self,
        surprisal: f64,
        threshold: f64,
        elapsed: Option<Duration>,
        may_begin: bool,
        state: &mut [Word],
    ) -> Course {
        let was_on = self.is_on(state);
        let counts = surprisal >= threshold;
        let mask = u64::from(u32::MAX >> (32 - self.of.clamp(1, 32)));
        let mut last = (state[0] << 1 | u64::from(counts)) & mask;
        let mut flags = state[0] & (IS_ON | HAD_ONE);
        let is_quiet = !counts && surprisal < self.hysteresis * threshold;
        let span = if was_on { self.clear_after } else { self.silence };
        let mut since = if was_on && !is_quiet { 0 } else { state[1].saturating_add(span.unit(elapsed)) };
        let mut begins = false;
        if was_on {
            if is_quiet && since >= span.units() {
                (flags, since, last) = (flags & !IS_ON, 0, 0);
            }
        } else if may_begin && last.count_ones() >= self.needs.max(1) {
            begins = flags & HAD_ONE == 0 || since >= span.units();
            if begins {
                (flags, since) = (IS_ON | HAD_ONE, 0);
            }
        }
        (state[0], state[1]) = (last | flags, since);
        Course { is_on: flags & IS_ON != 0, begins }
    }
}

impl Span {
    /// How many of its units it has: rows, or microseconds.
    fn units(self) -> u64 {
        match self {
            Self::Rows(rows) => u64::from(rows),
            Self::Time(time) => u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// How many of them a row has that is `elapsed` after the one before it.
    fn unit(self, elapsed: Option<Duration>) -> u64 {
        match self {
            Self::Rows(_) => 1,
            Self::Time(_) => {
                elapsed.map_or(0, |elapsed| u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
            }
        }
    }
}

#[cfg(test)]
#[path = "episode/tests.rs"]
mod tests;
