//! Keeps repeated warnings from flooding the log.

use std::time::{Duration, Instant};

/// How often a warning of a kind is worth a line: seldom enough to read, often enough to be seen.
pub(crate) const WARN_EVERY: Duration = Duration::from_secs(10);

/// Lets some events through in each interval, and counts those that it holds back.
pub(crate) struct RateLimit {
    every: Duration,
    at_once: u32,
    began: Option<Instant>,
    passed: u32,
    held_back: u64,
}

impl RateLimit {
    /// Lets one event through in each interval.
    pub fn new(every: Duration) -> Self {
        Self::bursts(every, 1)
    }

    /// Lets `at_once` events through in each interval: the first of several that come
    /// together are of interest each.
    pub fn bursts(every: Duration, at_once: u32) -> Self {
        Self { every, at_once, began: None, passed: 0, held_back: 0 }
    }

    /// Whether it is time for another.
    pub fn is_due(&mut self) -> bool {
        self.pass().is_some()
    }

    /// If it is time for another: how many were held back since the last one.
    pub fn pass(&mut self) -> Option<u64> {
        if self.began.is_none_or(|began| began.elapsed() >= self.every) {
            self.began = Some(Instant::now());
            self.passed = 0;
        }
        if self.passed == self.at_once {
            self.held_back += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_passes() {
        let mut limit = RateLimit::new(Duration::MAX);
        assert_eq!((0..1_000).filter(|_| limit.is_due()).count(), 1);
    }

    #[test]
    fn the_first_few_pass_and_the_next_one_says_how_many_did_not() {
        let mut limit = RateLimit::bursts(Duration::MAX, 3);
        let passed: Vec<_> = (0..10).filter_map(|_| limit.pass()).collect();
        assert_eq!(passed, [0, 0, 0]);
        limit.every = Duration::ZERO;
        assert_eq!(limit.pass(), Some(7));
        assert_eq!(limit.pass(), Some(0));
    }
}
