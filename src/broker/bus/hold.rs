//! A lock on the ingress for subscribing while nothing is published, so that it falls between two messages.

use std::sync::{Arc, MutexGuard};

use super::retained::Walk;
use super::shared::{Group, Member, Membership};
use super::subscriptions::Subscriber;
use super::{Bus, Ingress};

/// While it lives nothing can be published: what is subscribed to comes between two
/// publishes, together with the retained messages of that moment.
pub struct Hold<'a> {
    bus: &'a Arc<Bus>,
    _ingress: MutexGuard<'a, Ingress>,
}

impl<'a> Hold<'a> {
    pub fn new(bus: &'a Arc<Bus>, ingress: MutexGuard<'a, Ingress>) -> Self {
        Self { bus, _ingress: ingress }
    }

    /// Adds a subscription. Dropped, the registration ends it.
    pub fn subscribe(&self, filter: &str, subscriber: Subscriber) -> Registration {
        self.bus.subscriptions().insert(filter, subscriber.clone());
        self.bus.plain_subscriptions.add(subscriber.sessions());
        Registration { bus: self.bus.clone(), filter: filter.to_owned(), subscriber }
    }

    /// Takes a place in a shared group.
    pub fn join(&self, filter: &str, name: &str, member: Member) -> Membership {
        let bus = self.bus;
        let session = member.standing.session;
        let make = || {
            Group::new(name, filter, bus.shared_strategy(), bus.lag_bytes(filter))
                .waited_for(bus.waits_for_receivers)
        };
        let group = bus.subscriptions().join(filter, name, member, make);
        group.hand_out();
        Membership::new(bus.clone(), group, session)
    }

    /// Begins a walk through the retained messages of this moment that a filter may match.
    pub fn walk(&self, filter: &str) -> Walk {
        self.bus.store_for(filter).walk()
    }
}

/// A subscription; dropped, it ends.
pub struct Registration {
    bus: Arc<Bus>,
    filter: String,
    subscriber: Subscriber,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.bus.subscriptions().remove(&self.filter, &self.subscriber);
        self.bus.plain_subscriptions.subtract(self.subscriber.sessions());
    }
}
