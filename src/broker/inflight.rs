//! What a client has not acknowledged to the end, counted in messages and bytes.

use super::memory::Charge;
use super::properties::ApplicationProperties;
use super::session::Delivery;
use bytes::Bytes;
use std::collections::{VecDeque, vec_deque};
use std::ops::Index;

/// A QoS 1 or 2 message that the client has not acknowledged to the end.
pub(super) struct Inflight {
    pub packet_id: u16,
    /// QoS 2: PUBREC came, PUBREL is out.
    pub is_released: bool,
    pub delivery: Delivery,
}

/// All of them, in the order in which they were sent.
#[derive(Default)]
pub(super) struct InflightMessages {
    messages: VecDeque<Inflight>,
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

    pub fn iter(&self) -> vec_deque::Iter<'_, Inflight> {
        self.messages.iter()
    }

    pub fn push_back(&mut self, message: Inflight) {
        self.bytes += message.delivery.bytes();
        self.messages.push_back(message);
        self.charge.set(self.bytes);
    }

    pub fn remove(&mut self, index: usize) {
        if let Some(removed) = self.messages.remove(index) {
            self.bytes -= removed.delivery.bytes();
            self.charge.set(self.bytes);
        }
    }

    /// QoS 2: the client has it. Only its packet id is needed from here on.
    pub fn release(&mut self, index: usize) {
        let Some(message) = self.messages.get_mut(index) else { return };
        self.bytes -= message.delivery.bytes();
        message.is_released = true;
        message.delivery.payload = Bytes::new();
        message.delivery.topic = Bytes::new();
        message.delivery.properties = ApplicationProperties::default();
        self.bytes += message.delivery.bytes();
        self.charge.set(self.bytes);
    }

    /// Counts what is unacknowledged to `charge` from here on.
    pub fn count_to(&mut self, charge: Charge) {
        self.charge = charge;
        self.charge.set(self.bytes);
    }

    /// Copies what may still be needed of one message, so that it does not pin the large block it was read in. Returns how much that was, in
    /// bytes.
    pub fn detach(&mut self, index: usize) -> usize {
        let Some(message) = self.messages.get_mut(index).filter(|message| !message.is_released) else {
            return 0;
        };
        message.delivery.detach();
        message.delivery.bytes()
    }
}

impl Index<usize> for InflightMessages {
    type Output = Inflight;

    fn index(&self, index: usize) -> &Inflight {
        &self.messages[index]
    }
}

impl IntoIterator for InflightMessages {
    type Item = Inflight;
    type IntoIter = vec_deque::IntoIter<Inflight>;

    fn into_iter(self) -> Self::IntoIter {
        self.messages.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::session::DELIVERY_BYTES;
    use crate::mqtt::Qos;

    #[test]
    fn bytes_follow_what_comes_is_released_and_goes() {
        let mut inflight = InflightMessages::default();
        for packet_id in 1..=2 {
            let delivery = Delivery {
                topic: Bytes::from_static(b"t"),
                payload: Bytes::from_static(b"1234"),
                properties: ApplicationProperties::default(),
                qos: Qos::ExactlyOnce,
                retain: false,
                identifiers: Vec::new(),
                deadline_ms: None,
                group: None,
            };
            inflight.push_back(Inflight { packet_id, is_released: false, delivery });
        }
        assert_eq!((inflight.len(), inflight.bytes()), (2, 2 * DELIVERY_BYTES + 10));
        inflight.release(0);
        assert_eq!(
            (inflight.len(), inflight.bytes(), inflight[0].is_released),
            (2, 2 * DELIVERY_BYTES + 5, true)
        );
        inflight.remove(1);
        inflight.remove(0);
        inflight.remove(0);
        assert_eq!((inflight.len(), inflight.bytes()), (0, 0));
    }
}
