//! The retained messages that a connection's subscriptions still get: taken from the
//! store as the client takes them, not before.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Session;
use super::client::Client;
use super::delivery::Delivery;
use super::output::HIGH_BYTES;
use crate::broker::bus::retained::RetainedMessage;

/// Units of work for a message to the client, beside what its bytes take.
const DELIVERY_UNITS: usize = 5;
/// Subscriptions that have ended may stand in the queue of walks in this number.
const ENDED_MAX: usize = 64;

/// The walks under way, one after the other.
#[derive(Default)]
pub struct CatchingUp {
    /// Subscriptions with a walk, in the order in which they began; some may have ended since.
    walking: VecDeque<usize>,
    /// What was taken from the store for the first of them.
    taken: VecDeque<(String, RetainedMessage)>,
}

impl CatchingUp {
    /// How much there is to hold: walks, and messages that were taken for them.
    pub fn len(&self) -> usize {
        self.walking.len() + self.taken.len()
    }

    pub fn is_empty(&self) -> bool {
        self.walking.is_empty()
    }

    /// A subscription has begun a walk.
    pub fn add(&mut self, subscription: usize) {
        self.walking.push_back(subscription);
    }

    /// Forgets subscriptions that have ended, where there may be many.
    pub fn tidy(&mut self, session: &Session) {
        if self.walking.len() > session.subscription_count() + ENDED_MAX {
            let first = self.walking.pop_front();
            self.walking.retain(|&id| session.subscription(id).is_some());
            self.walking.extend(first);
            self.walking.rotate_right(usize::from(first.is_some()));
        }
    }
}

impl Client {
    /// Whether retained messages could be sent now.
    pub fn may_catch_up(&self) -> bool {
        !self.retained.is_empty() && self.output.unwritten().len() < HIGH_BYTES && self.has_pending_room()
    }

    /// Sends retained messages until the slice is over, as long as there is room. Live
    /// messages wait behind them: an old value must not follow a new one.
    pub fn catch_up(&mut self) {
        while self.may_catch_up() && !self.slice.is_over() {
            let Some(&id) = self.retained.walking.front() else { return };
            match self.retained.taken.pop_front() {
                Some((topic, message)) => self.send_retained(id, topic, message),
                None if self.take_retained(id) => {}
                None => drop(self.retained.walking.pop_front()),
            }
        }
    }

    /// Takes some messages for a subscription from the store; `false` when there are none left for it.
    fn take_retained(&mut self, id: usize) -> bool {
        let bus = self.context.bus.clone();
        let Some(subscription) = self.session.subscription_mut(id) else { return false };
        let Some(mut walk) = subscription.live.walk.take_if(|walk| !walk.is_over()) else {
            subscription.live.walk = None;
            return false;
        };
        let found = bus.store_for(&subscription.path).gather(
            &subscription.path,
            &mut walk,
            &mut self.slice,
            bus.now_ms(),
        );
        self.retained.taken.extend(found);
        subscription.live.walk = Some(walk);
        true
    }

    fn send_retained(&mut self, id: usize, topic: String, message: RetainedMessage) {
        let Some(subscription) = self.session.subscription(id) else { return };
        self.slice.spend(DELIVERY_UNITS);
        self.slice.spend_bytes(topic.len() + message.payload.len());
        if subscription.is_judged {
            let access = &*self.context.config.access;
            self.slice.spend(access.effort());
            if !self.session.may_have(topic.as_bytes(), access) {
                return;
            }
        }
        let options = subscription.options;
        self.emit(Delivery {
            qos: message.qos.min(options.qos),
            retain: true,
            identifiers: options.identifier.into_iter().collect(),
            publication: Arc::new(message.publication(topic)),
            group: None,
        });
    }
}
