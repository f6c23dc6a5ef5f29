//! A message inside the broker: as it was published, and what must be known of it beside what the router carries.

use crate::mqtt::{Properties, Qos, Receipt, Sender};
use bytes::Bytes;
use rumqttd::protocol::PublishProperties;
use std::time::Instant;

/// What a message takes of every bound in bytes beside its topic, payload and properties: about what it takes of memory, and
/// more than the router's log counts for its frame.
const MESSAGE_BYTES: usize = 64;

/// A message as it was published.
#[derive(Debug, Clone, Default)]
pub(super) struct Publication {
    pub topic: Bytes,
    pub payload: Bytes,
    /// The publisher's own properties; the expiry is in `deadline_ms`.
    pub properties: Option<Box<PublishProperties>>,
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
    /// What it takes of a bound in bytes.
    pub fn bytes(&self) -> usize {
        message_bytes(&self.topic, &self.payload, self.properties.as_deref())
    }
}

/// What a message takes of a bound in bytes.
pub(super) fn message_bytes(topic: &[u8], payload: &[u8], properties: Option<&PublishProperties>) -> usize {
    MESSAGE_BYTES + topic.len() + payload.len() + property_bytes(properties)
}

/// What a publisher's properties take of a bound in bytes.
pub(super) fn property_bytes(properties: Option<&PublishProperties>) -> usize {
    let Some(own) = properties else { return 0 };
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let pairs: usize = own.user_properties.iter().map(|(name, value)| name.len() + value.len()).sum();
    let correlation = own.correlation_data.as_ref().map_or(0, Bytes::len);
    text(&own.response_topic) + text(&own.content_type) + correlation + pairs
}

/// The application's properties in the codec's form; the expiry travels separately.
pub(super) fn to_codec(properties: Properties) -> PublishProperties {
    PublishProperties {
        payload_format_indicator: properties.payload_format_indicator,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data,
        content_type: properties.content_type,
        user_properties: properties.user_properties,
        ..PublishProperties::default()
    }
}

/// The codec's properties as an application sees them; `expiry_s` is what is left of the message's life.
pub(super) fn from_codec(
    properties: Option<Box<PublishProperties>>,
    expiry_s: Option<u32>,
) -> Option<Box<Properties>> {
    if properties.is_none() && expiry_s.is_none() {
        return None;
    }
    let own = properties.map(|own| *own).unwrap_or_default();
    Some(Box::new(Properties {
        response_topic: own.response_topic,
        correlation_data: own.correlation_data,
        message_expiry_s: expiry_s,
        content_type: own.content_type,
        payload_format_indicator: own.payload_format_indicator,
        user_properties: own.user_properties,
    }))
}
