//! A message inside the broker: as it was published, and what must be known of it
//! beside what the router carries.

use std::time::Instant;

use bytes::Bytes;

use crate::broker::codec::properties::ApplicationProperties;
use crate::broker::limits::memory::ALLOCATION_BYTES;
use crate::mqtt::{Qos, Receipt, Sender};

/// What a message on its way takes of every bound in bytes beside its topic, payload
/// and properties: more than the router's log counts for its frame.
const MESSAGE_BYTES: usize = 64;
/// A payload that is not smaller stays in its block.
const DETACHED_BYTES_MAX: usize = 32 * 1024;

/// The same where it waits: itself behind two counters, its place in a queue that
/// has grown by doubling, and its parts' allocations.
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
}

/// What a message on its way takes of a bound in bytes.
pub fn message_bytes(topic: &[u8], payload: &[u8], properties: &ApplicationProperties) -> usize {
    MESSAGE_BYTES + topic.len() + payload.len() + properties.bytes()
}
