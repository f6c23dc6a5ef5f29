//! What a placement used: bytes, processor time, and energy by a model.

use std::time::Duration;

use super::placement::Context;
use super::selection::Chosen;
use crate::lab::observation::{End, Observation};

/// What a placement used at one point, in all repeats, the warm-up included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consumption {
    /// Requests that were sent.
    pub requests: usize,
    /// Those with a result.
    pub answered: usize,
    /// Topics and payloads of requests, without the headers of any protocol.
    pub request_bytes: u64,
    /// The same of answers.
    pub answer_bytes: u64,
    /// Those of both that a simulated network carried. At a placement without a network none did; at one that chooses, those whose
    /// request spent time on the network, or had no result.
    pub network_bytes: u64,
    /// Processor time of the placement's own threads; nothing when it is not known of every repeat.
    pub cpu: Option<Duration>,
    /// Joules by the model for the network's bytes.
    pub network_energy_j: f64,
    /// Joules by the model for the processor time, where that is known.
    pub cpu_energy_j: Option<f64>,
}

impl Consumption {
    pub(super) fn of(context: &Context<'_>, chosen: &Chosen<'_, '_>) -> Self {
        let placement = context.run.scenario.placements.get(context.placement);
        let is_near = placement.is_none_or(|placement| placement.network.is_instant());
        let (mut requests, mut answered, mut request_bytes, mut answer_bytes, mut network_bytes) =
            (0, 0, 0, 0, 0);
        for observation in chosen.all() {
            requests += 1;
            answered += usize::from(observation.end == End::Answered);
            request_bytes += u64::from(observation.request_bytes);
            answer_bytes += u64::from(observation.answer_bytes);
            if !is_near && crosses(observation) {
                network_bytes += u64::from(observation.request_bytes) + u64::from(observation.answer_bytes);
            }
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

/// Whether a request went over the placement's network, as far as one can tell.
fn crosses(observation: &Observation) -> bool {
    observation.choice.is_none() || !observation.stages.network.is_zero() || observation.end != End::Answered
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
