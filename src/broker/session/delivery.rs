//! A message on its way to one client.

use std::sync::Arc;

use crate::broker::bus::publication::Publication;
use crate::broker::bus::shared::Group;
use crate::broker::limits::memory::ALLOCATION_BYTES;
use crate::mqtt::Qos;

/// What a delivery takes in a queue that has grown by doubling.
pub const PLACE_BYTES: usize = size_of::<Delivery>() / 2 * 3;
/// What a delivery takes beside its parts: its place, the message behind two counters, and the allocations of
/// that, of topic and of payload.
pub const DELIVERY_BYTES: usize = PLACE_BYTES + size_of::<Publication>() + 16 + 3 * ALLOCATION_BYTES;

/// A message on its way to a client: what was published, and how this client gets it.
pub struct Delivery {
    /// Shared with all who get it.
    pub publication: Arc<Publication>,
    pub qos: Qos,
    pub retain: bool,
    /// Those of the client's subscriptions that it came for.
    pub identifiers: Vec<usize>,
    /// The shared group that it came by, which gives it to another member when this session ends.
    pub group: Option<Arc<Group>>,
}

impl Delivery {
    /// What it takes of memory where it waits, and so of a bound in bytes. The message counts for each
    /// receiver, although it may be shared.
    pub fn bytes(&self) -> usize {
        let Publication { topic, payload, properties, .. } = &*self.publication;
        let identifiers = self.identifiers.capacity() * size_of::<usize>();
        DELIVERY_BYTES + topic.len() + payload.len() + properties.bytes() + identifiers
    }

    /// Copies a payload that nobody else holds, so that a message that waits does not pin the block it was
    /// read in. Returns how many bytes that were.
    pub fn detach(&mut self) -> usize {
        Arc::get_mut(&mut self.publication).map_or(0, Publication::detach_large)
    }
}
