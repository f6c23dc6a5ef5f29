//! The retained messages: each topic's last known value, in memory, bounded in number and bytes.

use super::access::Access;
use super::memory::{ALLOCATION_BYTES, Charge};
use super::properties::ApplicationProperties;
use super::publication::Publication;
use super::source::Source;
use crate::mqtt::{Qos, filter_matches};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// What keeping a message takes beside topic, payload and properties: its place in the store, and their allocations.
const KEPT_BYTES: usize = 160 + 2 * ALLOCATION_BYTES;

/// A topic's last known value.
#[derive(Clone)]
pub(super) struct RetainedMessage {
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

    /// Whether whoever published it to `topic` may still do so.
    fn may_be_shown(&self, topic: &str, access: &dyn Access) -> bool {
        self.source.as_ref().is_none_or(|source| source.may_publish(topic, access))
    }

    /// What it takes of memory under `topic`.
    pub fn bytes(&self, topic: &str) -> usize {
        let source = self.source.as_ref().map_or(0, |source| source.bytes());
        KEPT_BYTES + topic.len() + self.payload.len() + self.properties.bytes() + source
    }

    fn is_expired(&self, now_ms: u64) -> bool {
        self.deadline_ms.is_some_and(|deadline| deadline <= now_ms)
    }
}

/// A change to the store, made in the order of the publishes.
pub(super) struct Change {
    pub topic: String,
    /// `None` clears.
    pub message: Option<RetainedMessage>,
}

/// The store.
pub(super) struct RetainedStore {
    messages: BTreeMap<String, RetainedMessage>,
    bytes: usize,
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
            messages: BTreeMap::new(),
            bytes: 0,
            messages_max,
            bytes_max,
            access,
            refused_messages: 0,
            refused_bytes: 0,
        }
    }

    /// How many are kept, and how many bytes they take.
    pub fn size(&self) -> (usize, usize) {
        (self.messages.len(), self.bytes)
    }

    /// How many were delivered but not kept, because the store was full.
    pub fn refused(&self) -> u64 {
        self.refused_messages + self.refused_bytes
    }

    pub fn apply(&mut self, change: Change) {
        let old = self.remove(&change.topic);
        let Some(message) = change.message else { return };
        let size = message.bytes(&change.topic);
        if self.messages.len() < self.messages_max && self.bytes + size <= self.bytes_max {
            self.bytes += size;
            self.messages.insert(change.topic, message);
            return;
        }
        if self.messages.len() >= self.messages_max {
            self.refused_messages += 1;
        } else {
            self.refused_bytes += 1;
        }
        // A stale value would be a lie, so the old one goes even though the new one does not fit.
        tracing::debug!(topic = %change.topic, replaced = old, "retained store is full, message not kept");
    }

    fn remove(&mut self, topic: &str) -> bool {
        let Some(old) = self.messages.remove(topic) else { return false };
        self.bytes -= old.bytes(topic);
        true
    }

    /// Everything under a filter that has not expired; what has is removed.
    pub fn matching(&mut self, filter: &str, now_ms: u64) -> Vec<(String, RetainedMessage)> {
        let wildcard = filter.find(['+', '#']);
        // `a/#` matches `a` too, so the range starts before the slash.
        let prefix = wildcard.map_or(filter, |at| filter[..at].trim_end_matches('/'));
        let range = (Bound::Included(prefix), Bound::Unbounded);
        let mut expired = Vec::new();
        let mut found = Vec::new();
        for (topic, message) in self.messages.range::<str, _>(range) {
            if !topic.starts_with(prefix) || (wildcard.is_none() && topic != filter) {
                break;
            }
            if message.is_expired(now_ms) {
                expired.push(topic.clone());
            } else if filter_matches(filter, topic) && message.may_be_shown(topic, &*self.access) {
                found.push((topic.clone(), message.clone()));
            }
        }
        for topic in expired {
            self.remove(&topic);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::access::AllowAll;

    fn store() -> RetainedStore {
        RetainedStore::new(3, 3 * (KEPT_BYTES + 2) + 100, Arc::new(AllowAll))
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
        store.apply(Change { topic: topic.to_owned(), message });
    }

    fn topics(store: &mut RetainedStore, filter: &str, now_ms: u64) -> Vec<String> {
        store.matching(filter, now_ms).into_iter().map(|(topic, _)| topic).collect()
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
        assert_eq!(store.size(), (1, KEPT_BYTES + 2));
    }
}
