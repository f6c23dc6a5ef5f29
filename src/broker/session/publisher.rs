//! What a client publishes with: its batch, the topic it published to last, its aliases and its rate.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::time::Instant;

use super::output::ALIAS_BYTES;
use super::pace::Pace;
use super::route::Route;
use crate::broker::bus::batch::Batch;
use crate::broker::config::Limits;

/// A client as one that publishes.
pub struct Publisher {
    /// On its way to the router.
    pub batch: Batch,
    pub route: Route,
    pub aliases: Aliases,
    /// How fast it may publish; `None` for any rate.
    pub pace: Option<Pace>,
}

impl Publisher {
    pub fn new(batch: Batch, limits: &Limits, now: Instant) -> Self {
        let pace = Pace::new(limits.publish_messages_per_s_max, limits.publish_burst_messages_max, now);
        Self { batch, route: Route::default(), aliases: Aliases::default(), pace }
    }
}

/// The topic aliases that a client has set (MQTT 5, 3.3.2.3.4).
#[derive(Default)]
pub struct Aliases {
    topics: HashMap<u16, Bytes>,
    /// What they stand for, in bytes.
    bytes: usize,
}

impl Aliases {
    pub fn get(&self, alias: u16) -> Option<Bytes> {
        self.topics.get(&alias).cloned()
    }

    /// A copy of the topic is kept, so that an alias does not pin the block that it was read in.
    pub fn set(&mut self, alias: u16, topic: &[u8]) {
        let before = self.topics.insert(alias, Bytes::copy_from_slice(topic));
        self.bytes += topic.len();
        self.bytes -= before.map_or(0, |topic| topic.len());
    }

    /// What they take of memory.
    pub fn held_bytes(&self) -> usize {
        self.topics.len() * ALIAS_BYTES + self.bytes
    }
}
