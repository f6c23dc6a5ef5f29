//! The ledger of requests: what came, how each ended, how long it took.
//!
//! `received = answered + errors by code + in flight` holds at every moment, because
//! all of it changes under one lock.
//!
//! What a deployment has counted is read while it runs
//! ([`Deployment::statistics`](crate::deployment::Deployment::statistics)) and when its node has ended
//! ([`Node::stop`](crate::Node::stop)):
//! ```
//! use std::time::Duration;
//!
//! use nearfar::ledger::Durations;
//!
//! let mut durations = Durations::default();
//! (1..=100).for_each(|ms| durations.record_duration(Duration::from_millis(ms)));
//! let p99 = durations.quantile_duration(0.99).expect("there are some");
//! assert!((Duration::from_millis(95)..=Duration::from_millis(100)).contains(&p99), "{durations:?}");
//! assert_eq!(durations.quantile_duration(99.0), None, "a share, not per cent");
//! ```

mod histogram;
mod hybrid;

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

pub use self::histogram::{Bounds, Durations, Histogram, NANOSECONDS_PER_S, Sizes};
pub use self::hybrid::{HybridStatistics, Results};
use crate::inference::{Decision, ErrorCode};
use crate::sync::{lock, wait_timeout};

/// Counts of one deployment at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statistics {
    /// Requests that arrived, valid or not.
    pub received: u64,
    /// Requests that ended in a result.
    pub answered: u64,
    /// Requests that ended in an error, by the code's name on the wire; codes that never occurred are absent.
    pub errors: BTreeMap<&'static str, u64>,
    /// Requests that have not ended.
    pub in_flight: u64,
    /// Answers that could not be handed to the broker.
    pub undelivered: u64,
    /// Response topics that were refused; the request's result went to its ordinary topic only.
    pub response_topics_refused: u64,
    /// Answers that came on a request topic, the deployment's own or another's: they
    /// were dropped, and are counted as nothing else.
    pub answers_dropped: u64,
    /// QoS 1 and 2 requests that came again and were given the answer of the first time;
    /// they are received and answered too.
    pub repeated: u64,
    /// How often the simulated network was changed.
    pub network_changes: u64,
    /// Changes of the simulated network that were asked for on its topic and could not be made.
    pub network_changes_refused: u64,
    /// The sum of the forward passes that answered requests were part of.
    pub inference_time: Duration,
    /// How times and sizes are spread.
    pub spread: Spread,
    /// What a hybrid deployment counts beside that; `None` for any other.
    pub hybrid: Option<Box<HybridStatistics>>,
}

/// How times and sizes are spread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    /// How long answered requests waited for a worker.
    pub queue: Durations,
    /// What the simulated network decided for answered requests, both ways.
    pub network: Durations,
    /// From the arrival of answered requests to the result leaving.
    pub total: Durations,
    /// Forward passes.
    pub inference: Durations,
    /// Rows of each forward pass.
    pub batch: Sizes,
}

impl Statistics {
    /// Requests that ended in an error of this code.
    pub fn errors_of(&self, code: ErrorCode) -> u64 {
        self.errors.get(code.as_str()).copied().unwrap_or_default()
    }

    /// Errors of every code.
    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Whether every request is accounted for exactly once.
    pub fn is_conserved(&self) -> bool {
        self.received == self.answered + self.errors_total() + self.in_flight
    }

    /// The mean forward pass of an answered request; zero before the first.
    pub fn average_inference_time(&self) -> Duration {
        average(self.inference_time, self.answered)
    }

    /// The mean time from arrival to the result leaving; zero before the first.
    pub fn average_total_latency(&self) -> Duration {
        average(self.spread.total.sum_duration(), self.answered)
    }
}

fn average(sum: Duration, count: u64) -> Duration {
    if count == 0 {
        Duration::ZERO
    } else {
        Duration::from_nanos((sum.as_nanos() / u128::from(count)) as u64)
    }
}

/// One ended request, as the ledger sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ended {
    /// A result.
    Answered {
        /// Waiting for a worker.
        queue: Duration,
        /// The forward pass it was part of.
        inference: Duration,
        /// What the simulated network decided, both ways.
        network: Duration,
        /// From arrival to the result leaving.
        total: Duration,
        /// By which site of a hybrid, and why there.
        decision: Option<Decision>,
    },
    /// An error.
    Refused(ErrorCode),
}

/// Counts requests in and out.
#[derive(Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
    drained: Condvar,
}

#[derive(Default)]
struct State {
    counts: Counts,
    draining: bool,
}

#[derive(Default, Clone)]
struct Counts {
    received: u64,
    answered: u64,
    errors: [u64; ErrorCode::ALL.len()],
    in_flight: u64,
    undelivered: u64,
    response_topics_refused: u64,
    answers_dropped: u64,
    repeated: u64,
    network_changes: u64,
    network_changes_refused: u64,
    inference_time: Duration,
    spread: Spread,
    /// There from a hybrid's first result on.
    results: Option<Box<Results>>,
}

