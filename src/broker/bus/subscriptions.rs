//! Who has subscribed to what, as a tree of topic levels, and who therefore gets
//! what is published to a topic.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::filter_shares::{FilterShares, Room};
use super::gate::Gate;
use super::mailbox::Mailbox;
use super::shared::{Group, Member};
use super::tree::Tree;
use crate::broker::bus::carrier::lane::Lane;
use crate::broker::limits::standing::Standing;
use crate::broker::work::Slice;
use crate::mqtt::filter_matches;

/// Topics whose targets are remembered.
const REMEMBERED_TOPICS_MAX: usize = 4_096;
/// What they are called, in bytes.
const REMEMBERED_TOPIC_BYTES_MAX: usize = 1 << 20;
/// What remembering a topic takes beside its name and its receivers, and what each of those takes.
const REMEMBERED_BYTES: usize = 48 + 128 + 16;
const RECEIVER_BYTES: usize = 24 + 32 + 16;
/// The receivers of all of them together.
const REMEMBERED_RECEIVERS_MAX: usize = 65_536;

/// Someone who gets messages.
#[derive(Clone)]
pub enum Subscriber {
    /// A session, and its own number for the subscription.
    Session { mailbox: Arc<Mailbox>, subscription: usize },
    /// A group of a shared subscription.
    Group(Arc<Group>),
    /// An in-process link.
    Link(Arc<Lane>),
}

/// What tells the subscribers of a filter apart.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Session(u64, usize),
    Group(Box<str>),
    /// Where its lane is in memory.
    Link(usize),
}

impl Subscriber {
    /// The session that it is for; of a group its eldest member. An in-process link has none.
    fn standing(&self) -> Option<Arc<Standing>> {
        match self {
            Self::Session { mailbox, .. } => Some(mailbox.standing.clone()),
            Self::Group(group) => group.eldest(),
            Self::Link(_) => None,
        }
    }

    /// How many sessions it is: one or none.
    pub fn sessions(&self) -> u64 {
        matches!(self, Self::Session { .. }).into()
    }

    /// A group may have ended and another of its name have begun.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Group(group), Self::Group(other)) => Arc::ptr_eq(group, other),
            _ => self.key() == other.key(),
        }
    }

    /// Of a group.
    fn group(&self) -> Option<&str> {
        match self {
            Self::Group(group) => Some(&group.name),
            Self::Session { .. } | Self::Link(_) => None,
        }
    }

    fn key(&self) -> Key {
        match self {
            Self::Session { mailbox, subscription } => Key::Session(mailbox.session, *subscription),
            Self::Group(group) => Key::Group(group.name.as_str().into()),
            Self::Link(lane) => Key::Link(Arc::as_ptr(lane).addr()),
        }
    }
}

/// Who gets what is published to one topic.
#[derive(Default)]
pub struct Targets {
    /// The subscriptions' version that this was found in.
    pub version: u64,
    pub sessions: Vec<Recipient>,
    pub groups: Vec<Arc<Group>>,
    pub links: Vec<Arc<Lane>>,
}

/// A session, and all of its subscriptions that match.
pub struct Recipient {
    pub mailbox: Arc<Mailbox>,
    pub subscriptions: Arc<[usize]>,
}

impl Targets {
    /// Whether somebody gets it whose answer its publisher may wait for.
    pub fn wait_for_answers(&self) -> bool {
        self.links.iter().any(|lane| lane.is_answering)
    }

    /// The gates before those who get it, but for those of its own publisher.
    pub fn gates(&self, origin: u64) -> impl Iterator<Item = &Arc<Gate>> {
        let sessions = self.sessions.iter().filter(move |recipient| recipient.mailbox.session != origin);
        let groups =
            self.groups.iter().filter(move |group| group.gate.is_shut() && !group.has_member(origin));
        sessions.map(|recipient| &recipient.mailbox.gate).chain(groups.map(|group| &group.gate))
    }

    /// Whether any client gets it.
    pub fn has_clients(&self) -> bool {
        !self.sessions.is_empty() || !self.groups.is_empty()
    }
}

