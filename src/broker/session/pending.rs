//! The outgoing queue: what waits for one client, bounded in messages and bytes, and what happens when there
//! is no room.

use std::collections::VecDeque;

use super::delivery::Delivery;
use crate::broker::config::{Limits, PendingPolicy};
use crate::broker::limits::charge::Charge;
use crate::broker::limits::reached::Limit;

/// A queue that was longer gives its memory back when it is empty.
const KEEP_DELIVERIES: usize = 128;

/// The queue.
#[derive(Default)]
pub struct Pending {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    charge: Charge,
}

/// What became of a message that had to wait.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// It waits.
    Yes,
    /// It does, or it does not; this many messages were dropped all the same.
    Dropped(u64, Limit),
    /// There was no room, and the policy is to end the session then.
    Ends(Limit),
}

impl Pending {
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// The bound that is reached, if one is. The last message in may exceed the bytes by its own size.
    pub fn full(&self, limits: &Limits) -> Option<Limit> {
        if self.deliveries.len() >= limits.pending_messages_max {
            Some(Limit::PendingMessages)
        } else if self.bytes >= limits.pending_bytes_max {
            Some(Limit::PendingBytes)
        } else if !self.is_empty() && !self.charge.may_be(self.bytes + self.bytes / self.len()) {
            Some(Limit::Memory)
        } else {
            None
        }
    }

    /// Queues a message whatever the bounds say: for what was taken while there was room.
    pub fn push_back(&mut self, mut delivery: Delivery) {
        delivery.detach();
        self.put_back(delivery);
    }

    /// Queues a message again that was taken from here.
    pub fn put_back(&mut self, delivery: Delivery) {
        self.bytes += delivery.bytes();
        self.deliveries.push_back(delivery);
        self.charge.set(self.bytes);
    }

    /// Counts what waits here to `charge` from here on.
    pub fn count_to(&mut self, charge: Charge) {
        self.charge = charge;
        self.charge.set(self.bytes);
    }

    /// A long queue gives its memory back when it is empty.
    fn shrink(&mut self) {
        if self.deliveries.is_empty() && self.deliveries.capacity() > KEEP_DELIVERIES {
            self.deliveries = VecDeque::new();
        }
        self.charge.set(self.bytes);
    }

    /// Queues a message as the policy has it. Even the only one is a copy of its own
    /// here, so that it needs memory too.
    pub fn keep(&mut self, delivery: Delivery, limits: &Limits) -> Kept {
        let has_memory = |own: &Self| own.charge.may_be(own.bytes + delivery.bytes());
        let full = |own: &Self| own.full(limits).or((!has_memory(own)).then_some(Limit::Memory));
        let Some(limit) = full(self) else {
            self.push_back(delivery);
            return Kept::Yes;
        };
        match limits.pending_policy {
            PendingPolicy::Hold | PendingPolicy::Wait | PendingPolicy::DropNewest => Kept::Dropped(1, limit),
            PendingPolicy::Disconnect => Kept::Ends(limit),
            PendingPolicy::DropOldest => {
                let mut dropped = 0;
                while full(self).is_some() && self.pop().is_some() {
                    dropped += 1;
                }
                if full(self).is_none() {
                    self.push_back(delivery);
                } else {
                    self.shrink();
                    dropped += 1;
                }
                Kept::Dropped(dropped, limit)
            }
        }
    }

    pub fn pop_front(&mut self) -> Option<Delivery> {
        let delivery = self.pop()?;
        self.shrink();
        Some(delivery)
    }

