//! What no deployment can be: a topic that is none, a queue without room, a time in which nothing can be
//! done. Found when a node is made, for it would start, and answer nobody.

use std::time::Duration;

use super::config::{Config, Hybrid, Topics};
use super::error::DeploymentError;
use crate::mqtt;
use crate::worker;

/// What is wrong with a member of a configuration, if something is.
type Found = (&'static str, Option<String>);

impl Config {
    /// Refuses what no deployment can be.
    ///
    /// # Errors
    /// [`DeploymentError::Setting`] for the first such thing.
    pub fn check(&self) -> Result<(), DeploymentError> {
        let found = self.own().into_iter().chain(self.hybrid.iter().flat_map(|hybrid| cloud(hybrid)));
        match found.into_iter().find_map(|(key, problem)| Some((key, problem?))) {
            Some((key, problem)) => Err(DeploymentError::Setting { name: self.name.clone(), key, problem }),
            None => Ok(()),
        }
    }

    fn own(&self) -> Vec<Found> {
        let Topics { request, result, error } = &self.topics;
        let mut found = vec![
            ("name", name(&self.name)),
            ("topics.request", filters(request)),
            ("topics.result", topic(result)),
            ("topics.error", topic(error)),
            ("wire.payload_bytes_max", at_least_one(self.wire.payload_bytes_max)),
            ("in_flight_max", at_least_one(self.in_flight_max)),
            ("in_flight_bytes_max", at_least_one(self.in_flight_bytes_max)),
            ("deadline", self.deadline.and_then(some_time)),
        ];
        let keys = [
            "worker.queue_requests_max",
            "worker.queue_bytes_max",
            "worker.batch_max",
            "worker.inference_timeout",
        ];
        found.extend(bounds(keys, &self.worker));
        found
    }
}

/// The cloud of a hybrid.
fn cloud(hybrid: &Hybrid) -> Vec<Found> {
    let keys = [
        "hybrid.worker.queue_requests_max",
        "hybrid.worker.queue_bytes_max",
        "hybrid.worker.batch_max",
        "hybrid.worker.inference_timeout",
    ];
    let placement = &hybrid.placement;
    let mut found = bounds(keys, &hybrid.worker).to_vec();
    found.extend([
        ("hybrid.placement.cloud_timeout", some_time(placement.cloud_timeout)),
        ("hybrid.placement.recent_answers_max", at_least_one(placement.recent_answers_max)),
        ("hybrid.placement.breaker.failures_max", at_least_one(placement.breaker.failures_max as usize)),
    ]);
    found
}

fn bounds(keys: [&'static str; 4], worker: &worker::WorkerConfig) -> [Found; 4] {
    let [requests, bytes, batch, timeout] = keys;
    [
        (requests, at_least_one(worker.queue_requests_max)),
        (bytes, at_least_one(worker.queue_bytes_max)),
        (batch, at_least_one(worker.batch_max)),
        (timeout, worker.inference_timeout.and_then(some_time)),
    ]
}

fn name(name: &str) -> Option<String> {
    (!mqtt::is_topic_name(name) || name.contains('/'))
        .then(|| format!("found {name:?}, expected one topic level without '/', '+' and '#'"))
}

fn topic(topic: &str) -> Option<String> {
    (!mqtt::is_topic_name(topic)).then(|| format!("found {topic:?}, expected a topic without '+' and '#'"))
}

fn filters(filters: &[String]) -> Option<String> {
    if filters.is_empty() {
        return Some("found none, expected at least one topic filter".to_owned());
    }
    filters.iter().find_map(|filter| {
        let expected = format!("found {filter:?}, expected a topic filter that does not start with '$'");
        match mqtt::why_no_filter(filter) {
            Some(hint) => Some(format!("{expected}: {hint}")),
            None => filter.starts_with('$').then_some(expected),
        }
    })
}

fn at_least_one(number: usize) -> Option<String> {
    (number == 0).then(|| "found 0, expected at least 1".to_owned())
}

fn some_time(time: Duration) -> Option<String> {
    time.is_zero().then(|| "found no time at all, expected more".to_owned())
}
