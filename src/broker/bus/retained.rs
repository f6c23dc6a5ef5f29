//! The retained messages: each topic's last known value, in memory, bounded in number and bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::marks::Mark;
use super::publication::Publication;
use super::retained_shares::RetainedShares;
use super::source::Source;
use super::tree::Tree;
use super::walk::{Position, walk};
use crate::broker::access::Access;
use crate::broker::codec::properties::ApplicationProperties;
use crate::broker::limits::charge::Charge;
use crate::broker::limits::memory::ALLOCATION_BYTES;
use crate::broker::limits::reached::Limit;
use crate::broker::limits::refused::Cause;
use crate::broker::limits::shares::Owner;
use crate::broker::work::{SLICE_UNITS, Slice};
use crate::mqtt::{Qos, filter_matches};

/// Messages that a walk is given at once.
const GATHERED_MESSAGES_MAX: usize = 64;
/// Bytes of their payloads; the last one may exceed them.
const GATHERED_BYTES_MAX: usize = 256 * 1024;

/// Messages that are given up for another one at most, so that a large one costs no more time than others.
const GIVEN_UP_MAX: usize = 64;

/// What keeping a message takes beside topic, payload and properties: its place in the
/// store, which may split another, the one among its owner's, and their allocations.
const KEPT_BYTES: usize = 260 + 6 * ALLOCATION_BYTES;
/// And for each level of the topic.
const LEVEL_BYTES: usize = size_of::<Mark>();

/// A topic's last known value.
#[derive(Clone)]
pub struct RetainedMessage {
    pub payload: Bytes,
    pub properties: ApplicationProperties,
    pub qos: Qos,
    /// When it expires, in milliseconds of the bus's clock.
    pub deadline_ms: Option<u64>,
    /// Whose it is, where that matters.
    pub source: Option<Arc<Source>>,
    /// Counts it to its publisher for as long as anybody holds it.
    pub charge: Option<Arc<Charge>>,
}

impl RetainedMessage {
    /// What is kept of a publish.
    pub fn of(publication: &Publication, source: Option<Arc<Source>>) -> Self {
        Self {
            // A copy, so that a retained message does not pin the block it was read in.
            payload: Bytes::copy_from_slice(&publication.payload),
            properties: publication.properties.clone(),
            qos: publication.qos,
            deadline_ms: publication.deadline_ms,
            source,
            charge: None,
        }
    }

    /// The message again, as it is delivered. Who published it is not kept with it.
    pub fn publication(self, topic: String) -> Publication {
        let Self { payload, properties, qos, deadline_ms, .. } = self;
        Publication { topic: topic.into(), payload, properties, qos, deadline_ms, ..Publication::default() }
    }

    /// Whether whoever published it to `topic` may still do so.
    fn may_be_shown(&self, topic: &str, access: &dyn Access) -> bool {
        self.source.as_ref().is_none_or(|source| source.may_publish(topic, access))
    }

    /// What it takes of memory under `topic`.
    pub fn bytes(&self, topic: &str) -> usize {
        let source = self.source.as_ref().map_or(0, |source| source.bytes());
        let levels = 1 + topic.bytes().filter(|&byte| byte == b'/').count();
        // The topic is kept among its owner's; of the tree, where topics share what they
        // begin with, its levels count.
        let names = topic.len() + LEVEL_BYTES * levels;
        KEPT_BYTES + names + self.payload.len() + self.properties.bytes() + source
    }

    /// Whom it is counted to.
    fn owner(&self) -> Owner {
        self.charge.as_ref().map(|charge| charge.owner()).unwrap_or_default()
    }

    fn is_expired(&self, now_ms: u64) -> bool {
        self.deadline_ms.is_some_and(|deadline| deadline <= now_ms)
    }
}

/// A change to the store, made in the order of the publishes.
pub struct Change {
    pub topic: String,
    /// `None` clears.
    pub message: Option<RetainedMessage>,
}

/// Whose messages went, for whom, and at which limit.
#[derive(Debug, PartialEq, Eq)]
pub struct GaveWay {
    pub limit: Limit,
    pub hog: Owner,
    pub newcomer: Owner,
}

/// A message that was to be retained and is not.
#[derive(Debug, PartialEq, Eq)]
pub struct NotKept {
    pub topic: String,
    pub cause: Cause,
}

/// What came of a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Whose oldest messages went for it, where the store was full.
    pub gave_way: Option<GaveWay>,
    /// The message itself, where there was no room for it all the same.
    pub not_kept: Option<NotKept>,
}

/// A message in the store.
struct Stored {
    message: RetainedMessage,
    /// Changes that were made before it.
    number: u64,
}

