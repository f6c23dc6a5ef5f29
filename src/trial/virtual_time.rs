//! Discrete-event simulation: an experiment on a simulated clock, an hour in seconds, and byte for byte the
//! same with the same seed.
//!
//! ```text
//!  sensors (open loop) ──▶ uplink ──▶ queue ──▶ workers ──▶ downlink ──▶ record
//!
//!                                  ┌──▶ edge: uplink to downlink ───┐
//!  a hybrid's: sensors ──▶ meeting ┤                                ├──▶ meeting ──▶ record
//!                                  └──▶ cloud: uplink to downlink ──┘
//! ```
//! Networks decide as they do for a node. The queue is the node's own: a lane for each
//! device, served in turn, with the same shares of its room and the same policies, and a
//! worker takes whatever has come while it was busy. What a forward pass takes is not
//! measured but said by a [`CostModel`], which whoever shows figures from here has to state.
//! Memory grows with devices and with what is under way, not with requests or with time.

mod path;
mod simulation;

use std::time::Duration;

pub use self::path::Path;
pub use self::simulation::simulate;
pub use crate::lab::CostModel;

use crate::inference::Decision;
use crate::lab::experiment::{Fleet, Group};
use crate::lab::scenario::{Arrivals, HybridPlacement, Placement, Scenario};
use crate::network::{Lost, Profile};
use crate::placement;
use crate::worker::{self, QueuePolicy};

/// An experiment on a simulated clock: devices, networks, models, and how long it lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// Devices, in groups that ask at the same pace.
    pub groups: Vec<Group>,
    /// How a device's requests follow one another. Regular devices begin at times of their own.
    pub arrivals: Arrivals,
    /// How long requests are sent; what is under way then comes to its end.
    pub duration: Duration,
    /// What arrivals are drawn from: with the same seed they are the same on every
    /// network and with every model.
    pub seed: u64,
    /// The network between the devices and the model; of a hybrid, and so in the two below, the edge's.
    pub network: Profile,
    /// The model and its queue.
    pub worker: WorkerModel,
    /// What else takes time on the way.
    pub path: Path,
    /// The cloud of a hybrid, and how it chooses; none at one site.
    pub hybrid: Option<Hybrid>,
    /// Topic and payload of a request, in bytes.
    pub request_bytes: usize,
    /// Topic and payload of an answer, in bytes.
    pub answer_bytes: usize,
}

/// What makes an experiment one of a hybrid: a second site, and who answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Hybrid {
    /// The network between the devices and the cloud.
    pub network: Profile,
    /// The cloud's model and its queue.
    pub worker: WorkerModel,
    /// What else takes time on the way of what the cloud answers. It is added to a
    /// request's time, and no part of what the hybrid knows of the cloud's.
    pub path: Path,
    /// How the hybrid chooses between edge and cloud.
    pub placement: placement::Config,
    /// The thresholds of edge and cloud.
    pub thresholds: [f32; 2],
    /// How long every request has until it is too late to start.
    pub deadline: Option<Duration>,
    /// Copies are sent to the cloud, only to learn from it, while fewer requests than this are held.
    pub in_flight_max: usize,
}

impl Hybrid {
    /// The cloud of a scenario's placement, with the thresholds of edge and cloud, and
    /// nothing else on the way.
    pub fn of(
        cloud: &HybridPlacement,
        worker: WorkerModel,
        thresholds: [f32; 2],
        deadline: Option<Duration>,
    ) -> Self {
        Self {
            network: cloud.network.clone(),
            worker,
            path: Path::default(),
            placement: cloud.placement,
            thresholds,
            deadline,
            in_flight_max: IN_FLIGHT_MAX,
        }
    }
}

/// How many requests a node holds by default.
const IN_FLIGHT_MAX: usize = 65_536;

