//! The in-flight window: what a client has not acknowledged to the end, counted in messages and bytes.
//!
//! A client may have 65,535 of them and acknowledge them in any order, so each is
//! found by its packet id without a look at the others.

use std::collections::{HashMap, VecDeque};
use std::ops::Index;

use super::delivery::{Delivery, PLACE_BYTES};
use crate::broker::limits::charge::Charge;
use crate::mqtt::Qos;

/// What one takes beside its delivery: the rest of its entry, and its number's, in
/// tables that have grown by doubling.
const INFLIGHT_BYTES: usize = (size_of::<(u64, Inflight)>() - size_of::<Delivery>()) / 2 * 3 + 32;

/// A QoS 1 or 2 message that the client has not acknowledged to the end.
pub struct Inflight {
    pub packet_id: u16,
    /// What may still have to be sent again. QoS 2: `None` once PUBREC has come and PUBREL is out, from where
    /// on only the packet id is needed.
    pub delivery: Option<Delivery>,
}

impl Inflight {
    pub fn is_released(&self) -> bool {
        self.delivery.is_none()
    }

    /// Whether it was sent with this QoS.
    pub fn is_of(&self, qos: Qos) -> bool {
        self.delivery.as_ref().map_or(Qos::ExactlyOnce, |delivery| delivery.qos) == qos
    }

    fn bytes(&self) -> usize {
        self.delivery.as_ref().map_or(PLACE_BYTES, Delivery::bytes)
    }
}

/// All of them, in the order in which they were sent.
#[derive(Default)]
pub struct InflightMessages {
    /// Each with its number, which grows.
    messages: VecDeque<(u64, Inflight)>,
    /// The numbers of the packet ids.
    numbers: HashMap<u16, u64>,
    next_number: u64,
    bytes: usize,
    charge: Charge,
}

impl InflightMessages {
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Bytes of those whose content may still be needed.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn has(&self, packet_id: u16) -> bool {
        self.numbers.contains_key(&packet_id)
    }

    /// Where the message with this packet id is.
    pub fn index_of(&self, packet_id: u16) -> Option<usize> {
        let number = self.numbers.get(&packet_id)?;
        self.messages.binary_search_by_key(number, |(number, _)| *number).ok()
    }

    /// How many others are moved when one of them goes.
    pub fn moved_by(&self, index: usize) -> usize {
        index.min(self.messages.len().saturating_sub(index + 1))
    }

    pub fn push_back(&mut self, message: Inflight) {
        self.bytes += message.bytes();
        self.numbers.insert(message.packet_id, self.next_number);
        self.messages.push_back((self.next_number, message));
        self.next_number += 1;
        self.note_bytes();
    }

    pub fn remove(&mut self, index: usize) {
        if let Some((_, removed)) = self.messages.remove(index) {
            self.numbers.remove(&removed.packet_id);
            self.bytes -= removed.bytes();
            self.note_bytes();
        }
    }

    /// QoS 2: the client has it. Only its packet id is needed from here on.
    pub fn release(&mut self, index: usize) {
        let Some((_, message)) = self.messages.get_mut(index) else { return };
        self.bytes -= message.bytes();
        message.delivery = None;
        self.bytes += message.bytes();
        self.note_bytes();
    }

    /// Counts what is unacknowledged to `charge` from here on.
    pub fn count_to(&mut self, charge: Charge) {
        self.charge = charge;
        self.note_bytes();
    }

    /// Copies what may still be needed of one message, so that it does not pin the large
    /// block it was read in. Returns how much that was, in bytes.
    pub fn detach(&mut self, index: usize) -> usize {
        let message = self.messages.get_mut(index).map(|(_, message)| message);
        message.and_then(|message| message.delivery.as_mut()).map_or(0, Delivery::detach)
    }

    fn note_bytes(&mut self) {
        self.charge.set(self.bytes + INFLIGHT_BYTES * self.messages.len());
    }
}

impl Index<usize> for InflightMessages {
    type Output = Inflight;

    fn index(&self, index: usize) -> &Inflight {
        &self.messages[index].1
    }
}

impl IntoIterator for InflightMessages {
    type Item = Inflight;
    type IntoIter = std::iter::Map<
        std::collections::vec_deque::IntoIter<(u64, Inflight)>,
        fn((u64, Inflight)) -> Inflight,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.messages.into_iter().map(|(_, message)| message)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::broker::bus::publication::Publication;
    use crate::broker::session::delivery::DELIVERY_BYTES;

    fn message(packet_id: u16) -> Inflight {
        let (topic, payload) = (Bytes::from_static(b"t"), Bytes::from_static(b"1234"));
        let delivery = Delivery {
            publication: Arc::new(Publication { topic, payload, ..Publication::default() }),
            qos: Qos::ExactlyOnce,
            retain: false,
            identifiers: Vec::new(),
            group: None,
        };
        Inflight { packet_id, delivery: Some(delivery) }
    }

    #[test]
    fn bytes_follow_what_comes_is_released_and_goes() {
        let mut inflight = InflightMessages::default();
        (1..=2).for_each(|packet_id| inflight.push_back(message(packet_id)));
        assert_eq!((inflight.len(), inflight.bytes()), (2, 2 * DELIVERY_BYTES + 10));
        inflight.release(0);
        assert_eq!(
            (inflight.len(), inflight.bytes(), inflight[0].is_released()),
            (2, PLACE_BYTES + DELIVERY_BYTES + 5, true)
        );
        inflight.remove(1);
        inflight.remove(0);
        inflight.remove(0);
        assert_eq!((inflight.len(), inflight.bytes()), (0, 0));
    }

    #[test]
    fn whatever_the_order_of_acknowledgements_each_is_found_without_a_look_at_the_others() {
        let mut inflight = InflightMessages::default();
        // As after 65,535 earlier ones: the ids begin in the middle.
        let ids: Vec<u16> = (40_000..=u16::MAX).chain(1..40_000).collect();
        ids.iter().for_each(|&packet_id| inflight.push_back(message(packet_id)));
        for &packet_id in ids.iter().rev().step_by(2).chain(ids.iter().step_by(2)) {
            let Some(index) = inflight.index_of(packet_id) else {
                assert!(!inflight.has(packet_id));
                continue;
            };
            assert_eq!(inflight[index].packet_id, packet_id);
            if packet_id % 1_000 == 0 {
                inflight.remove(index);
                assert!(!inflight.has(packet_id) && inflight.index_of(packet_id).is_none());
            }
        }
        assert_eq!(inflight.moved_by(0), 0);
        assert_eq!(inflight.moved_by(inflight.len() - 1), 0);
        inflight.push_back(message(1_000));
        assert_eq!(inflight.index_of(1_000), Some(inflight.len() - 1));
    }
}
