//! The way through a simulated network that is more than a constant latency:
//! messages may be lost, and may arrive twice.
//!
//! A copy that the network makes is a request of its own from there on, counted as
//! received and ended like any other: the ledger says what the far end saw.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use super::{Flow, Parcel, going_up};
use crate::deployment::ticket::{Admitted, Answer, Ticket};
use crate::inference::{Caller, ErrorCode, Refusal};
use crate::network::{Direction, Letter, Link, Lost, Shape, Verdict};

/// A simulated link in use, and when that began.
pub struct Crossing {
    link: Link,
    began: Instant,
}

impl Crossing {
    pub fn new(shape: &Arc<Shape>) -> Self {
        Self { link: Link::new(Arc::clone(shape)), began: Instant::now() }
    }

    /// A crossing from `began` on, on a link that follows another.
    pub fn following(link: Link, began: Instant) -> Self {
        Self { link, began }
    }

    fn decide(&self, direction: Direction, ticket: &Ticket, bytes: usize, sent_at: Instant) -> Verdict {
        let party = party(&ticket.caller);
        let at = sent_at.saturating_duration_since(self.began);
        self.link.decide(direction, Letter { number: ticket.sequence, party, bytes, at })
    }
}

impl Flow {
    /// Admitted requests onto the uplink.
    pub fn send_up(&mut self, crossing: &Crossing, admitted: &mut Vec<Admitted>) {
        let (mut parcels, mut vanished) = (Vec::with_capacity(admitted.len()), Vec::new());
        for (mut ticket, request) in admitted.drain(..) {
            // What came just before the network was exchanged meets the new one as it begins.
            let sent_at = ticket.arrived_at.max(crossing.began);
            let verdict = crossing.decide(Direction::Uplink, &ticket, ticket.bytes, sent_at);
            if let Some(second) = verdict.duplicate {
                let copy = Box::new(Ticket { network: second, ..ticket.copied() });
                parcels.push(going_up(copy, request.clone(), sent_at + second));
                self.end.count_copy();
            }
            ticket.network = verdict.delay;
            let arrives_at = sent_at + verdict.delay;
            match verdict.lost {
                None => parcels.push(going_up(ticket, request, arrives_at)),
                Some(Lost::Report) => {
                    let answer = Answer::refused(ticket, lost("request"));
                    parcels.push((arrives_at, Parcel::Down(answer, sent_at)));
                }
                Some(Lost::Silence) => vanished.push(ticket),
            }
        }
        self.put_on_line(parcels, vanished);
    }

    /// Gathered answers onto the downlink.
    pub fn send_down(&mut self, crossing: &Crossing) {
        let now = Instant::now();
        let (mut parcels, mut vanished) = (Vec::with_capacity(self.answers.len()), Vec::new());
        for mut answer in std::mem::take(&mut self.answers) {
            // As if the uplink had been exact.
            let sent_at = now - answer.ticket.late.min(now.saturating_duration_since(crossing.began));
            let weighs = crossing.link.weighs(Direction::Downlink);
            let bytes = if weighs { self.end.bytes_of(&answer) } else { 0 };
            let verdict = crossing.decide(Direction::Downlink, &answer.ticket, bytes, sent_at);
            if let Some(second) = verdict.duplicate {
                let network = answer.ticket.network + second;
                let ticket = Box::new(Ticket { network, ..answer.ticket.copied() });
                let copy = Answer { ticket, outcome: answer.outcome.clone() };
                parcels.push((sent_at + second, Parcel::Down(copy, now)));
                self.end.count_copy();
            }
            answer.ticket.network += verdict.delay;
            match verdict.lost {
                None => {}
                Some(Lost::Report) => answer.outcome = Err(lost("answer")),
                Some(Lost::Silence) => {
                    vanished.push(answer.ticket);
                    continue;
                }
            }
            parcels.push((sent_at + verdict.delay, Parcel::Down(answer, now)));
        }
        self.put_on_line(parcels, vanished);
    }

    /// What is under way, and the end of what was lost without a word.
    fn put_on_line(&mut self, parcels: Vec<(Instant, Parcel)>, vanished: Vec<Box<Ticket>>) {
        if !vanished.is_empty() {
            self.end.lose(vanished);
        }
        let full = self.passage.line().send(parcels);
        self.refuse_full_line(full);
    }
}

/// Whose messages keep their order.
pub fn party(caller: &Caller) -> u64 {
    let mut party = DefaultHasher::new();
    caller.device_id.hash(&mut party);
    party.finish()
}

fn lost(what: &str) -> Refusal {
    Refusal::new(ErrorCode::NetworkLost, format!("the simulated network lost the {what}"))
}
