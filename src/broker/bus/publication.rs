//! A message inside the broker: as it was published, and what must be known of it
//! beside what the router carries.

use std::time::Instant;

use bytes::Bytes;

use crate::broker::codec::properties::ApplicationProperties;
use crate::broker::limits::memory::ALLOCATION_BYTES;
use crate::mqtt::{Message, Qos, Receipt, Sender};

/// What a message on its way takes of every bound in bytes beside its topic, payload
/// and properties: more than the router's log counts for its frame.
const MESSAGE_BYTES: usize = 64;
/// A payload that is not smaller stays in its block.
const DETACHED_BYTES_MAX: usize = 32 * 1024;

/// What it takes of memory where it waits, beside those: itself behind two counters, its place in a queue
/// that has grown by doubling, and its parts' allocations.
const WAITING_BYTES: usize = size_of::<Publication>() + 16 + 48 + 2 * ALLOCATION_BYTES;

/// A message as it was published.
#[derive(Debug, Clone, Default)]
pub struct Publication {
    pub topic: Bytes,
    pub payload: Bytes,
    /// The publisher's own properties; the expiry is in `deadline_ms`.
    pub properties: ApplicationProperties,
    pub qos: Qos,
    pub retain: bool,
    /// The publishing session.
    pub origin: Option<u64>,
    /// When it expires, in milliseconds of the bus's clock.
    pub deadline_ms: Option<u64>,
    /// Who published it; only set for in-process links that asked.
    pub sender: Option<Box<Sender>>,
    /// When it was taken from its connection; only set for in-process links.
    pub received_at: Option<Instant>,
    /// Its publisher may have sent it before.
    pub is_duplicate: bool,
    /// What its publisher waits for, or whose publisher waits for it as an answer.
    pub receipt: Option<Receipt>,
}

impl Publication {
    /// What it takes on its way through the router, in bytes.
    pub fn bytes(&self) -> usize {
        message_bytes(&self.topic, &self.payload, &self.properties)
    }

    /// What it takes of memory where it waits for one receiver. Topic and payload count
    /// for each, although they may be shared.
    pub fn waiting_bytes(&self) -> usize {
        WAITING_BYTES + self.topic.len() + self.payload.len() + self.properties.bytes()
    }

    /// Copies the payload, so that a message that waits does not keep the block that it
    /// was read in. That of a large one has twice as much at most.
    pub fn detach(&mut self) {
        if self.payload.len() < DETACHED_BYTES_MAX {
            self.payload = Bytes::copy_from_slice(&self.payload);
        }
    }

    /// Copies a payload that [`detach`](Self::detach) leaves in its block. Returns how many bytes that were.
    pub fn detach_large(&mut self) -> usize {
        if self.payload.len() < DETACHED_BYTES_MAX {
            return 0;
        }
        self.payload = Bytes::copy_from_slice(&self.payload);
        self.payload.len()
    }

    /// Whether its life has an end that has come.
    pub fn is_expired(&self, now_ms: impl FnOnce() -> u64) -> bool {
        self.expiry_s(now_ms) == Some(0)
    }

    /// Seconds that are left of its life, where it has an end. Only such a message asks for the time:
    /// two looks at the clock for each answer were 2.5 % of the intake's time (docs/performance.md).
    pub fn expiry_s(&self, now_ms: impl FnOnce() -> u64) -> Option<u32> {
        let left_ms = self.deadline_ms?.saturating_sub(now_ms());
        Some(u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX))
    }

    /// What an application publishes.
    pub fn of_application(message: Message, now_ms: impl FnOnce() -> u64) -> Self {
        let Message { topic, payload, qos, retain, properties, receipt, .. } = message;
        let own = properties.as_deref();
        let expiry_s = own.and_then(|own| own.message_expiry_s);
        Self {
            topic,
            payload,
            properties: own.map(ApplicationProperties::of_application).unwrap_or_default(),
            qos,
            retain,
            deadline_ms: expiry_s.map(|s| now_ms() + u64::from(s) * 1_000),
            receipt,
            ..Self::default()
        }
    }

    /// The message as an application gets it.
    pub fn into_application(self, now_ms: impl FnOnce() -> u64) -> Message {
        let properties = self.properties.to_application(self.expiry_s(now_ms));
        let Self { topic, payload, qos, sender, received_at, is_duplicate, receipt, .. } = self;
        Message { topic, payload, qos, retain: false, properties, sender, received_at, is_duplicate, receipt }
    }
}

/// What a message on its way takes of a bound in bytes.
pub fn message_bytes(topic: &[u8], payload: &[u8], properties: &ApplicationProperties) -> usize {
    MESSAGE_BYTES + topic.len() + payload.len() + properties.bytes()
}
