//! A message on its way to one client.

use std::sync::Arc;

use bytes::Bytes;

use crate::broker::bus::shared::Group;
use crate::broker::codec::properties::ApplicationProperties;
use crate::broker::limits::memory::ALLOCATION_BYTES;
use crate::mqtt::Qos;

/// What a delivery takes beside its parts: itself in a queue that has grown by
/// doubling, and the allocations of topic and payload.
pub const DELIVERY_BYTES: usize = size_of::<Delivery>() / 2 * 3 + 2 * ALLOCATION_BYTES;

/// A message on its way to a client.
pub struct Delivery {
    pub topic: Bytes,
    pub payload: Bytes,
    pub properties: ApplicationProperties,
    pub qos: Qos,
    pub retain: bool,
    pub identifiers: Vec<usize>,
    pub deadline_ms: Option<u64>,
    /// The shared group that it came by, which gives it to another member when this session ends.
    pub group: Option<Arc<Group>>,
}

impl Delivery {
    /// What it takes of memory where it waits, and so of a bound in bytes.
    pub fn bytes(&self) -> usize {
        let identifiers = self.identifiers.capacity() * size_of::<usize>();
        DELIVERY_BYTES + self.topic.len() + self.payload.len() + self.properties.bytes() + identifiers
    }

    /// Copies what it holds, so that a message that waits does not pin the large block it was read in.
    pub fn detach(&mut self) {
        self.topic = Bytes::copy_from_slice(&self.topic);
        self.payload = Bytes::copy_from_slice(&self.payload);
    }
}
