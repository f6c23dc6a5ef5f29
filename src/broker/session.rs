//! A client's session: subscriptions, what is on its way to it, and what it has half sent.
//!
//! All of MQTT's quality of service is here; the router only fans out.

use super::bus::Link;
use super::inflight::InflightMessages;
use super::pending::Pending;
use super::shared::{Group, Membership};
use super::tag;
use super::topic;
use crate::mqtt::{Qos, filter_matches, filters_overlap};
use bytes::Bytes;
use rumqttd::Forward;
use rumqttd::protocol::PublishProperties;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// What a client asked for with a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options {
    pub qos: Qos,
    pub no_local: bool,
    pub retain_as_published: bool,
    /// The client's own subscription identifier.
    pub identifier: Option<usize>,
}

/// One subscription.
pub(super) struct Subscription {
    /// The filter in the router's spelling, without the group.
    pub path: String,
    /// The group of a shared subscription.
    pub group: Option<String>,
    /// The place in that group; `None` while the client is away.
    pub membership: Option<Membership>,
    pub options: Options,
    /// Ids of this session's other plain subscriptions that some topic falls under as well.
    overlaps: Vec<usize>,
    /// The place in the filter's log that comes next.
    next_offset: Option<u64>,
}

/// A message on its way to a client.
pub(super) struct Delivery {
    pub topic: Bytes,
    pub payload: Bytes,
    pub properties: Option<Box<PublishProperties>>,
    pub qos: Qos,
    pub retain: bool,
    pub identifiers: Vec<usize>,
    pub deadline_ms: Option<u64>,
    /// The shared group that it came by, which gives it to another member when this session ends.
    pub group: Option<Arc<Group>>,
}

impl Delivery {
    /// What it takes of a bound in bytes: everything that a client chose.
    pub fn bytes(&self) -> usize {
        let properties = self.properties.as_deref().map_or(0, |own| {
            let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
            let pairs: usize = own.user_properties.iter().map(|(name, value)| name.len() + value.len()).sum();
            let correlation = own.correlation_data.as_ref().map_or(0, Bytes::len);
            text(&own.response_topic) + text(&own.content_type) + correlation + pairs
        });
        self.topic.len() + self.payload.len() + properties
    }

    /// Copies what it holds, so that a message that waits does not pin the large block it was read in.
    pub fn detach(&mut self) {
        self.topic = Bytes::copy_from_slice(&self.topic);
        self.payload = Bytes::copy_from_slice(&self.payload);
    }
}

/// What came for a subscription.
pub(super) struct Accepted {
    /// `None`: not for this client, or it gets it through another of its subscriptions.
    pub delivery: Option<Delivery>,
    /// Messages that the router skipped before this one, because the client lagged.
    pub skipped: u64,
}

/// A client's session.
pub(super) struct Session {
    /// Names the session in the origin of its publishes.
    pub uid: u64,
    pub link: Option<Link>,
    subscriptions: HashMap<usize, Subscription>,
    by_filter: HashMap<String, usize>,
    next_subscription: usize,
    no_local: usize,
    pub inflight: InflightMessages,
    /// How many at the end of `inflight` the client has not been sent on this connection: its window had no room.
    pub unsent: usize,
    pub pending: Pending,
    /// Taken from the router while a SUBSCRIBE was answered, ahead of its turn: at most what the router hands over before
    /// the answer, which is two bursts.
    pub early: VecDeque<Forward>,
    last_packet_id: u16,
    /// Packet ids of QoS 2 publishes that the client has not released.
    pub receiving: HashSet<u16>,
    last_sequence: u16,
    /// Seconds that the session outlives its connection; `u32::MAX` for ever.
    pub expiry_s: u32,
    /// The access rules' version that its subscriptions were judged by.
    pub rights_version: u64,
}

impl Session {
    pub fn new(uid: u64) -> Self {
        Self {
            uid,
            link: None,
            subscriptions: HashMap::new(),
            by_filter: HashMap::new(),
            next_subscription: 1,
            no_local: 0,
            inflight: InflightMessages::default(),
            unsent: 0,
            pending: Pending::default(),
            early: VecDeque::new(),
            last_packet_id: 0,
            receiving: HashSet::new(),
            last_sequence: 0,
            expiry_s: 0,
            rights_version: 0,
        }
    }

    /// Numbers a subscription towards the router.
    pub fn next_sequence(&mut self) -> u16 {
        self.last_sequence = self.last_sequence.wrapping_add(1).max(1);
        self.last_sequence
    }

