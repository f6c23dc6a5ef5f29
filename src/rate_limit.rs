//! Keeps repeated warnings from flooding the log.

use std::time::{Duration, Instant};

/// Lets one event through in each interval.
pub(crate) struct RateLimit {
    every: Duration,
    last: Option<Instant>,
}

impl RateLimit {
    pub fn new(every: Duration) -> Self {
        Self { every, last: None }
    }

    /// Whether it is time for another.
    pub fn is_due(&mut self) -> bool {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= self.every);
        if is_due {
            self.last = Some(Instant::now());
        }
        is_due
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
}
