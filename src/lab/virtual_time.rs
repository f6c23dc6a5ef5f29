//! An experiment on a simulated clock: an hour in seconds, and byte for byte the same with the same seed.
//!
//! ```text
//!  sensors (open loop) ──▶ uplink ──▶ queue ──▶ workers ──▶ downlink ──▶ record
//! ```
//! Networks decide as they do for a node. The queue is the node's: a lane for each device, served in turn, and a worker takes
//! whatever has come while it was busy. What a forward pass takes is not measured but said by a [`CostModel`], which whoever shows
//! figures from here has to state. Memory grows with devices and with what is under way, not with requests or with time.

mod cost;
mod lanes;
mod simulation;

use std::time::Duration;

pub use cost::CostModel;
pub use simulation::simulate;

use super::scenario::{Arrivals, Placement, Scenario, Source};
use crate::network::Profile;

/// What is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// Devices, in groups that ask equally often.
    pub groups: Vec<Group>,
    /// How a device's requests follow one another. Regular devices begin at times of their own.
    pub arrivals: Arrivals,
    /// How long requests are sent; what is under way then comes to its end.
    pub duration: Duration,
    /// What arrivals are drawn from: with the same seed they are the same on every network and with every model.
    pub seed: u64,
    /// The network between the devices and the model.
    pub network: Profile,
    /// The model and its queue.
    pub worker: WorkerModel,
    /// Topic and payload of a request, in bytes.
    pub request_bytes: usize,
    /// Topic and payload of an answer, in bytes.
    pub answer_bytes: usize,
}

/// Devices that ask equally often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// How many there are.
    pub devices: u32,
    /// Requests a second of each, above 0.
    pub rate_hz: f64,
}

/// The model's workers and what waits for them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorkerModel {
    /// What a forward pass takes.
    pub cost: CostModel,
    /// How many workers there are, at least 1.
    pub workers: usize,
    /// The most rows in one forward pass, at least 1.
    pub batch_max: usize,
    /// The most requests that wait; one that comes then is refused.
    pub queue_requests_max: usize,
}

/// What became of one request. Times are since the experiment began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its number, in the order of sending, from 0. A copy that the network made has that of its original.
    pub number: u64,
    /// Whether the network made it.
    pub is_copy: bool,
    /// Whose it is, counted through all groups from 0.
    pub device: u32,
    /// When it was sent.
    pub sent_at: Duration,
    /// When its answer arrived, or would have.
    pub ended_at: Duration,
    /// On the way to the model.
    pub uplink: Duration,
    /// Waiting for a worker.
    pub queue: Duration,
    /// The forward pass that it was part of.
    pub inference: Duration,
    /// On the way back.
    pub downlink: Duration,
    /// How it ended.
    pub end: End,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a result.
    Answered,
    /// With a refusal, because too many waited.
    Overloaded,
    /// Lost by the network, on either way.
    Lost,
}

/// What is known when all is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were sent.
    pub sent: u64,
    /// Copies that the network made.
    pub copies: u64,
    /// Requests and copies that ended in a result.
    pub answered: u64,
    /// Those that were refused.
    pub overloaded: u64,
    /// Those that were lost.
    pub lost: u64,
    /// Forward passes.
    pub batches: u64,
    /// Events that were simulated.
    pub events: u64,
    /// The most events that were still to come at one moment: what memory grows with.
    pub pending_max: usize,
}

impl Totals {
    /// Whether every request and copy is accounted for exactly once.
    pub fn is_conserved(&self) -> bool {
        self.sent + self.copies == self.answered + self.overloaded + self.lost
    }
}

impl Experiment {
    /// The experiment that a scenario describes, for one of its placements. Where the scenario has a load, every device has an
    /// equal share of it. Recorded sensors cannot be simulated without their files; those and the devices' names are left to
    /// the caller, which is told how many devices there are: `None` when a sensor is recorded and there is no load, or the
    /// placement is a hybrid, which is not simulated.
    pub fn of(scenario: &Scenario, placement: &Placement, worker: WorkerModel) -> Option<Self> {
        if placement.hybrid.is_some() {
            return None;
        }
        let devices: u32 = scenario.sensors.iter().map(|sensor| sensor.count).sum();
        let share_hz = scenario.load.map(|load| load.requests_per_s / f64::from(devices.max(1)));
        let groups = scenario.sensors.iter().map(|sensor| {
            let rate_hz = match (&sensor.source, share_hz) {
                (_, Some(share_hz)) => Some(share_hz),
                (Source::Bearing { rate_hz, .. }, None) => Some(*rate_hz),
                (Source::Recorded { .. }, None) => None,
            };
            rate_hz.map(|rate_hz| Group { devices: sensor.count, rate_hz })
        });
        Some(Self {
            groups: groups.collect::<Option<_>>()?,
            arrivals: scenario.load.map(|load| load.arrivals).unwrap_or_default(),
            duration: scenario.duration,
            seed: scenario.seed,
            network: placement.network.clone(),
            worker,
            request_bytes: REQUEST_BYTES,
            answer_bytes: ANSWER_BYTES,
        })
    }
}

/// A request of 32 features as the shipped sensors send it, topic included, rounded.
const REQUEST_BYTES: usize = 400;
/// A result with the six members of the contract, topic included, rounded.
const ANSWER_BYTES: usize = 220;

#[cfg(test)]
mod tests;
