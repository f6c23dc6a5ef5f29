//! What an experiment leaves behind: an observation for every input and placement,
//! and what is known of the run as a whole.
//!
//! Whoever runs experiments, by the clock or on a simulated one, produces this;
//! whoever computes figures or draws them starts here.

use std::sync::Arc;
use std::time::Duration;

use super::cost_model::CostModel;
use super::scenario::Scenario;
use crate::inference::Site;

/// The most observations of one experiment, so that they fit in memory: 3.2 GB, and
/// 7 GB in all while figures are made of them.
pub const OBSERVATIONS_MAX: usize = 20_000_000;

/// What became of one input at one placement.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The point of the sweeps, an index of [`Run::points`].
    pub point: u16,
    /// The repeat, from 0.
    pub repeat: u16,
    /// The placement, an index of [`Scenario::placements`].
    pub placement: u16,
    /// The device, an index of [`Run::devices`].
    pub device: u32,
    /// The input's number in its point and repeat, from 0. Observations of the same
    /// point, repeat and input are pairs.
    pub input: u32,
    /// When the request was due, since its repeat began, the warm-up included. Latency counts from here.
    pub due: Duration,
    /// How much later it was sent: the generator's own lateness.
    pub sent_late: Duration,
    /// From when it was due to when its answer, or word of its refusal or loss, had
    /// arrived. `None` when nothing ever came.
    pub total: Option<Duration>,
    /// How the request ended.
    pub end: End,
    /// Where its time went, as far as the answer said.
    pub stages: Stages,
    /// The score, where there is a result.
    pub prediction: Option<f32>,
    /// Whether the score is an anomaly at this placement's threshold.
    pub is_anomaly: Option<bool>,
    /// The truth, where the recording has labels.
    pub truth: Option<bool>,
    /// Topic and payload of the request.
    pub request_bytes: u32,
    /// Topic and payload of the answer; 0 without one.
    pub answer_bytes: u32,
    /// Where the result was made and why, for placements that choose; `made_by` is a name such as `edge`.
    pub choice: Option<Arc<Choice>>,
}

/// Where a placement that chooses had a result made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The site that made it, such as `edge` or `cloud`.
    pub made_by: String,
    /// Why it was that one, such as `deadline`.
    pub reason: String,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// With a result.
    Answered,
    /// With an error of the wire contract, such as `OVERLOADED` or `NETWORK_LOST`.
    Refused(&'static str),
    /// Without a word until the end of the experiment.
    Silent,
}

/// Where the time of one request went. What is not known is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages {
    /// The simulated network, to the model and back; decided, not measured.
    pub network: Duration,
    /// Waiting for the model.
    pub queue: Duration,
    /// The forward pass that it was part of.
    pub inference: Duration,
}

/// An experiment that was run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The scenario that was run.
    pub scenario: Scenario,
    /// Where the scenario came from, as it was spelled.
    pub source: String,
    /// The text of that file, so that the report can say how to repeat it.
    pub source_text: String,
    /// The clock that it ran on.
    pub clock: Clock,
    /// What each point of the sweeps set; one point with no settings without sweeps.
    pub points: Vec<Point>,
    /// The devices' ids.
    pub devices: Vec<Arc<str>>,
    /// All observations, the warm-up's included: by point, repeat, placement and input.
    pub observations: Vec<Observation>,
    /// What each placement used.
    pub usages: Vec<Usage>,
    /// What was different for a while.
    pub marks: Vec<Mark>,
    /// What of the recordings that were replayed does not mean what one may think, in sentences.
    pub remarks: Vec<String>,
    /// When it began, in microseconds since 1970; on a simulated clock 0.
    pub began_us: u64,
    /// The machine, in words, such as `2 cores, x86_64 Linux 6.1`; empty on a simulated clock.
    pub machine: String,
    /// The version of the program.
    pub version: String,
}

/// A clock for experiments.
#[derive(Debug, Clone, PartialEq)]
pub enum Clock {
    /// Everything was measured as it happened.
    Real,
    /// Time was simulated, and a forward pass took what the placement's cost model says,
    /// in the order of the placements.
    Virtual(Vec<BySite<Cost>>),
}

/// Something of each site of a placement.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BySite<T> {
    /// Of the only site, or of a hybrid's edge.
    pub edge: T,
    /// Of a hybrid's cloud.
    pub cloud: Option<T>,
}

impl<T> BySite<T> {
    /// That of a site, the cloud's only where there is one.
    pub fn of(&self, site: Site) -> Option<&T> {
        match site {
            Site::Edge => Some(&self.edge),
            Site::Cloud => self.cloud.as_ref(),
        }
    }

    /// What `make` makes of each site's.
    pub fn map<U>(self, mut make: impl FnMut(T) -> U) -> BySite<U> {
        BySite { edge: make(self.edge), cloud: self.cloud.map(make) }
    }
}

impl<T> IntoIterator for BySite<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::iter::Once<T>, std::option::IntoIter<T>>;

    /// What there is of the edge, then of the cloud.
    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.edge).chain(self.cloud)
    }
}

/// What a forward pass was said to take.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// What a pass takes by its rows.
    pub model: CostModel,
    /// How it came about, in words, such as `fitted to 200 passes of 1 to 128 rows on this machine`.
    pub basis: String,
}

/// A point of the sweeps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Point {
    /// Keys and their values, in the order of the file.
    pub settings: Vec<(String, f64)>,
}

/// What one placement used in one repeat.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// The point of the sweeps.
    pub point: u16,
    /// The number of the repeat, from 0.
    pub repeat: u16,
    /// The placement, by its place in the scenario.
    pub placement: u16,
    /// Processor time of the placement's own threads; `None` where it cannot be had.
    pub cpu: Option<Duration>,
}

/// A time in which something was different, such as an outage. A scenario's networks do not change otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// The point of the sweeps.
    pub point: u16,
    /// The number of the repeat, from 0.
    pub repeat: u16,
    /// The placement that it concerns, by its place in the scenario.
    pub placement: u16,
    /// When it began, since the repeat's beginning.
    pub from: Duration,
    /// When it ended: when it began, for a moment.
    pub until: Duration,
    /// What it was, such as `outage of the uplink`.
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_observations_as_there_may_be_take_what_is_said() {
        let bytes = OBSERVATIONS_MAX * size_of::<Observation>();
        assert!(bytes <= 3_200_000_000, "{bytes}");
    }
}