/// Who has subscribed to one filter. As such it counts once, and once more for each
/// group, which brings a copy of every message.
struct Subscribed {
    filter: Box<str>,
    subscribers: BTreeMap<Key, Subscriber>,
    /// How many of them are no groups.
    plain: usize,
    maker: Maker,
    group_makers: BTreeMap<Box<str>, Maker>,
}

/// The session that a filter is counted to: who made it, or one to whom that left
/// it. `None` where that is no client's.
type Maker = Option<Arc<Standing>>;

impl Subscribed {
    fn new(filter: &str) -> Self {
        let (subscribers, group_makers) = (BTreeMap::new(), BTreeMap::new());
        Self { filter: filter.into(), subscribers, plain: 0, maker: None, group_makers }
    }

    /// Adds a subscriber. Whether it is the first plain one, or a group that was not there.
    fn add(&mut self, subscriber: Subscriber) -> bool {
        let group = subscriber.group().map(Box::from);
        let is_known = self.subscribers.insert(subscriber.key(), subscriber).is_some();
        match group {
            Some(group) => self.group_makers.insert(group, None).is_none(),
            None if is_known => false,
            None => {
                self.plain += 1;
                self.plain == 1
            }
        }
    }

    /// Removes a subscriber. Who made what ends with that, if it was the last plain one, or a group.
    fn remove(&mut self, subscriber: &Subscriber) -> Option<Maker> {
        let key = subscriber.key();
        self.subscribers.get(&key).filter(|known| known.is(subscriber))?;
        self.subscribers.remove(&key);
        match subscriber.group() {
            Some(group) => self.group_makers.remove(group),
            None => {
                self.plain -= 1;
                (self.plain == 0).then(|| self.maker.take())
            }
        }
    }

    fn maker(&mut self, group: Option<&str>) -> Option<&mut Maker> {
        match group {
            Some(group) => self.group_makers.get_mut(group),
            None => Some(&mut self.maker),
        }
    }

    /// Somebody who is still subscribed.
    fn heir(&self, group: Option<&str>) -> Maker {
        match group {
            Some(group) => self.subscribers.get(&Key::Group(group.into()))?.standing(),
            None => {
                self.subscribers.values().filter(|own| own.group().is_none()).find_map(Subscriber::standing)
            }
        }
    }
}

/// Every subscription.
pub struct Subscriptions {
    tree: Tree<Subscribed>,
    filters: usize,
    shares: FilterShares,
    /// Moves with every change, and can be read without the tree.
    version: Arc<AtomicU64>,
    /// Targets that were found in the present version.
    remembered: HashMap<Bytes, Arc<Targets>>,
    remembered_receivers: usize,
    remembered_topic_bytes: usize,
}

impl Subscriptions {
    /// None, of which clients may make so many distinct filters.
    pub fn new(filters_max: usize) -> Self {
        Self {
            tree: Tree::default(),
            filters: 0,
            shares: FilterShares::new(filters_max),
            version: Arc::default(),
            remembered: HashMap::new(),
            remembered_receivers: 0,
            remembered_topic_bytes: 0,
        }
    }

    /// A number that moves with every change.
    pub fn version(&self) -> Arc<AtomicU64> {
        self.version.clone()
    }

    /// Distinct filters that anyone has subscribed to, those of each group for themselves.
    pub fn filters(&self) -> usize {
        self.filters
    }

    /// What the remembered targets take of memory.
    pub fn remembered_bytes(&self) -> usize {
        self.remembered.capacity() * REMEMBERED_BYTES
            + self.remembered_topic_bytes
            + self.remembered_receivers * RECEIVER_BYTES
    }

    /// Forgets who gets what, until somebody asks again.
    pub fn forget_targets(&mut self) {
        self.forget();
        self.remembered.shrink_to_fit();
    }

    /// Whether somebody has subscribed to the filter, or to it in the group.
    pub fn knows(&self, filter: &str, group: Option<&str>) -> bool {
        self.tree.get(filter).is_some_and(|subscribed| match group {
            Some(group) => subscribed.group_makers.contains_key(group),
            None => subscribed.plain > 0,
        })
    }