/// The way of one subscription through what was retained when it began.
///
/// What changes after that is published to the subscription as well, so the walk
/// passes it over: an old value never follows a new one.
#[derive(Debug, Clone)]
pub struct Walk {
    position: Position,
    /// Changes that had been made when it began.
    changes: u64,
}

impl Walk {
    pub fn is_over(&self) -> bool {
        self.position == Position::End
    }
}

/// The store.
pub struct RetainedStore {
    tree: Tree<Stored>,
    shares: RetainedShares,
    messages: usize,
    bytes: usize,
    /// How many changes were ever made.
    changes: u64,
    messages_max: usize,
    bytes_max: usize,
    /// Who says whether a publisher may still publish.
    access: Arc<dyn Access>,
    /// How many found too many messages there.
    pub refused_messages: u64,
    /// How many found too many bytes there.
    pub refused_bytes: u64,
}

impl RetainedStore {
    pub fn new(messages_max: usize, bytes_max: usize, access: Arc<dyn Access>) -> Self {
        Self {
            tree: Tree::default(),
            shares: RetainedShares::default(),
            messages: 0,
            bytes: 0,
            changes: 0,
            messages_max,
            bytes_max,
            access,
            refused_messages: 0,
            refused_bytes: 0,
        }
    }

    /// How many are kept, and how many bytes they take.
    pub fn size(&self) -> (usize, usize) {
        (self.messages, self.bytes)
    }

    /// How many were delivered but not kept, because the store was full.
    pub fn refused(&self) -> u64 {
        self.refused_messages + self.refused_bytes
    }

    /// Makes a change.
    pub fn apply(&mut self, change: Change) -> Applied {
        let number = self.changes;
        self.changes += 1;
        // Also where the new value does not fit: a stale one would be a lie.
        self.remove(&change.topic);
        let Some(message) = change.message else { return Applied::default() };
        let (owner, bytes) = (message.owner(), message.bytes(&change.topic));
        let gave_way = self.make_room(&owner, bytes);
        let cause = match self.lacks(bytes) {
            None => {
                self.messages += 1;
                self.bytes += bytes;
                self.shares.add(&owner, number, &change.topic, bytes);
                *self.tree.place(&change.topic) = Some(Stored { message, number });
                return Applied { gave_way, not_kept: None };
            }
            Some(Limit::RetainedMessages) => {
                self.refused_messages += 1;
                Cause::RetainMessages
            }
            Some(_) => {
                self.refused_bytes += 1;
                Cause::RetainBytes
            }
        };
        Applied { gave_way, not_kept: Some(NotKept { topic: change.topic, cause }) }
    }

    /// The limit that leaves no room for a message of so many bytes.
    fn lacks(&self, bytes: usize) -> Option<Limit> {
        if self.messages >= self.messages_max {
            Some(Limit::RetainedMessages)
        } else if self.bytes + bytes > self.bytes_max {
            Some(Limit::RetainedBytes)
        } else {
            None
        }
    }

    /// Gives up the oldest messages of whoever has most, as far as that is somebody who
    /// has more than `newcomer` then has.
    fn make_room(&mut self, newcomer: &Owner, bytes: usize) -> Option<GaveWay> {
        let mut gave_way = None;
        for _ in 0..GIVEN_UP_MAX {
            let Some(limit) = self.lacks(bytes) else { break };
            let hog = match limit {
                Limit::RetainedMessages => self.shares.gives_message(newcomer),
                _ => self.shares.gives_bytes(newcomer, bytes),
            };
            let Some((hog, topic)) = hog.and_then(|hog| self.shares.oldest(&hog).map(|topic| (hog, topic)))
            else {
                break;
            };
            self.remove(&topic);
            gave_way.get_or_insert(GaveWay { limit, hog, newcomer: newcomer.clone() });
        }
        gave_way
    }

    /// What `owner`'s messages take.
    pub fn bytes_of(&self, owner: &Owner) -> usize {
        self.shares.bytes_of(owner)
    }

    /// Drops the oldest messages of `owner` that take `bytes` or a little more, or all
    /// of them, but a few at a time. Returns how many.
    pub fn give_up(&mut self, owner: &Owner, bytes: usize) -> u64 {
        let least = self.bytes.saturating_sub(bytes);
        let mut given_up = 0;
        while given_up < GIVEN_UP_MAX as u64
            && self.bytes > least
            && let Some(topic) = self.shares.oldest(owner)
            && self.remove(&topic)
        {
            given_up += 1;
        }
        given_up
    }

    /// Whether there was one.
    fn remove(&mut self, topic: &str) -> bool {
        let Some(old) = self.tree.remove(topic) else { return false };
        let bytes = old.message.bytes(topic);
        self.messages -= 1;
        self.bytes -= bytes;
        self.shares.remove(&old.message.owner(), old.number, bytes);
        true
    }

