//! Where requests go in: straight into the one flow of a deployment, or into a hybrid's junction.

use std::time::Duration;

use super::flow::Flow;
use super::junction::Junction;
use super::ticket::{Admitted, Answer, Ticket};
use crate::inference::PerSite;
use crate::ledger::Ledger;
use crate::worker::Guest;

/// The way in. It never waits: what does not fit the outbox is dropped and counted. Clones lead to the same
/// place; each thread has its own, with buffers.
#[derive(Clone)]
pub enum Entrance {
    /// Of a deployment with one site: straight into its flow.
    Flow(Box<Flow>),
    /// Of a hybrid: into its junction, with the flows to edge and cloud.
    Junction(Box<(Junction, PerSite<Flow>)>),
}

impl Entrance {
    /// The way in of a deployment that is no hybrid.
    pub fn of(flow: Flow) -> Self {
        Self::Flow(Box::new(flow.without_waiting()))
    }

    /// The way in of a hybrid, with its ways to edge and cloud.
    pub fn hybrid(junction: Junction, flows: PerSite<Flow>) -> Self {
        let PerSite { edge, cloud } = flows;
        let flows = PerSite { edge: edge.without_waiting(), cloud: cloud.without_waiting() };
        Self::Junction(Box::new((junction, flows)))
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        match self {
            Self::Flow(flow) => flow.ledger(),
            Self::Junction(hybrid) => hybrid.0.ledger(),
        }
    }

    /// The means to call the model on the thread that brings requests, where there is one site.
    pub fn guest(&self) -> Option<Guest<Box<Ticket>>> {
        match self {
            Self::Flow(flow) => Some(flow.workers().guest()),
            Self::Junction(_) => None,
        }
    }

    /// Admitted requests, in order of arrival. The `guest` calls the model on this thread where that is
    /// quicker.
    pub fn admit(&mut self, admitted: &mut Vec<Admitted>, guest: Option<&mut Guest<Box<Ticket>>>) {
        match self {
            Self::Flow(flow) => flow.admit(admitted, guest),
            Self::Junction(hybrid) => {
                let (junction, flows) = &mut **hybrid;
                let mut legs = junction.admit(admitted, Duration::ZERO);
                flows.iter_mut().for_each(|(site, flow)| flow.admit_legs(&mut legs[site]));
            }
        }
    }

    /// Answers what needs no model at once: what was answered before, and what may not even start.
    pub fn answer_at_once(&mut self, answers: &mut Vec<Answer>) {
        match self {
            Self::Flow(flow) => flow.answer_at_once(answers),
            Self::Junction(hybrid) => hybrid.0.outbox().send(answers, Duration::ZERO),
        }
    }
}