    /// Whether a session may subscribe to `filter`, which is no more than another
    /// subscriber where it, or its group, has some already.
    pub fn room(&self, filter: &str, group: Option<&str>, newcomer: &Standing) -> Room {
        match self.shares.room(newcomer) {
            Room::Free => Room::Free,
            _ if self.knows(filter, group) => Room::Free,
            room => room,
        }
    }

    /// The session has to go, and makes room with that.
    pub fn evict(&mut self, session: &Standing) {
        self.shares.evict(session);
    }

    pub fn insert(&mut self, filter: &str, subscriber: Subscriber) {
        let standing = subscriber.standing();
        let group: Option<Box<str>> = subscriber.group().map(Box::from);
        let subscribed = self.tree.place(filter).get_or_insert_with(|| Subscribed::new(filter));
        if subscribed.add(subscriber) {
            self.filters += 1;
            self.recount(filter, group.as_deref(), standing);
        }
        self.note_change();
    }

    pub fn remove(&mut self, filter: &str, subscriber: &Subscriber) {
        let Some(subscribed) = self.tree.get_mut(filter) else { return self.note_change() };
        let ended = subscribed.remove(subscriber);
        if subscribed.subscribers.is_empty() {
            self.tree.remove(filter);
        }
        if let Some(maker) = ended {
            self.filters -= 1;
            maker.iter().for_each(|maker| self.shares.subtract(maker));
        } else if let Subscriber::Session { mailbox, .. } = subscriber {
            self.pass_on(filter, None, mailbox.session);
        }
        self.note_change();
    }

    /// A session has left a filter, or a group, that others are still subscribed to: one
    /// of them has it counted now.
    fn pass_on(&mut self, filter: &str, group: Option<&str>, session: u64) {
        let Some(subscribed) = self.tree.get_mut(filter) else { return };
        let maker = subscribed.maker(group).and_then(|maker| maker.as_ref());
        if maker.is_some_and(|maker| maker.session == session) {
            let heir = subscribed.heir(group);
            self.recount(filter, group, heir);
        }
    }

    /// Counts a filter, or a group's, to `maker`, and no longer to whom it was counted.
    fn recount(&mut self, filter: &str, group: Option<&str>, maker: Maker) {
        let Some(own) = self.tree.get_mut(filter).and_then(|subscribed| subscribed.maker(group)) else {
            return;
        };
        let before = std::mem::replace(own, maker.clone());
        before.iter().for_each(|before| self.shares.subtract(before));
        maker.iter().for_each(|maker| self.shares.add(maker));
    }

    /// The group of this name and filter, if it has members.
    pub fn group(&self, filter: &str, name: &str) -> Option<Arc<Group>> {
        match self.tree.get(filter)?.subscribers.get(&Key::Group(name.into()))? {
            Subscriber::Group(group) => Some(group.clone()),
            Subscriber::Session { .. } | Subscriber::Link(_) => None,
        }
    }

    /// The group of this name and filter, made by `make` if there is none, with one more member.
    pub fn join(
        &mut self,
        filter: &str,
        name: &str,
        member: Member,
        make: impl FnOnce() -> Group,
    ) -> Arc<Group> {
        if let Some(group) = self.group(filter, name) {
            group.join(member);
            return group;
        }
        let group = Arc::new(make());
        // With its member, to which the filter is counted.
        group.join(member);
        self.insert(filter, Subscriber::Group(group.clone()));
        group
    }

    /// Takes a session out of a group, and the group away with its last member. Whether it was the last.
    pub fn leave(&mut self, group: &Arc<Group>, session: u64) -> bool {
        let is_last = group.leave(session);
        if is_last {
            self.remove(&group.filter, &Subscriber::Group(group.clone()));
        }
        self.pass_on(&group.filter, Some(&group.name), session);
        is_last
    }

    fn note_change(&mut self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.forget();
    }

    fn forget(&mut self) {
        self.remembered.clear();
        self.remembered_receivers = 0;
        self.remembered_topic_bytes = 0;
    }