impl Ledger {
    /// Counts `requests` arrivals and returns how many were in flight before them. Each
    /// of them is in flight until [`end`](Self::end) counts its answer or its refusal.
    pub fn receive(&self, requests: usize) -> usize {
        let mut state = lock(&self.state);
        let before = state.counts.in_flight;
        state.counts.received += requests as u64;
        state.counts.in_flight += requests as u64;
        before as usize
    }

    /// Counts ended requests.
    pub fn end(&self, ended: impl IntoIterator<Item = Ended>) {
        let mut state = lock(&self.state);
        for request in ended {
            let counts = &mut state.counts;
            counts.in_flight -= 1;
            match request {
                Ended::Answered { queue, inference, network, total, decision } => {
                    if let Some(decision) = decision {
                        counts.results.get_or_insert_default().count(decision);
                    }
                    counts.answered += 1;
                    counts.inference_time += inference;
                    counts.spread.queue.record_duration(queue);
                    counts.spread.network.record_duration(network);
                    counts.spread.total.record_duration(total);
                }
                Ended::Refused(code) => counts.errors[code as usize] += 1,
            }
        }
        if state.draining && state.counts.in_flight == 0 {
            drop(state);
            self.drained.notify_all();
        }
    }

    /// Counts a forward pass over `rows` requests that took `inference`.
    pub fn batch(&self, rows: usize, inference: Duration) {
        let mut state = lock(&self.state);
        state.counts.spread.batch.record(rows as u64);
        state.counts.spread.inference.record_duration(inference);
    }

    /// Counts answers that could not be handed to the broker.
    pub fn undelivered(&self, answers: usize) {
        lock(&self.state).counts.undelivered += answers as u64;
    }

    /// Counts a refused response topic.
    pub fn response_topic_refused(&self) {
        lock(&self.state).counts.response_topics_refused += 1;
    }

    /// Counts answers that came on a request topic.
    pub fn answers_dropped(&self, answers: usize) {
        lock(&self.state).counts.answers_dropped += answers as u64;
    }

    /// Counts a request that came again.
    pub fn repeated(&self) {
        lock(&self.state).counts.repeated += 1;
    }

    /// Counts a change of the simulated network.
    pub fn network_changed(&self) {
        lock(&self.state).counts.network_changes += 1;
    }

    /// Counts a change of the simulated network that could not be made.
    pub fn network_change_refused(&self) {
        lock(&self.state).counts.network_changes_refused += 1;
    }

    /// Waits until nothing is in flight, or until `deadline`. Returns how many requests are left.
    pub fn wait_until_drained(&self, deadline: Instant) -> u64 {
        let mut state = lock(&self.state);
        state.draining = true;
        loop {
            let left = state.counts.in_flight;
            let wait = deadline.saturating_duration_since(Instant::now());
            if left == 0 || wait.is_zero() {
                return left;
            }
            state = wait_timeout(&self.drained, state, wait);
        }
    }

    /// All counts at one moment.
    pub fn statistics(&self) -> Statistics {
        let counts = lock(&self.state).counts.clone();
        let named = ErrorCode::ALL.into_iter().map(|code| (code.as_str(), counts.errors[code as usize]));
        Statistics {
            received: counts.received,
            answered: counts.answered,
            errors: named.filter(|(_, count)| *count > 0).collect(),
            in_flight: counts.in_flight,
            undelivered: counts.undelivered,
            response_topics_refused: counts.response_topics_refused,
            answers_dropped: counts.answers_dropped,
            repeated: counts.repeated,
            network_changes: counts.network_changes,
            network_changes_refused: counts.network_changes_refused,
            inference_time: counts.inference_time,
            spread: counts.spread,
            hybrid: counts.results.map(|results| {
                Box::new(HybridStatistics { results: *results, ..HybridStatistics::default() })
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_counted_once_at_every_step() {
        let ledger = Ledger::default();
        assert_eq!((ledger.receive(1), ledger.receive(2)), (0, 1));
        assert!(ledger.statistics().is_conserved());
        ledger.end([Ended::Refused(ErrorCode::Overloaded)]);
        assert!(ledger.statistics().is_conserved());
        let [queue, inference, network, total] = [1, 2, 3, 6].map(Duration::from_millis);
        let answered = Ended::Answered { queue, inference, network, total, decision: None };
        ledger.batch(2, inference);
        ledger.end([answered, answered]);
        let statistics = ledger.statistics();
        assert!(statistics.is_conserved());
        assert_eq!((statistics.answered, statistics.in_flight), (2, 0));
        assert_eq!(statistics.errors, BTreeMap::from([("OVERLOADED", 1)]));
        assert_eq!(
            (statistics.errors_of(ErrorCode::Overloaded), statistics.errors_of(ErrorCode::Internal)),
            (1, 0)
        );
        assert_eq!(statistics.average_total_latency(), Duration::from_millis(6));
        let spread = &statistics.spread;
        assert_eq!((spread.total.count(), spread.inference.count(), spread.batch.sum()), (2, 1, 2));
        assert_eq!(spread.network.sum_duration(), network * 2);
        assert_eq!(ledger.wait_until_drained(Instant::now()), 0);
    }
}
