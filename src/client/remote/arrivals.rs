//! Pending acknowledgements and duplicate detection for what a broker has sent us: in which order messages
//! are acknowledged, and which of them are copies.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use crate::mqtt::{Message, Qos, Settlement};

/// What has arrived in one session.
#[derive(Default)]
pub struct Arrivals {
    /// Not acknowledged on this connection, in the order of arrival.
    waiting: VecDeque<Arrival>,
    /// How messages have ended that are not acknowledged; none while they go on. By number.
    fates: HashMap<u64, Option<Settlement>>,
    /// The last message that came with a packet id. There are 65,535 of those.
    seen: HashMap<u16, Seen>,
    next_number: u64,
    /// Messages that will not be acknowledged on this connection; the broker still
    /// counts them as unacknowledged.
    lost: usize,
    hasher: RandomState,
}

struct Arrival {
    number: u64,
    id: u16,
    qos: Qos,
}

struct Seen {
    number: u64,
    /// Of topic and payload.
    digest: u64,
}

/// What a message is that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// A new one, with its number in the session.
    New(u64),
    /// The broker did not know that we have it. Whoever has it settles it, or has settled it.
    Copy,
}

impl Arrivals {
    /// A connection begins. The broker sends again what was not acknowledged; without
    /// the session it does not know it any more.
    pub fn connected(&mut self, is_resumed: bool) {
        // An acknowledgement goes on the connection that its message came on, or not at all: a resumed
        // session brings the message again [MQTT-4.4.0-1], and a new one may have given its id to another.
        self.waiting.clear();
        self.lost = 0;
        if !is_resumed {
            self.fates.clear();
            self.seen.clear();
            return;
        }
        // What was lost is to be done again, and what the broker has not sent again under
        // its packet id never comes.
        let fates = &mut self.fates;
        self.seen.retain(|_, seen| fates.get(&seen.number) != Some(&Some(Settlement::Lost)));
        let known: HashSet<u64> = self.seen.values().map(|seen| seen.number).collect();
        fates.retain(|number, _| known.contains(number));
    }

    /// A message of QoS 1 or 2 has arrived.
    pub fn arrived(&mut self, id: u16, message: &Message) -> Arrived {
        let digest = self.hasher.hash_one((&message.topic, &message.payload));
        // After our PUBACK a PUBLISH with its id is a new message, whatever its DUP says [MQTT-4.3.2-5]. But
        // the PUBACK may have died with the connection, and docs/cluster.md promises no second answer for
        // that: with DUP, the same id and the same bytes it is a copy.
        let known = self.seen.get(&id).filter(|seen| message.is_duplicate && seen.digest == digest);
        let (number, arrived) = match known {
            Some(seen) => (seen.number, Arrived::Copy),
            None => {
                self.next_number += 1;
                (self.next_number, Arrived::New(self.next_number))
            }
        };
        // A copy of what was acknowledged is acknowledged again: the broker has not heard it.
        let begins = if arrived == Arrived::Copy { Some(Settlement::Settled) } else { None };
        self.fates.entry(number).or_insert(begins);
        self.seen.insert(id, Seen { number, digest });
        self.waiting.push_back(Arrival { number, id, qos: message.qos });
        arrived
    }

    /// What has become of message `number`.
    pub fn settle(&mut self, number: u64, settlement: Settlement) {
        if let Some(fate) = self.fates.get_mut(&number) {
            *fate = Some(settlement);
        }
    }

    /// The next message to acknowledge: they go in the order in which they came [MQTT-4.6.0-2],
    /// without those whose answers were lost, which the broker is to deliver again.
    pub fn next_acknowledgement(&mut self) -> Option<(u16, Qos)> {
        loop {
            // Head-of-line blocking by the standard's will: what is answered waits here for what came before
            // it.
            let Arrival { number, id, qos } = *self.waiting.front()?;
            // One that came twice on this connection has been acknowledged once.
            let settlement = self.fates.get(&number).copied().unwrap_or(Some(Settlement::Settled))?;
            self.waiting.pop_front();
            match settlement {
                Settlement::Settled => {
                    self.fates.remove(&number);
                    return Some((id, qos));
                }
                Settlement::Lost => self.lost += 1,
            }
        }
    }

