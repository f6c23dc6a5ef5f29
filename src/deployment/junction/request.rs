//! What a request and its legs are in a node: tickets, and features beside them.

use std::time::{Duration, Instant};

use crate::deployment::in_flight_bytes::Held;
use crate::deployment::reply::Reply;
use crate::deployment::ticket::{Admitted, Answer, Ticket};
use crate::inference::{Authored, Decision, Outcome, Site, Stages, Urgency};
use crate::placement::{self, LegEnd, Score};

/// A request that waits for its legs.
pub struct Asked {
    pub ticket: Box<Ticket>,
    pub features: Vec<f32>,
}

/// What a leg has said.
pub struct Said {
    outcome: Outcome,
    network: Duration,
    stages: Stages,
}

/// How a leg has ended, as far as choosing depends on it, and what it has said.
pub fn said_by(leg: Answer) -> (LegEnd, Said) {
    let Answer { ticket, outcome } = leg;
    let Ticket { network, stages, .. } = *ticket;
    let end = match &outcome {
        Ok(Authored { prediction, by }) => {
            LegEnd::Answered(Score { value: prediction.score(), threshold: by.threshold })
        }
        Err(refusal) => LegEnd::of_error(refusal.code),
    };
    (end, Said { outcome, network, stages })
}

impl placement::Request for Asked {
    type Leg = Admitted;
    type Said = Said;
    type Answer = Answer;

    fn number(&self) -> u64 {
        self.ticket.sequence
    }

    fn deadline(&self) -> Option<Instant> {
        self.ticket.deadline
    }

    fn urgency(&self) -> Option<Urgency> {
        self.ticket.urgency
    }

    fn leg(&self, _: Site, deadline: Option<Instant>, now: Instant) -> Admitted {
        let ticket = &self.ticket;
        let leg = Ticket::new(ticket.caller.clone(), Reply::Nobody, now, deadline, ticket.sequence);
        // One leg may be under way for long after the other has brought the answer.
        let held = ticket.held.as_ref().map(Held::again);
        (Box::new(Ticket { bytes: ticket.bytes, held, ..leg }), Ok(self.features.clone()))
    }

    fn answer(self, said: Said, decision: Decision) -> Answer {
        let Said { outcome, network, stages } = said;
        let mut ticket = self.ticket;
        (ticket.network, ticket.stages, ticket.decision) = (network, stages, Some(decision));
        Answer { ticket, outcome }
    }
}
