//! A client's session: subscriptions, what is on its way to it, and what it has half sent.
//!
//! All of MQTT's quality of service is here; the router knows none of it.

pub mod admission;
pub mod ahead;
pub mod awaited;
pub mod catching_up;
pub mod client;
pub mod context;
pub mod delivery;
pub mod ending;
pub mod farewell;
pub mod handover;
pub mod hello;
pub mod inbound;
pub mod inflight;
pub mod input;
pub mod liveness;
pub mod outbound;
pub mod output;
pub mod overlaps;
pub mod owed;
pub mod pace;
pub mod parked;
pub mod peer;
pub mod pending;
pub mod pressure;
pub mod publisher;
pub mod publishing;
pub mod registry;
pub mod rights;
pub mod route;
pub mod silence;
pub mod statistics;
pub mod subscribing;
pub mod subscription;
pub mod turns;
pub mod waiting;
pub mod will;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use self::delivery::Delivery;
use self::inflight::InflightMessages;
use self::overlaps::Overlaps;
use self::owed::Answered;
use self::pending::Pending;
use self::subscription::{Handles, Options, Subscription, Wish, subscription_bytes};
use crate::broker::access::{Access, Identity, may_read};
use crate::broker::bus::mailbox::Mailbox;
use crate::broker::bus::publication::Publication;
use crate::broker::bus::shared::Group;
use crate::broker::limits::charge::{Charge, Holder};
use crate::broker::limits::memory::{Memory, MemoryKind};
use crate::broker::limits::shares::Owner;
use crate::broker::limits::standing::{Listed, Standing, Worth};
use crate::broker::limits::traffic::{Held, Holding, Traffic};
use crate::broker::work::Slice;
use crate::mqtt::filter_matches;

/// What a session takes beside its client id and what it holds: itself, its mailbox,
/// the task that keeps it, and its places in tables.
const SESSION_BYTES: usize = 4 * 1024 + 512;
/// The id of a QoS 2 publish that is not released, in a table that has grown by
/// doubling; and with what it waits for.
const RECEIVING_BYTES: usize = 3;
const UNANSWERED_BYTES: usize = 96;

/// A client's session: what MQTT remembers of a client, and in `live` what ties it to the broker.
pub struct Session {
    /// Names the session in the origin of its publishes.
    pub uid: u64,
    subscriptions: HashMap<usize, Subscription>,
    by_filter: HashMap<String, usize>,
    /// Those that bring or cost something each for a message that several of them match.
    overlaps: Overlaps,
    next_subscription: usize,
    pub inflight: InflightMessages,
    /// How many at the end of `inflight` the client has not been sent on this
    /// connection: its window had no room.
    pub unsent: usize,
    pub pending: Pending,
    last_packet_id: u16,
    /// Packet ids of QoS 2 publishes that the client has not released.
    pub receiving: HashSet<u16>,
    /// Seconds that the session outlives its connection; `u32::MAX` for ever.
    pub expiry_s: u32,
    /// The access rules' version that its subscriptions were judged by.
    pub rights_version: u64,
    /// Whose it is.
    pub identity: Identity,
    /// What the filters of its subscriptions take.
    filter_bytes: usize,
    pub live: Live,
}

/// By what a session takes part in a running broker. None of it outlives the process.
pub struct Live {
    /// What was published for it and it has not taken yet.
    pub mailbox: Arc<Mailbox>,
    /// QoS 2 publishes that wait to be answered and were received on an earlier connection.
    pub unanswered: HashMap<u16, Arc<Answered>>,
    /// Told when a publish of the client has been answered.
    pub news: Arc<Notify>,
    /// Its part of what all sessions hold, once a connection has told it.
    pub holding: Option<Holding>,
    /// What others see of it.
    pub standing: Arc<Standing>,
    /// Among the sessions of its owner.
    pub listed: Option<Listed>,
    /// Counts what it takes of memory; `None` before it is counted.
    pub holder: Option<Arc<Holder>>,
    /// For the session itself and its subscriptions.
    charge: Charge,
}

impl Live {
    fn new(standing: Arc<Standing>) -> Self {
        Self {
            mailbox: Mailbox::new(standing.clone()),
            unanswered: HashMap::new(),
            news: Arc::new(Notify::new()),
            holding: None,
            standing,
            listed: None,
            holder: None,
            charge: Charge::default(),
        }
    }
}

impl Session {
    /// Counts what it takes to its owner from here on. For one that is counted already nothing changes.
    pub fn count_in(&mut self, memory: &Arc<Memory>) {
        if self.live.holder.is_some() {
            return;
        }
        let holder = memory.holder(self.live.standing.owner.clone(), Some(self.live.standing.clone()));
        self.live.mailbox.count_to(holder.charge(MemoryKind::Queues, 0));
        self.pending.count_to(holder.charge(MemoryKind::Queues, 0));
        self.inflight.count_to(holder.charge(MemoryKind::Queues, 0));
        self.live.charge =
            holder.charge(MemoryKind::Sessions, SESSION_BYTES + 4 * self.identity.client_id.len());
        let mailbox: Weak<Mailbox> = Arc::downgrade(&self.live.mailbox);
        holder.set_waiting(mailbox);
        self.live.holder = Some(holder);
        self.note_bytes();
    }