    /// Messages that will be acknowledged on this connection, as far as we know.
    pub fn pending(&self) -> usize {
        self.waiting.len()
    }

    /// Messages that will not be acknowledged on this connection, because their answers were lost.
    pub fn lost(&self) -> usize {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message { qos: Qos::AtLeastOnce, ..Message::new("t", text.to_owned()) }
    }

    fn duplicate(text: &str) -> Message {
        Message { is_duplicate: true, ..message(text) }
    }

    fn new(arrivals: &mut Arrivals, id: u16, message: &Message) -> u64 {
        match arrivals.arrived(id, message) {
            Arrived::New(number) => number,
            Arrived::Copy => panic!("{message:?} is no copy"),
        }
    }

    fn acknowledged(arrivals: &mut Arrivals) -> Vec<u16> {
        std::iter::from_fn(|| arrivals.next_acknowledgement().map(|(id, _)| id)).collect()
    }

    #[test]
    fn acknowledgements_go_in_the_order_of_arrival_and_leave_out_what_was_lost() {
        let mut arrivals = Arrivals::default();
        let numbers: Vec<_> = (1..=4).map(|id| new(&mut arrivals, id, &message(&id.to_string()))).collect();
        arrivals.settle(numbers[2], Settlement::Settled);
        arrivals.settle(numbers[1], Settlement::Lost);
        assert!(acknowledged(&mut arrivals).is_empty());
        arrivals.settle(numbers[0], Settlement::Settled);
        assert_eq!(acknowledged(&mut arrivals), [1, 3]);
        assert_eq!((arrivals.pending(), arrivals.lost()), (1, 1));
    }

    #[test]
    fn what_comes_again_is_not_done_again_unless_it_was_lost() {
        let mut arrivals = Arrivals::default();
        let numbers: Vec<_> = (1..=4).map(|id| new(&mut arrivals, id, &message(&id.to_string()))).collect();
        arrivals.settle(numbers[0], Settlement::Settled);
        assert_eq!(acknowledged(&mut arrivals), [1], "which the broker does not hear");
        arrivals.settle(numbers[1], Settlement::Settled);
        arrivals.settle(numbers[3], Settlement::Lost);
        arrivals.connected(true);
        for id in 1..=3 {
            assert_eq!(arrivals.arrived(id, &duplicate(&id.to_string())), Arrived::Copy);
        }
        let again = new(&mut arrivals, 4, &duplicate("4"));
        arrivals.settle(again, Settlement::Settled);
        assert_eq!(acknowledged(&mut arrivals), [1, 2], "the third one goes on");
        arrivals.settle(numbers[2], Settlement::Settled);
        assert_eq!(acknowledged(&mut arrivals), [3, 4]);
        assert!(arrivals.fates.is_empty());
    }

    #[test]
    fn what_comes_twice_on_one_connection_is_acknowledged_twice() {
        let mut arrivals = Arrivals::default();
        let first = new(&mut arrivals, 1, &message("a"));
        assert_eq!(arrivals.arrived(1, &duplicate("a")), Arrived::Copy);
        assert!(acknowledged(&mut arrivals).is_empty());
        arrivals.settle(first, Settlement::Settled);
        assert_eq!(acknowledged(&mut arrivals), [1, 1]);
    }

    #[test]
    fn a_packet_id_alone_makes_no_copy() {
        let mut arrivals = Arrivals::default();
        let first = new(&mut arrivals, 1, &message("a"));
        arrivals.settle(first, Settlement::Settled);
        assert_eq!(acknowledged(&mut arrivals), [1]);
        new(&mut arrivals, 1, &message("a"));
        arrivals.connected(true);
        new(&mut arrivals, 1, &duplicate("b"));
        arrivals.connected(false);
        let last = new(&mut arrivals, 1, &duplicate("b"));
        arrivals.settle(first, Settlement::Settled);
        assert!(acknowledged(&mut arrivals).is_empty());
        arrivals.settle(last, Settlement::Settled);
        assert_eq!(acknowledged(&mut arrivals), [1]);
    }
}
