//! What the cloud has done lately: a bounded sliding window of its answer times, and their 95th percentile.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The cloud's last answers, no older than a window and no more than a bound. One
/// that did not come counts as later than any deadline.
#[derive(Debug)]
pub struct Recent {
    window: Duration,
    answers_max: usize,
    /// The oldest first.
    answers: VecDeque<(Instant, Duration)>,
    /// The times of `answers`, the shortest first.
    sorted: Vec<Duration>,
}

impl Recent {
    /// A window without answers yet.
    pub fn new(window: Duration, answers_max: usize) -> Self {
        Self { window, answers_max: answers_max.max(1), answers: VecDeque::new(), sorted: Vec::new() }
    }

    /// Notes an answer at `now` that took `took`; `None` for one that did not come.
    pub fn add(&mut self, now: Instant, took: Option<Duration>) {
        // To leave out what did not come (censored, a statistician would say) would flatter the cloud when it
        // is at its worst.
        let took = took.unwrap_or(Duration::MAX);
        self.answers.push_back((now, took));
        let at = self.sorted.partition_point(|known| *known <= took);
        self.sorted.insert(at, took);
        self.forget(now);
    }

    /// How many answers are recent at `now`.
    pub fn len(&mut self, now: Instant) -> usize {
        self.forget(now);
        self.answers.len()
    }

    /// The 95th percentile at `now`, nearest rank: no more than one answer in twenty took longer.
    /// [`Duration::MAX`] when more than one in twenty did not come; `None` without answers.
    pub fn p95(&mut self, now: Instant) -> Option<Duration> {
        self.forget(now);
        // The nearest rank, not a value between two: the next one may be a silence, and between a time and
        // never there is nothing.
        let rank = (self.sorted.len() * 95).div_ceil(100);
        self.sorted.get(rank.checked_sub(1)?).copied()
    }

    fn forget(&mut self, now: Instant) {
        while let Some(&(at, took)) = self.answers.front() {
            let is_old = now.saturating_duration_since(at) > self.window;
            if !is_old && self.answers.len() <= self.answers_max {
                return;
            }
            self.answers.pop_front();
            let at = self.sorted.partition_point(|known| *known < took);
            self.sorted.remove(at);
        }
    }
}
