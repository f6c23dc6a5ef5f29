//! What a placement used: bytes, processor time, and energy by a model.

use std::time::Duration;

use super::placement::Context;
use super::selection::Chosen;
use crate::inference::{Reason, Site};
use crate::lab::observation::{Choice, End, Observation};
use crate::lab::scenario::Placement;

/// What a placement used at one point, in all repeats, the warm-up included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consumption {
    /// Requests that were sent.
    pub requests: usize,
    /// Requests that were answered with a result.
    pub answered: usize,
    /// Topics and payloads of requests, without the headers of any protocol.
    pub request_bytes: u64,
    /// Topics and payloads of answers, without the headers of any protocol.
    pub answer_bytes: u64,
    /// Those of both that a simulated network carried; at a placement without a network
    /// none did. A hybrid's legs are reckoned from where and why each result was made:
    /// one that is not the result's counts as much as the one that is.
    pub network_bytes: u64,
    /// Processor time of the placement's own threads; nothing when it is not known of every repeat.
    pub cpu: Option<Duration>,
    /// Joules by the model for the network's bytes.
    pub network_energy_j: f64,
    /// Joules by the model for the processor time, where that is known.
    pub cpu_energy_j: Option<f64>,
}

impl Consumption {
    pub(crate) fn of(context: &Context<'_>, chosen: &Chosen<'_, '_>) -> Self {
        let placement = context.run.scenario.placements.get(context.placement);
        let (mut requests, mut answered, mut request_bytes, mut answer_bytes, mut network_bytes) =
            (0, 0, 0, 0, 0);
        for observation in chosen.all() {
            requests += 1;
            answered += usize::from(observation.end == End::Answered);
            request_bytes += u64::from(observation.request_bytes);
            answer_bytes += u64::from(observation.answer_bytes);
            network_bytes += placement.map_or(0, |placement| carried(placement, observation));
        }
        let energy = context.options.energy;
        let cpu = cpu(context, chosen);
        Self {
            requests,
            answered,
            request_bytes,
            answer_bytes,
            network_bytes,
            cpu,
            network_energy_j: energy.joules(Duration::ZERO, network_bytes),
            cpu_energy_j: cpu.map(|cpu| energy.joules(cpu, 0)),
        }
    }

    /// Joules by the model, the processor's left out where its time is not known.
    pub fn energy_j(&self) -> f64 {
        self.network_energy_j + self.cpu_energy_j.unwrap_or_default()
    }
}

/// What simulated networks carried of one request and its answer.
fn carried(placement: &Placement, observation: &Observation) -> u64 {
    let (request, answer) = (u64::from(observation.request_bytes), u64::from(observation.answer_bytes));
    let is_far = !placement.network.is_instant();
    let Some(hybrid) = &placement.hybrid else { return if is_far { request + answer } else { 0 } };
    let is_cloud_far = !hybrid.network.is_instant();
    let Some(choice) = observation.choice.as_deref() else {
        // Nobody says which site an error is of, nor where a request was lost.
        return if is_far || is_cloud_far { request + answer } else { 0 };
    };
    let [at_edge, at_cloud] = legs(choice);
    at_edge.bytes(is_far, request, answer) + at_cloud.bytes(is_cloud_far, request, answer)
}

/// What is known of a site's part in a result.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Leg {
    /// It was not asked.
    None,
    /// It was asked; whether it ever answered is not known.
    Asked,
    /// It was asked and answered.
    Answered,
}

impl Leg {
    fn bytes(self, is_far: bool, request: u64, answer: u64) -> u64 {
        match self {
            Self::Asked if is_far => request,
            Self::Answered if is_far => request + answer,
            _ => 0,
        }
    }
}

/// The parts of edge and cloud in a result that was made so.
fn legs(choice: &Choice) -> [Leg; 2] {
    let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == choice.reason);
    if choice.made_by == Site::Cloud.as_str() {
        let edge = match reason {
            // It had a score already, or is the slower one of both.
            Some(Reason::Escalated | Reason::Hedge) => Leg::Answered,
            _ => Leg::None,
        };
        return [edge, Leg::Answered];
    }
    let cloud = match reason {
        // A copy that is answered too, the slower one of both, or an error of about that size.
        Some(Reason::Probe | Reason::Shadow | Reason::Hedge | Reason::CloudRefused) => Leg::Answered,
        Some(Reason::CloudSilent) => Leg::Asked,
        _ => Leg::None,
    };
    [Leg::Answered, cloud]
}

/// The sum of all repeats that left observations.
fn cpu(context: &Context<'_>, chosen: &Chosen<'_, '_>) -> Option<Duration> {
    if chosen.repeats.is_empty() {
        return None;
    }
    let of = |repeat: u16| {
        let mut usages = context.run.usages.iter().filter(|usage| {
            let at = (usize::from(usage.point), usage.repeat, usize::from(usage.placement));
            at == (context.point, repeat, context.placement)
        });
        usages.next()?.cpu
    };
    chosen.repeats.iter().map(|repeat| of(repeat.number)).sum()
}
