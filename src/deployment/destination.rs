//! Where the answers of a way go: out, or to where a hybrid's two sites meet.

use std::time::Duration;

use super::junction::Junction;
use super::outbox::Outbox;
use super::ticket::{Answer, Ticket};
use crate::inference::Site;
use crate::ledger::Ledger;

/// Where the answers of a way go. Clones go to the same place; each thread has its own, with buffers.
#[derive(Clone)]
pub enum Destination {
    /// Every answer is published.
    Outbox(Outbox),
    /// It is a hybrid's way to one site and back: its answers are legs of requests.
    Junction(Box<Junction>, Site),
}

impl Destination {
    /// Where the answers of the way to `site` go: to the junction, if ways meet, or out.
    pub fn of(site: Site, junction: Option<&Junction>, outbox: &Outbox) -> Self {
        match junction {
            Some(junction) => Self::Junction(Box::new(junction.clone()), site),
            None => Self::Outbox(outbox.clone()),
        }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        match self {
            Self::Outbox(outbox) => outbox.ledger(),
            Self::Junction(junction, _) => junction.ledger(),
        }
    }

    /// Takes every answer, waiting at most `wait` for room towards the broker.
    pub fn send(&mut self, answers: &mut Vec<Answer>, wait: Duration) {
        match self {
            Self::Outbox(outbox) => outbox.send(answers, wait),
            Self::Junction(junction, site) => junction.legs_ended(*site, answers, wait),
        }
    }

    /// Whether so many answers would be published now without waiting.
    pub fn has_room_for(&self, answers: usize) -> bool {
        match self {
            Self::Outbox(outbox) => outbox.has_room_for(answers),
            Self::Junction(..) => false,
        }
    }

    /// Ends requests of which the simulated network has lost every trace.
    pub fn lose(&mut self, lost: Vec<Box<Ticket>>) {
        match self {
            Self::Outbox(outbox) => outbox.lose(lost),
            Self::Junction(junction, site) => junction.legs_lost(*site, &lost),
        }
    }

    /// How many bytes of topic and payload the answer would have if it left now.
    pub fn bytes_of(&mut self, answer: &Answer) -> usize {
        match self {
            Self::Outbox(outbox) => outbox.bytes_of(answer),
            Self::Junction(junction, _) => junction.outbox().bytes_of(answer),
        }
    }

    /// Counts a copy that the simulated network has made: a request of its own, unless it is a leg's.
    pub fn count_copy(&self) {
        match self {
            Self::Outbox(outbox) => {
                outbox.ledger().receive(1);
            }
            Self::Junction(junction, site) => junction.leg_copied(*site),
        }
    }
}