    /// Notes what it takes beside its queues.
    pub fn note_bytes(&mut self) {
        let receiving =
            self.receiving.capacity() * RECEIVING_BYTES + self.live.unanswered.capacity() * UNANSWERED_BYTES;
        let own = SESSION_BYTES + 4 * self.identity.client_id.len();
        self.live.charge.set(own + self.filter_bytes + receiving);
    }

    pub fn new(uid: u64, owner: Owner) -> Self {
        Self {
            uid,
            subscriptions: HashMap::new(),
            by_filter: HashMap::new(),
            overlaps: Overlaps::default(),
            next_subscription: 1,
            inflight: InflightMessages::default(),
            unsent: 0,
            pending: Pending::default(),
            last_packet_id: 0,
            receiving: HashSet::new(),
            expiry_s: 0,
            rights_version: 0,
            identity: Identity::default(),
            filter_bytes: 0,
            live: Live::new(Standing::new(uid, owner)),
        }
    }

    /// What would be lost with it while its client is away.
    pub fn worth(&self) -> Worth {
        if self.inflight.len() > 0 || !self.pending.is_empty() || !self.live.mailbox.is_empty() {
            Worth::Holding
        } else if self.subscriptions.is_empty() {
            Worth::Bare
        } else {
            Worth::Subscribed
        }
    }

