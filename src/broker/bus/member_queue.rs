//! What waits for one member of shared groups, and the groups that wait for room there.
//!
//! All groups of a session share this queue. Room is offered to the groups that
//! found none, by turns and one message each, whichever group's message made it: so
//! a busy group neither keeps another one out nor leaves it waiting for ever.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::publication::Publication;
use super::shared::Group;
use crate::sync::lock;

/// Messages that wait for one member; when all members are full, the group keeps them.
pub const MEMBER_QUEUE_MESSAGES: usize = 64;
/// A queue with so many bytes takes no more either, so that it holds one message beyond them at most.
pub const MEMBER_QUEUE_BYTES: usize = 256 * 1024;

/// A message for one member.
pub struct SharedDelivery {
    /// The member's own id of the subscription.
    pub subscription: usize,
    pub publication: Arc<Publication>,
    pub group: Arc<Group>,
}

/// The queue between a session's shared groups and its connection.
#[derive(Default)]
pub struct MemberQueue {
    state: Mutex<State>,
    arrival: Notify,
}

#[derive(Default)]
struct State {
    deliveries: VecDeque<SharedDelivery>,
    bytes: usize,
    /// Groups that found no room, each once. While there is room, nobody waits.
    waiting: VecDeque<Arc<Place>>,
    is_closed: bool,
}

/// Where a group waits in one member's queue.
pub struct Place {
    group: Weak<Group>,
    /// It is in the queue. Changed by whoever has the queue's lock.
    is_queued: AtomicBool,
}

impl Place {
    pub fn of(group: &Arc<Group>) -> Arc<Self> {
        Arc::new(Self { group: Arc::downgrade(group), is_queued: AtomicBool::new(false) })
    }
}

impl MemberQueue {
    /// Puts a message in, where there is room and no other group waits for it, or this one `has_turn`.
    /// Otherwise the message comes back, and its group waits at `place`, unless the queue is closed.
    pub fn offer(
        &self,
        delivery: SharedDelivery,
        place: &Arc<Place>,
        has_turn: bool,
    ) -> Result<(), SharedDelivery> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return Err(delivery);
        }
        if !state.has_room() || !(has_turn || state.waiting.is_empty()) {
            if !place.is_queued.swap(true, Ordering::Relaxed) {
                state.waiting.push_back(place.clone());
            }
            return Err(delivery);
        }
        let is_first = state.deliveries.is_empty();
        state.bytes += delivery.publication.waiting_bytes();
        state.deliveries.push_back(delivery);
        drop(state);
        if is_first {
            self.arrival.notify_one();
        }
        Ok(())
    }

    /// The oldest message. Its room goes to the groups that wait.
    pub fn take(&self) -> Option<SharedDelivery> {
        let delivery = lock(&self.state).pop()?;
        while let Some(group) = self.next_waiting() {
            group.take_turn(self);
        }
        Some(delivery)
    }

    /// The next group that has its turn, while there is room.
    fn next_waiting(&self) -> Option<Arc<Group>> {
        let mut state = lock(&self.state);
        while state.has_room() {
            let place = state.waiting.pop_front()?;
            place.is_queued.store(false, Ordering::Relaxed);
            // A group that has ended has nothing to give.
            if let Some(group) = place.group.upgrade() {
                return Some(group);
            }
        }
        None
    }

    /// A group no longer waits here.
    pub fn forget(&self, place: &Arc<Place>) {
        let mut state = lock(&self.state);
        if place.is_queued.swap(false, Ordering::Relaxed) {
            state.waiting.retain(|other| !Arc::ptr_eq(other, place));
        }
    }

    /// Takes no more, and gives out what is left.
    pub fn close(&self) -> VecDeque<SharedDelivery> {
        let mut state = lock(&self.state);
        state.is_closed = true;
        state.bytes = 0;
        state.waiting.drain(..).for_each(|place| place.is_queued.store(false, Ordering::Relaxed));
        std::mem::take(&mut state.deliveries)
    }

    /// What waits here, in bytes.
    pub fn held_bytes(&self) -> usize {
        lock(&self.state).bytes
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.state).deliveries.is_empty()
    }

    /// Waits until there may be something to take.
    pub async fn arrival(&self) {
        if self.is_empty() {
            self.arrival.notified().await;
        }
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.deliveries.len() < MEMBER_QUEUE_MESSAGES && self.bytes < MEMBER_QUEUE_BYTES
    }

    fn pop(&mut self) -> Option<SharedDelivery> {
        let delivery = self.deliveries.pop_front()?;
        self.bytes -= delivery.publication.waiting_bytes();
        Some(delivery)
    }
}
