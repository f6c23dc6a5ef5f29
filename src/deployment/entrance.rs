//! Where the intake's requests go in: straight into the one flow of a deployment, or
//! into a hybrid's junction.

use std::time::Duration;

use super::flow::{Flow, Ticket};
use super::junction::Junction;
use super::outbox::Answer;
use crate::inference::Refusal;
use crate::ledger::Ledger;
use crate::worker::Guest;

/// The intake thread's way in. It never waits: what does not fit the outbox is dropped and counted.
pub enum Entrance {
    /// One site, and the means to call its model on this thread where that is quicker.
    Flow(Box<Flow>, Option<Guest<Box<Ticket>>>),
    /// Edge and cloud.
    Junction(Box<Junction>, Box<[Flow; 2]>),
}

impl Entrance {
    /// The way in of a deployment that is no hybrid.
    pub fn of(flow: Flow) -> Self {
        let guest = flow.workers().guest();
        Self::Flow(Box::new(flow.without_waiting()), guest)
    }

    /// The way in of a hybrid, with its ways to edge and cloud.
    pub fn hybrid(junction: Junction, flows: [Flow; 2]) -> Self {
        Self::Junction(Box::new(junction), Box::new(flows.map(Flow::without_waiting)))
    }

    pub fn ledger(&self) -> &Ledger {
        match self {
            Self::Flow(flow, _) => flow.ledger(),
            Self::Junction(junction, _) => junction.ledger(),
        }
    }

    /// Admitted requests, in order of arrival.
    pub fn admit(&mut self, admitted: &mut Vec<(Box<Ticket>, Result<Vec<f32>, Refusal>)>) {
        match self {
            Self::Flow(flow, guest) => flow.admit(admitted, guest.as_mut()),
            Self::Junction(junction, flows) => junction.admit(admitted, flows, Duration::ZERO),
        }
    }

    /// Answers again what was answered before, at once.
    pub fn repeat(&mut self, repeated: &mut Vec<Answer>) {
        match self {
            Self::Flow(flow, _) => flow.repeat(repeated),
            Self::Junction(junction, _) => junction.outbox().send(repeated, Duration::ZERO),
        }
    }

    /// Refuses what may not even start, at once.
    pub fn refuse(&mut self, refused: Vec<(Box<Ticket>, Refusal)>) {
        match self {
            Self::Flow(flow, _) => flow.refuse(refused),
            Self::Junction(junction, _) => {
                let refused = refused.into_iter().map(|(ticket, refusal)| Answer::refused(ticket, refusal));
                junction.outbox().send(&mut refused.collect(), Duration::ZERO);
            }
        }
    }
}