    /// Who gets what is published to `topic`, which is a topic name.
    pub fn targets(&mut self, topic: &Bytes, slice: &mut Slice) -> Arc<Targets> {
        if let Some(known) = self.remembered.get(topic) {
            return known.clone();
        }
        let targets = Arc::new(self.find(std::str::from_utf8(topic).unwrap_or_default(), slice));
        let receivers = targets.sessions.len() + targets.groups.len() + targets.links.len();
        let is_full = self.remembered.len() >= REMEMBERED_TOPICS_MAX
            || self.remembered_receivers + receivers > REMEMBERED_RECEIVERS_MAX
            || self.remembered_topic_bytes + topic.len() > REMEMBERED_TOPIC_BYTES_MAX;
        if is_full {
            self.forget();
        }
        self.remembered_receivers += receivers;
        self.remembered_topic_bytes += topic.len();
        // A copy, so that the key does not pin the block that the topic was read in.
        self.remembered.insert(Bytes::copy_from_slice(topic), targets.clone());
        targets
    }

    fn find(&self, topic: &str, slice: &mut Slice) -> Targets {
        let mut found = Vec::new();
        self.tree.find(topic, slice, |subscribed| {
            if filter_matches(&subscribed.filter, topic) {
                found.extend(subscribed.subscribers.values());
            }
        });
        slice.spend(found.len());
        sort(found, self.version.load(Ordering::Acquire))
    }
}