    /// A packet id that no message in flight has.
    pub fn next_packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id.wrapping_add(1).max(1);
            if !self.inflight.iter().any(|message| message.packet_id == self.last_packet_id) {
                return self.last_packet_id;
            }
        }
    }

    /// Where the message with this packet id is, if the client has been sent it on this connection.
    pub fn inflight_index(&self, packet_id: u16) -> Option<usize> {
        self.inflight.iter().take(self.sent()).position(|message| message.packet_id == packet_id)
    }

    /// Messages that the client has been sent on this connection and has not acknowledged to the end.
    pub fn sent(&self) -> usize {
        self.inflight.len() - self.unsent
    }

    /// Who publishes, where a subscription of its own must know.
    pub fn origin(&self) -> Option<u64> {
        (self.no_local > 0).then_some(self.uid)
    }

    pub fn subscription(&self, id: usize) -> Option<&Subscription> {
        self.subscriptions.get(&id)
    }

    pub fn subscription_mut(&mut self, id: usize) -> Option<&mut Subscription> {
        self.subscriptions.get_mut(&id)
    }

    pub fn subscriptions_mut(&mut self) -> impl Iterator<Item = (usize, &mut Subscription)> {
        self.subscriptions.iter_mut().map(|(&id, subscription)| (id, subscription))
    }

    /// The subscriptions: the filter as the client spells it, and the path in the router's spelling.
    pub fn filters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_filter
            .iter()
            .filter_map(|(filter, id)| Some((filter.as_str(), self.subscriptions.get(id)?.path.as_str())))
    }

    /// Drops what waits for the client and no subscription of it asks for any more.
    pub fn forget_unwanted(&mut self) {
        let paths: Vec<_> = self.subscriptions.values().map(|subscription| &subscription.path).collect();
        self.pending.retain(|delivery| {
            let routed = topic::escape_bytes(&delivery.topic);
            std::str::from_utf8(&routed).is_ok_and(|name| paths.iter().any(|path| filter_matches(path, name)))
        });
    }

    pub fn subscription_count(&self) -> usize {
        self.subscriptions.len()
    }

    /// How many of the plain subscriptions with wildcards some topic under `path` falls under as well. The router makes a copy
    /// of a message for each that matches, although the client gets one.
    pub fn overlapping(&self, path: &str) -> usize {
        let is_wide = |own: &&Subscription| own.group.is_none() && own.path.contains(['+', '#']);
        self.subscriptions.values().filter(is_wide).filter(|own| filters_overlap(&own.path, path)).count()
    }

    pub fn is_subscribed(&self, filter: &str) -> bool {
        self.by_filter.contains_key(filter)
    }

    /// Adds a subscription, or changes the options of the one with the same filter. `filter` is the client's spelling.
    pub fn upsert(&mut self, filter: &str, path: &str, group: Option<&str>, options: Options) -> usize {
        if let Some(&id) = self.by_filter.get(filter)
            && let Some(known) = self.subscriptions.get_mut(&id)
        {
            self.no_local =
                self.no_local + usize::from(options.no_local) - usize::from(known.options.no_local);
            known.options = options;
            return id;
        }
        let id = self.next_subscription;
        self.next_subscription += 1;
        self.no_local += usize::from(options.no_local);
        let overlaps = if group.is_none() { self.note_overlaps(id, path) } else { Vec::new() };
        self.by_filter.insert(filter.to_owned(), id);
        let subscription = Subscription {
            path: path.to_owned(),
            group: group.map(str::to_owned),
            membership: None,
            options,
            overlaps,
            next_offset: None,
        };
        self.subscriptions.insert(id, subscription);
        id
    }

    fn note_overlaps(&mut self, id: usize, path: &str) -> Vec<usize> {
        let mut overlaps = Vec::new();
        for (&other, subscription) in &mut self.subscriptions {
            if subscription.group.is_none() && filters_overlap(&subscription.path, path) {
                overlaps.push(other);
                subscription.overlaps.push(id);
            }
        }
        overlaps
    }

    /// Removes the subscription with this filter (the client's spelling).
    pub fn remove(&mut self, filter: &str) -> Option<Subscription> {
        let id = self.by_filter.remove(filter)?;
        let removed = self.subscriptions.remove(&id)?;
        self.no_local -= usize::from(removed.options.no_local);
        for other in &removed.overlaps {
            if let Some(subscription) = self.subscriptions.get_mut(other) {
                subscription.overlaps.retain(|&overlap| overlap != id);
            }
        }
        Some(removed)
    }

    /// Decides what this client gets of a copy from the router, or from a shared group (which names the subscription).
    pub fn accept(&mut self, forward: Forward, shared: Option<usize>) -> Accepted {
        let untagged = tag::untag(forward.properties);
        let nothing = |skipped| Accepted { delivery: None, skipped };
        // No id, or one that is gone: the client unsubscribed meanwhile.
        let Some(id) = shared.or(untagged.subscription) else { return nothing(0) };
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return nothing(0) };
        let skipped = if shared.is_none() { subscription.note_offset(forward.cursor) } else { 0 };
        let Some(wish) = self.wish(id, &forward.publish.topic, untagged.meta.origin) else {
            return nothing(skipped);
        };
        let delivery = Delivery {
            topic: topic::unescape(&forward.publish.topic),
            payload: forward.publish.payload,
            properties: untagged.properties.map(Box::new),
            qos: wish.qos.min(untagged.meta.qos),
            retain: wish.retain_as_published && untagged.meta.retain,
            identifiers: wish.identifiers,
            deadline_ms: untagged.meta.deadline_ms,
            group: None,
        };
        Accepted { delivery: Some(delivery), skipped }
    }

    /// What the subscriptions that see this message ask for together; `None` when another delivers it, or none wants it.
    fn wish(&self, id: usize, topic: &[u8], origin: Option<u64>) -> Option<Wish> {
        let is_own = origin == Some(self.uid);
        let subscription = self.subscriptions.get(&id)?;
        let mut wish = Wish::default();
        wish.add(subscription.options, is_own);
        if subscription.overlaps.is_empty() {
            return wish.is_any.then_some(wish);
        }
        let topic = std::str::from_utf8(topic).ok()?;
        for &other_id in &subscription.overlaps {
            let Some(other) = self.subscriptions.get(&other_id) else { continue };
            if filter_matches(&other.path, topic) {
                // The oldest sees every message that a younger one sees, so it delivers.
                if other_id < id {
                    return None;
                }
                wish.add(other.options, is_own);
            }
        }
        wish.is_any.then_some(wish)
    }
}