    /// A packet id that no message in flight has.
    pub fn next_packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id.wrapping_add(1).max(1);
            if !self.inflight.has(self.last_packet_id) {
                return self.last_packet_id;
            }
        }
    }

    /// Tells the totals what it holds now.
    pub fn tell_holding(&mut self, traffic: &Arc<Traffic>) {
        let (put, taken) = self.live.mailbox.counts();
        let now = Held {
            inflight: self.inflight.len() as u64,
            messages: (self.inflight.len() + self.pending.len()) as u64 + (put - taken),
            bytes: (self.inflight.bytes() + self.pending.bytes()) as u64,
        };
        self.live.holding.get_or_insert_with(|| Holding::new(traffic.clone())).tell(now);
    }

    /// Where the message with this packet id is, if the client has been sent it on this connection.
    pub fn inflight_index(&self, packet_id: u16) -> Option<usize> {
        self.inflight.index_of(packet_id).filter(|&index| index < self.sent())
    }

    /// Messages that the client has been sent on this connection and has not acknowledged to the end.
    pub fn sent(&self) -> usize {
        self.inflight.len() - self.unsent
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

    /// The shared groups that it has a place in.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.subscriptions.values().filter_map(|own| own.live.membership.as_ref().map(|place| &place.group))
    }

    /// The subscriptions: the filter as the client spells it, and the same without the group.
    pub fn filters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_filter
            .iter()
            .filter_map(|(filter, id)| Some((filter.as_str(), self.subscriptions.get(id)?.path.as_str())))
    }

    /// Looks at the first message that waits for the client. It goes to the end of the queue, or
    /// away where no subscription asks for it any more or `access` does not let the client have it.
    pub fn review_pending(&mut self, access: &dyn Access) {
        let Some(delivery) = self.pending.pop_front() else { return };
        let name = std::str::from_utf8(&delivery.publication.topic).unwrap_or_default();
        let mut may_have = None;
        let is_wanted = self.subscriptions.values().any(|own| {
            filter_matches(&own.path, name)
                && (!own.is_judged
                    || *may_have.get_or_insert_with(|| self.may_have(&delivery.publication.topic, access)))
        });
        if is_wanted {
            self.pending.put_back(delivery);
        }
    }

    pub fn subscription_count(&self) -> usize {
        self.subscriptions.len()
    }

    /// Whether some topic under `path` falls under as many as `count` subscriptions with
    /// wildcards or of groups.
    pub fn overlaps(&self, path: &str, count: usize, slice: &mut Slice) -> bool {
        self.overlaps.reach(count, path, slice)
    }

    pub fn is_subscribed(&self, filter: &str) -> bool {
        self.by_filter.contains_key(filter)
    }

    /// Adds a subscription, or changes the options of the one with the same filter.
    /// `filter` is the client's spelling.
    pub fn upsert(&mut self, filter: &str, path: &str, group: Option<&str>, options: Options) -> usize {
        if let Some(&id) = self.by_filter.get(filter)
            && let Some(known) = self.subscriptions.get_mut(&id)
        {
            known.options = options;
            return id;
        }
        let id = self.next_subscription;
        self.next_subscription += 1;
        self.by_filter.insert(filter.to_owned(), id);
        let subscription = Subscription {
            path: path.to_owned(),
            group: group.map(str::to_owned),
            options,
            is_judged: false,
            live: Handles::default(),
        };
        self.overlaps.add(id, path, group.is_some());
        self.subscriptions.insert(id, subscription);
        self.filter_bytes += subscription_bytes(filter);
        self.note_bytes();
        id
    }

    /// Notes whether the rules allow a part of the filter (the client's spelling) alone.
    pub fn judge(&mut self, filter: &str, is_judged: bool) {
        if let Some(id) = self.by_filter.get(filter)
            && let Some(subscription) = self.subscriptions.get_mut(id)
        {
            subscription.is_judged = is_judged;
        }
    }

    /// Whether the rules let the client have messages of this topic.
    pub fn may_have(&self, topic: &[u8], access: &dyn Access) -> bool {
        may_read(access, &self.identity, topic)
    }

    /// Removes the subscription with this filter (the client's spelling), and thereby ends it.
    pub fn remove(&mut self, filter: &str) -> bool {
        let Some(id) = self.by_filter.remove(filter) else { return false };
        self.overlaps.remove(id);
        self.filter_bytes -= subscription_bytes(filter);
        self.note_bytes();
        self.subscriptions.remove(&id).is_some()
    }

    /// Gives its subscriptions away, each of which ends when it is dropped.
    pub fn take_subscriptions(&mut self) -> impl Iterator<Item = Subscription> + use<> {
        std::mem::take(&mut self.subscriptions).into_values()
    }

    /// What this client gets of a message that came for some of its subscriptions; `None` when
    /// nothing, because they have ended, do not want it, or may not have it, which `access` knows.
    pub fn accept(
        &self,
        publication: Arc<Publication>,
        subscriptions: &[usize],
        access: &dyn Access,
    ) -> Option<Delivery> {
        let is_own = publication.origin == Some(self.uid);
        let mut wish = Wish::default();
        // The answer is the same for all of them.
        let mut may_have = None;
        for subscription in subscriptions.iter().filter_map(|id| self.subscriptions.get(id)) {
            if !subscription.is_judged
                || *may_have.get_or_insert_with(|| self.may_have(&publication.topic, access))
            {
                wish.add(subscription.options, is_own);
            }
        }
        wish.is_any.then(|| Delivery {
            qos: wish.qos.min(publication.qos),
            retain: wish.retain_as_published && publication.retain,
            identifiers: wish.identifiers,
            publication,
            group: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::broker::access::AllowAll;
    use crate::mqtt::Qos;

    fn options(qos: Qos) -> Options {
        Options { qos, no_local: false, retain_as_published: false, identifier: None }
    }

    fn published(qos: Qos) -> Arc<Publication> {
        Arc::new(Publication { topic: Bytes::from_static(b"a/b"), qos, ..Publication::default() })
    }

    #[test]
    fn a_delivery_has_the_lower_qos_of_both_sides() {
        let mut session = Session::new(1, Owner::Node);
        let id = session.upsert("a/b", "a/b", None, options(Qos::AtLeastOnce));
        for (qos, delivered) in [
            (Qos::AtMostOnce, Qos::AtMostOnce),
            (Qos::AtLeastOnce, Qos::AtLeastOnce),
            (Qos::ExactlyOnce, Qos::AtLeastOnce),
        ] {
            assert_eq!(session.accept(published(qos), &[id], &AllowAll).unwrap().qos, delivered);
        }
    }

    #[test]
    fn overlapping_subscriptions_get_one_delivery_with_the_highest_qos_and_all_identifiers() {
        let mut session = Session::new(1, Owner::Node);
        let wide = Options { identifier: Some(7), ..options(Qos::AtMostOnce) };
        let old = session.upsert("a/#", "a/#", None, wide);
        let narrow = Options { identifier: Some(8), ..options(Qos::ExactlyOnce) };
        let young = session.upsert("a/b", "a/b", None, narrow);
        let delivery = session.accept(published(Qos::ExactlyOnce), &[old, young], &AllowAll).unwrap();
        assert_eq!((delivery.qos, delivery.identifiers), (Qos::ExactlyOnce, vec![7, 8]));
        session.remove("a/b");
        let delivery = session.accept(published(Qos::ExactlyOnce), &[old, young], &AllowAll).unwrap();
        assert_eq!((delivery.qos, delivery.identifiers), (Qos::AtMostOnce, vec![7]));
        session.remove("a/#");
        assert!(session.accept(published(Qos::ExactlyOnce), &[old, young], &AllowAll).is_none());
    }

    #[test]
    fn a_session_does_not_get_its_own_message_where_it_does_not_want_it() {
        let mut session = Session::new(1, Owner::Node);
        let id = session.upsert("a/b", "a/b", None, Options { no_local: true, ..options(Qos::AtMostOnce) });
        let by = |origin| {
            let topic = Bytes::from_static(b"a/b");
            Arc::new(Publication { topic, origin: Some(origin), ..Publication::default() })
        };
        assert!(
            session.accept(by(1), &[id], &AllowAll).is_none()
                && session.accept(by(2), &[id], &AllowAll).is_some()
        );
    }

    #[test]
    fn packet_ids_in_flight_are_not_given_again() {
        let mut session = Session::new(1, Owner::Node);
        session.last_packet_id = u16::MAX - 1;
        let ids = [0, 1, 2].map(|_| session.next_packet_id());
        assert_eq!(ids, [u16::MAX, 1, 2]);
    }
}