    /// Begins to go through what is retained now.
    pub fn walk(&self) -> Walk {
        Walk { position: Position::Start, changes: self.changes }
    }

    /// The next messages under a filter that have not expired, as far as the slice goes;
    /// what has expired is removed.
    pub fn gather(
        &mut self,
        filter: &str,
        on: &mut Walk,
        slice: &mut Slice,
        now_ms: u64,
    ) -> Vec<(String, RetainedMessage)> {
        let (mut found, mut bytes, mut expired) = (Vec::new(), 0, Vec::new());
        let began = on.changes;
        let messages_max = (SLICE_UNITS / self.access.effort().max(1)).clamp(1, GATHERED_MESSAGES_MAX);
        walk(&self.tree, filter, &mut on.position, slice, |topic, stored| {
            if stored.message.is_expired(now_ms) {
                expired.push(topic.to_owned());
            } else if stored.number < began && filter_matches(filter, topic) {
                bytes += stored.message.payload.len();
                found.push((topic.to_owned(), stored.message.clone()));
            }
            found.len() < messages_max && bytes < GATHERED_BYTES_MAX
        });
        for topic in expired {
            self.remove(&topic);
        }
        found.retain(|(topic, message): &(String, RetainedMessage)| {
            slice.spend(if message.source.is_some() { self.access.effort() } else { 0 });
            message.may_be_shown(topic, &*self.access)
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::access::AllowAll;

    fn store() -> RetainedStore {
        RetainedStore::new(3, 3 * (KEPT_BYTES + LEVEL_BYTES + 2) + 100, Arc::new(AllowAll))
    }

    fn keep(store: &mut RetainedStore, topic: &str, payload: &'static [u8], deadline_ms: Option<u64>) {
        let message = (!payload.is_empty()).then(|| RetainedMessage {
            payload: Bytes::from_static(payload),
            properties: ApplicationProperties::default(),
            qos: Qos::AtMostOnce,
            deadline_ms,
            source: None,
            charge: None,
        });
        // Whether it was kept is seen by what is there.
        let _kept = store.apply(Change { topic: topic.to_owned(), message });
    }

    fn topics(store: &mut RetainedStore, filter: &str, now_ms: u64) -> Vec<String> {
        let (mut walk, mut topics) = (store.walk(), Vec::new());
        while !walk.is_over() {
            let found = store.gather(filter, &mut walk, &mut Slice::new(), now_ms);
            topics.extend(found.into_iter().map(|(topic, _)| topic));
        }
        topics
    }

    #[test]
    fn a_filter_finds_what_it_matches_and_nothing_beside() {
        let mut store = store();
        for topic in ["a", "a/b", "ab"] {
            keep(&mut store, topic, b"1", None);
        }
        assert_eq!(topics(&mut store, "a/#", 0), ["a", "a/b"]);
        assert_eq!(topics(&mut store, "a", 0), ["a"]);
        assert_eq!(topics(&mut store, "+", 0), ["a", "ab"]);
        assert_eq!(topics(&mut store, "a/b/c", 0), [] as [&str; 0]);
    }

    #[test]
    fn an_expired_message_is_gone_and_its_bytes_with_it() {
        let mut store = store();
        keep(&mut store, "a", b"1", Some(10));
        assert_eq!(topics(&mut store, "a", 9), ["a"]);
        assert_eq!(topics(&mut store, "a", 10), [] as [&str; 0]);
        assert_eq!(store.size(), (0, 0));
    }

    #[test]
    fn a_full_store_refuses_counts_and_never_serves_a_stale_value() {
        let mut store = store();
        for topic in ["a", "b", "c", "d"] {
            keep(&mut store, topic, b"1", None);
        }
        assert_eq!((store.size().0, store.refused()), (3, 1));
        keep(&mut store, "a", &[b'x'; 500], None);
        assert_eq!(topics(&mut store, "a", 0), [] as [&str; 0]);
        keep(&mut store, "b", b"", None);
        assert_eq!(store.size(), (1, KEPT_BYTES + LEVEL_BYTES + 2));
    }

    #[test]
    fn a_walk_passes_over_what_was_published_after_it_began() {
        let mut store = store();
        keep(&mut store, "a", b"1", None);
        keep(&mut store, "b", b"1", None);
        let mut walk = store.walk();
        keep(&mut store, "b", b"2", None);
        keep(&mut store, "c", b"2", None);
        let found = store.gather("#", &mut walk, &mut Slice::new(), 0);
        assert!(walk.is_over());
        assert_eq!(found.iter().map(|(topic, _)| topic.as_str()).collect::<Vec<_>>(), ["a"]);
    }
}