/// What several subscriptions ask for together.
#[derive(Default)]
struct Wish {
    is_any: bool,
    qos: Qos,
    retain_as_published: bool,
    identifiers: Vec<usize>,
}

impl Wish {
    fn add(&mut self, options: Options, is_own: bool) {
        if options.no_local && is_own {
            return;
        }
        self.is_any = true;
        self.qos = self.qos.max(options.qos);
        self.retain_as_published |= options.retain_as_published;
        self.identifiers.extend(options.identifier);
    }
}

impl Subscription {
    /// How many messages of the filter's log were skipped before this place.
    fn note_offset(&mut self, cursor: Option<(u64, u64)>) -> u64 {
        let Some((_segment, offset)) = cursor else { return 0 };
        let skipped = self.next_offset.map_or(0, |next| offset.saturating_sub(next));
        self.next_offset = Some(offset + 1);
        skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumqttd::protocol::Publish;

    fn options(qos: Qos) -> Options {
        Options { qos, no_local: false, retain_as_published: false, identifier: None }
    }

    fn forward(topic: &'static str, qos: Qos, subscription: usize, offset: u64) -> Forward {
        let mut properties = tag::tag(tag::Meta { qos, ..tag::Meta::default() }, None).unwrap_or_default();
        properties.subscription_identifiers.push(subscription);
        let publish = Publish::new(topic.as_bytes(), b"x".as_slice(), false);
        Forward { cursor: Some((0, offset)), size: 0, publish, properties: Some(properties) }
    }

    #[test]
    fn a_delivery_has_the_lower_qos_of_both_sides() {
        let mut session = Session::new(1);
        let id = session.upsert("a", "a", None, options(Qos::AtLeastOnce));
        for (published, delivered) in [
            (Qos::AtMostOnce, Qos::AtMostOnce),
            (Qos::AtLeastOnce, Qos::AtLeastOnce),
            (Qos::ExactlyOnce, Qos::AtLeastOnce),
        ] {
            let accepted = session.accept(forward("a", published, id, 0), None);
            assert_eq!(accepted.delivery.unwrap().qos, delivered);
        }
    }

    #[test]
    fn of_overlapping_subscriptions_the_oldest_delivers_with_the_highest_qos() {
        let mut session = Session::new(1);
        let old = session.upsert("a/#", "a/#", None, options(Qos::AtMostOnce));
        let young = session.upsert("a/b", "a/b", None, options(Qos::ExactlyOnce));
        assert!(session.accept(forward("a/b", Qos::ExactlyOnce, young, 0), None).delivery.is_none());
        let delivery = session.accept(forward("a/b", Qos::ExactlyOnce, old, 0), None).delivery;
        assert_eq!(delivery.unwrap().qos, Qos::ExactlyOnce);
        session.remove("a/#");
        assert!(session.accept(forward("a/b", Qos::ExactlyOnce, young, 1), None).delivery.is_some());
    }

    #[test]
    fn what_the_router_skipped_is_counted() {
        let mut session = Session::new(1);
        let id = session.upsert("a", "a", None, options(Qos::AtMostOnce));
        let skipped =
            [7, 8, 12].map(|offset| session.accept(forward("a", Qos::AtMostOnce, id, offset), None).skipped);
        assert_eq!(skipped, [0, 0, 3]);
    }

    #[test]
    fn packet_ids_in_flight_are_not_given_again() {
        let mut session = Session::new(1);
        session.last_packet_id = u16::MAX - 1;
        let ids = [0, 1, 2].map(|_| session.next_packet_id());
        assert_eq!(ids, [u16::MAX, 1, 2]);
    }
}