/// Brings each session's subscriptions together; a link or a group gets a message once anyway.
fn sort(found: Vec<&Subscriber>, version: u64) -> Targets {
    let mut targets = Targets { version, ..Targets::default() };
    let mut sessions = Vec::new();
    for subscriber in found {
        match subscriber {
            Subscriber::Session { mailbox, subscription } => sessions.push((mailbox, *subscription)),
            Subscriber::Group(group) => targets.groups.push(group.clone()),
            Subscriber::Link(lane) => {
                if !targets.links.iter().any(|known| Arc::ptr_eq(known, lane)) {
                    targets.links.push(lane.clone());
                }
            }
        }
    }
    sessions.sort_unstable_by_key(|(mailbox, subscription)| (mailbox.session, *subscription));
    let recipients = sessions.chunk_by(|(one, _), (other, _)| one.session == other.session);
    targets.sessions = recipients
        .map(|same| Recipient {
            mailbox: same[0].0.clone(),
            subscriptions: same.iter().map(|(_, subscription)| *subscription).collect(),
        })
        .collect();
    targets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::broker::config::SharedStrategy;
    use crate::broker::limits::shares::Owner;

    fn found(subscriptions: &mut Subscriptions, topic: &str) -> Vec<usize> {
        let targets = subscriptions.targets(&Bytes::copy_from_slice(topic.as_bytes()), &mut Slice::new());
        targets.sessions.iter().flat_map(|recipient| recipient.subscriptions.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn the_tree_finds_exactly_what_matches(
            filters in prop::collection::vec("([$+ab]?)(/[+ab]?){0,3}(/#)?|#", 1..8),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            topic in "[$ab]?(/[ab]?){0,3}",
        ) {
            let mailbox = Mailbox::of(1);
            let mut subscriptions = Subscriptions::new(1_000_000);
            let subscriber = |subscription| Subscriber::Session { mailbox: mailbox.clone(), subscription };
            let mut expected: Vec<_> = filters.iter().enumerate().collect();
            for (number, filter) in &expected {
                subscriptions.insert(filter, subscriber(*number));
            }
            found(&mut subscriptions, &topic);
            for index in removed {
                let number = index.index(filters.len());
                subscriptions.remove(&filters[number], &subscriber(number));
                expected.retain(|(other, _)| *other != number);
            }
            let mut distinct: Vec<_> = expected.iter().map(|(_, filter)| *filter).collect();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(subscriptions.filters(), distinct.len());
            expected.retain(|(_, filter)| filter_matches(filter, &topic));
            let expected: Vec<_> = expected.into_iter().map(|(number, _)| number).collect();
            prop_assert_eq!(found(&mut subscriptions, &topic), expected);
        }
    }

    #[test]
    fn nothing_is_left_of_what_was_removed() {
        let mut subscriptions = Subscriptions::new(1_000_000);
        let subscriber = Subscriber::Session { mailbox: Mailbox::of(1), subscription: 1 };
        subscriptions.insert("a/b/#", subscriber.clone());
        subscriptions.insert("a", subscriber.clone());
        assert!(subscriptions.knows("a/b/#", None) && !subscriptions.knows("a/b", None));
        subscriptions.remove("a/b/#", &subscriber);
        subscriptions.remove("a", &subscriber);
        subscriptions.remove("a", &subscriber);
        assert_eq!((subscriptions.filters(), subscriptions.tree.is_empty()), (0, true));
    }

    #[test]
    fn what_is_remembered_is_bounded_in_topics_and_in_receivers() {
        let mut subscriptions = Subscriptions::new(1_000_000);
        let ask = |subscriptions: &mut Subscriptions, number: usize| {
            let targets = subscriptions.targets(&Bytes::from(number.to_string()), &mut Slice::new());
            (targets.sessions.len(), subscriptions.remembered.len(), subscriptions.remembered_receivers)
        };
        for number in 0..=REMEMBERED_TOPICS_MAX {
            let (receivers, topics, _) = ask(&mut subscriptions, number);
            assert!(receivers == 0 && topics <= REMEMBERED_TOPICS_MAX);
        }
        for session in 0..100 {
            subscriptions.insert("#", Subscriber::Session { mailbox: Mailbox::of(session), subscription: 1 });
        }
        for number in 0..1_000 {
            let (receivers, _, remembered) = ask(&mut subscriptions, number);
            assert!(receivers == 100 && remembered <= REMEMBERED_RECEIVERS_MAX);
        }
    }

    #[test]
    fn a_session_gets_one_copy_for_all_of_its_subscriptions() {
        let mut subscriptions = Subscriptions::new(1_000_000);
        let (one, other) = (Mailbox::of(1), Mailbox::of(2));
        for (filter, mailbox, subscription) in [("a/#", &one, 1), ("a/+", &other, 1), ("a/b", &one, 2)] {
            subscriptions.insert(filter, Subscriber::Session { mailbox: mailbox.clone(), subscription });
        }
        let targets = subscriptions.targets(&Bytes::from_static(b"a/b"), &mut Slice::new());
        let copies: Vec<_> =
            targets.sessions.iter().map(|copy| (copy.mailbox.session, copy.subscriptions.to_vec())).collect();
        assert_eq!(copies, [(1, vec![1, 2]), (2, vec![1])]);
    }

    #[test]
    fn each_group_counts_beside_the_filter_and_is_counted_to_a_member() {
        let mut subscriptions = Subscriptions::new(3);
        let (one, other) = (Standing::new(1, Owner::Node), Standing::new(2, Owner::Node));
        let plain = Subscriber::Session { mailbox: Mailbox::new(one.clone()), subscription: 1 };
        subscriptions.insert("#", plain.clone());
        let join = |subscriptions: &mut Subscriptions, name: &str, standing: &Arc<Standing>| {
            let member = Member {
                standing: standing.clone(),
                subscription: 2,
                queue: Arc::default(),
                judge: None,
                holder: None,
            };
            subscriptions.join("#", name, member, || Group::new(name, "#", SharedStrategy::Sticky, 1_000))
        };
        let [first, _] = ["a", "b"].map(|name| join(&mut subscriptions, name, &one));
        assert_eq!((subscriptions.filters(), one.filters.load(Ordering::Relaxed)), (3, 3));
        assert!(subscriptions.room("#", Some("c"), &one) != Room::Free);
        assert!(subscriptions.room("#", Some("a"), &other) == Room::Free);
        join(&mut subscriptions, "a", &other);
        subscriptions.leave(&first, 1);
        assert_eq!([&one, &other].map(|own| own.filters.load(Ordering::Relaxed)), [2, 1]);
        subscriptions.leave(&first, 2);
        subscriptions.remove("#", &plain);
        assert_eq!((subscriptions.filters(), one.filters.load(Ordering::Relaxed)), (1, 1));
        assert!(!subscriptions.knows("#", None) && subscriptions.knows("#", Some("b")));
    }
}
