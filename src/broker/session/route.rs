//! What is remembered between two publishes to the same topic.

use std::sync::Arc;

use bytes::Bytes;

use crate::broker::bus::subscriptions::Targets;

/// What is known of the topic that was published to last.
#[derive(Default)]
pub struct Route {
    pub topic: Bytes,
    /// Who gets what is published to it.
    pub targets: Arc<Targets>,
    /// The access rules' version that the topic was judged by.
    pub rights_version: u64,
    /// The response topic that was allowed last, and by which version.
    pub answers_topic: String,
    pub answers_version: u64,
}