/// The model's workers and what waits for them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorkerModel {
    /// What a forward pass takes.
    pub cost: CostModel,
    /// How many workers there are, at least 1.
    pub workers: usize,
    /// The most rows in one forward pass, at least 1.
    pub batch_max: usize,
    /// The most requests that wait.
    pub queue_requests_max: usize,
    /// Who gives way when so many wait.
    pub queue_policy: QueuePolicy,
}

impl WorkerModel {
    /// One worker as a node has it by default, whose forward passes take what `cost` says.
    pub fn like_a_node(cost: CostModel) -> Self {
        let worker::WorkerConfig { queue_requests_max, queue_policy, batch_max, .. } =
            worker::WorkerConfig::default();
        Self { cost, workers: 1, batch_max, queue_requests_max, queue_policy }
    }
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
    /// On the way to the model; of a hybrid, here and below, of the leg whose answer it
    /// is. What was tried before is in no part.
    pub uplink: Duration,
    /// Waiting for a worker.
    pub queue: Duration,
    /// The forward pass that it was part of.
    pub inference: Duration,
    /// On the way back.
    pub downlink: Duration,
    /// What else took time on both ways, together.
    pub path: Duration,
    /// How the request ended.
    pub end: End,
    /// Which site of a hybrid has answered or refused it, and why that.
    pub made: Option<Decision>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a result.
    Answered,
    /// With a refusal, because too many waited.
    Overloaded,
    /// With a refusal, because a newer request of its device took its place.
    Superseded,
    /// With a refusal, because its deadline passed before a worker began with it.
    Expired,
    /// With a refusal, because what the model says is no number.
    NonFinite,
    /// Lost by the network, on either way; and whether the requester hears of it.
    Lost(Lost),
}

/// What is known when all is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were sent.
    pub sent: u64,
    /// Copies that the network made; those of a hybrid's legs are no requests, and not among them.
    pub copies: u64,
    /// Requests and copies that ended in a result.
    pub answered: u64,
    /// Those that were refused.
    pub overloaded: u64,
    /// Those whose place a newer one took.
    pub superseded: u64,
    /// Those whose deadline passed.
    pub expired: u64,
    /// Those to which the model said no number.
    pub non_finite: u64,
    /// Those that were lost.
    pub lost: u64,
    /// Forward passes, at all sites together.
    pub batches: u64,
    /// Events that were simulated.
    pub events: u64,
    /// The most events that were still to come at one moment: what memory grows with.
    pub pending_max: usize,
}

impl Totals {
    /// Whether every request and copy is accounted for exactly once.
    pub fn is_conserved(&self) -> bool {
        let refused = self.overloaded + self.superseded + self.expired + self.non_finite;
        self.sent + self.copies == self.answered + refused + self.lost
    }
}

impl Experiment {
    /// The experiment that a scenario describes, for one of its placements and the
    /// devices of its `fleet`; of a hybrid, for the edge alone.
    pub fn of(scenario: &Scenario, fleet: &Fleet, placement: &Placement, worker: WorkerModel) -> Self {
        Self {
            groups: fleet.groups.clone(),
            arrivals: fleet.arrivals,
            duration: scenario.duration,
            seed: scenario.seed,
            network: placement.network.clone(),
            worker,
            path: Path::default(),
            hybrid: None,
            request_bytes: REQUEST_BYTES,
            answer_bytes: ANSWER_BYTES,
        }
    }

    /// An experiment with a cloud beside its edge.
    pub fn with_cloud(self, hybrid: Hybrid) -> Self {
        Self { answer_bytes: self.answer_bytes + CHOICE_BYTES, hybrid: Some(hybrid), ..self }
    }
}

/// A request of 32 features as the shipped sensors send it, topic included, rounded.
const REQUEST_BYTES: usize = 400;
/// A result with the six members of the contract, its request's id and its stages, topic included, rounded.
const ANSWER_BYTES: usize = 300;
/// What a result is longer by where it says which site made it and why, rounded.
const CHOICE_BYTES: usize = 40;

#[cfg(test)]
mod tests;