    /// Takes the first message, but what it took stays counted: for something else that takes its place.
    fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.pop_front()?;
        self.bytes -= delivery.bytes();
        Some(delivery)
    }

    pub fn clear(&mut self) {
        self.deliveries.clear();
        self.bytes = 0;
        self.shrink();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::broker::bus::publication::Publication;
    use crate::broker::limits::memory::{Memory, MemoryKind};
    use crate::broker::limits::shares::Owner;
    use crate::broker::session::delivery::DELIVERY_BYTES;
    use crate::mqtt::Qos;

    fn limits(pending_policy: PendingPolicy) -> Limits {
        Limits {
            pending_messages_max: 3,
            pending_bytes_max: 100 + 3 * DELIVERY_BYTES,
            pending_policy,
            ..Limits::default()
        }
    }

    fn delivery(payload: &[u8]) -> Delivery {
        let payload = Bytes::copy_from_slice(payload);
        Delivery {
            publication: Arc::new(Publication {
                topic: Bytes::from_static(b"t"),
                payload,
                ..Publication::default()
            }),
            qos: Qos::AtLeastOnce,
            retain: false,
            identifiers: Vec::new(),
            group: None,
        }
    }

    fn kept(policy: PendingPolicy) -> (Vec<Kept>, Vec<Bytes>) {
        let mut pending = Pending::default();
        let answers = [b"1", b"2", b"3", b"4"].map(|p| pending.keep(delivery(p), &limits(policy))).into();
        let left = std::iter::from_fn(|| pending.pop_front());
        let left = left.map(|delivery| delivery.publication.payload.clone()).collect();
        assert_eq!(pending.bytes, 0);
        (answers, left)
    }

    #[test]
    fn each_policy_keeps_what_it_says() {
        let full = |last| vec![Kept::Yes, Kept::Yes, Kept::Yes, last];
        let dropped = || full(Kept::Dropped(1, Limit::PendingMessages));
        let payloads = |text: &'static str| text.bytes().map(|b| Bytes::copy_from_slice(&[b])).collect();
        assert_eq!(kept(PendingPolicy::DropNewest), (dropped(), payloads("123")));
        assert_eq!(kept(PendingPolicy::Hold), (dropped(), payloads("123")));
        assert_eq!(kept(PendingPolicy::Wait), (dropped(), payloads("123")));
        assert_eq!(kept(PendingPolicy::DropOldest), (dropped(), payloads("234")));
        let ends = full(Kept::Ends(Limit::PendingMessages));
        assert_eq!(kept(PendingPolicy::Disconnect), (ends, payloads("123")));
    }

    #[test]
    fn without_memory_nothing_is_kept_but_in_the_place_of_what_was() {
        let memory = Memory::new(1 << 20);
        let holder = memory.holder(Owner::Node, None);
        let all = holder.charge(MemoryKind::Retained, 1 << 20);
        let limits = Limits { pending_policy: PendingPolicy::DropOldest, ..Limits::default() };
        let mut pending = Pending::default();
        pending.count_to(holder.charge(MemoryKind::Queues, 0));
        assert_eq!(pending.keep(delivery(&[7; 100_000]), &limits), Kept::Dropped(1, Limit::Memory));
        drop(all);
        for _ in 0..3 {
            assert_eq!(pending.keep(delivery(&[7; 100_000]), &limits), Kept::Yes);
        }
        let _all = holder.charge(MemoryKind::Retained, 1 << 20);
        assert_eq!(pending.keep(delivery(&[7; 100_000]), &limits), Kept::Dropped(1, Limit::Memory));
        assert_eq!(pending.keep(delivery(&[7; 150_000]), &limits), Kept::Dropped(2, Limit::Memory));
        assert_eq!(pending.keep(delivery(&[7; 900_000]), &limits), Kept::Dropped(3, Limit::Memory));
        assert_eq!((pending.len(), pending.bytes), (0, 0));
    }

    #[test]
    fn bytes_are_bounded_too_and_as_many_old_ones_go_as_it_takes() {
        let limits = Limits { pending_bytes_max: 100 + DELIVERY_BYTES, ..limits(PendingPolicy::DropOldest) };
        let mut pending = Pending::default();
        assert_eq!(pending.keep(delivery(&[0; 40]), &limits), Kept::Yes);
        assert_eq!(pending.keep(delivery(&[0; 90]), &limits), Kept::Yes, "the last one in may exceed it");
        assert_eq!(pending.keep(delivery(b"x"), &limits), Kept::Dropped(1, Limit::PendingBytes));
        assert_eq!((pending.len(), pending.bytes), (2, 2 * DELIVERY_BYTES + 93));
    }
}
