//! MQTT's own vocabulary: a message, its quality of service, its properties, and what a topic name may be.
//!
//! Shared by the embedded broker and the local client. There is no I/O here.

use bytes::Bytes;

/// Quality of service, as MQTT numbers it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Qos {
    /// 0: sent once, never acknowledged.
    #[default]
    AtMostOnce = 0,
    /// 1: sent again until acknowledged.
    AtLeastOnce = 1,
    /// 2: delivered exactly once by a two-step handshake.
    ExactlyOnce = 2,
}

impl Qos {
    /// The QoS that a packet's two bits name; `None` for the reserved value 3 and beyond.
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// An application message: what PUBLISH carries, whichever protocol version brought it.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Topic name: UTF-8 without wildcards (a [`Bytes`], so that fan-out and echo do not copy it).
    pub topic: Bytes,
    /// Application payload.
    pub payload: Bytes,
    /// The QoS it was, or is to be, published with.
    pub qos: Qos,
    /// Whether the broker keeps it as the topic's last known value.
    pub retain: bool,
    /// MQTT 5 properties; `None` for the common case of none, so that it costs nothing.
    pub properties: Option<Box<Properties>>,
}

impl Message {
    /// A message without properties, QoS 0, not retained.
    pub fn new(topic: impl Into<Bytes>, payload: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), payload: payload.into(), ..Self::default() }
    }
}

/// The MQTT 5 properties of a PUBLISH that an application can see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// Where the sender wants the answer.
    pub response_topic: Option<String>,
    /// Echoed byte for byte with the answer.
    pub correlation_data: Option<Bytes>,
    /// Seconds the message may live.
    pub message_expiry_s: Option<u32>,
    /// MIME type of the payload.
    pub content_type: Option<String>,
    /// 1 when the payload is UTF-8 text.
    pub payload_format_indicator: Option<u8>,
    /// Name-value pairs, in order.
    pub user_properties: Vec<(String, String)>,
}

/// Whether `topic` may be published to: not empty, no wildcard, no NUL, at most 65,535 bytes (MQTT 3.1.1, 4.7).
pub fn is_topic_name(topic: &str) -> bool {
    !topic.is_empty()
        && topic.len() <= TOPIC_BYTES_MAX
        && !topic.bytes().any(|b| matches!(b, 0 | b'+' | b'#'))
}

/// Whether `filter` may be subscribed to (MQTT 3.1.1, 4.7.1): `+` fills a level, `#` only the last one.
pub fn is_topic_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > TOPIC_BYTES_MAX || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let wild = level.contains(['+', '#']);
        if wild && (level.len() > 1 || (level == "#" && levels.peek().is_some())) {
            return false;
        }
    }
    true
}

/// Whether a message on `topic` is for a subscription to `filter` (MQTT 3.1.1, 4.7). Both must be valid.
pub fn filter_matches(filter: &str, topic: &str) -> bool {
    let mut topic_levels = topic.split('/');
    // A wildcard in the first level does not see the broker's own topics [MQTT-4.7.2-1].
    if topic.starts_with('$') && filter.starts_with(['#', '+']) {
        return false;
    }
    for level in filter.split('/') {
        match (level, topic_levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    topic_levels.next().is_none()
}

/// Whether some topic matches both filters.
pub fn filters_overlap(one: &str, other: &str) -> bool {
    let (mut ones, mut others) = (one.split('/'), other.split('/'));
    loop {
        match (ones.next(), others.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

/// The longest topic name or filter that MQTT's length prefix can carry.
pub const TOPIC_BYTES_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_for_filters_and_fill_a_whole_level() {
        for name in ["a", "a/b", "/", "ml/inference/request", "ü/ß"] {
            assert!(is_topic_name(name) && is_topic_filter(name), "{name}");
        }
        for filter in ["#", "+", "a/#", "+/+/b", "/#"] {
            assert!(!is_topic_name(filter) && is_topic_filter(filter), "{filter}");
        }
        for (filter, topic) in [("a/#", "a"), ("a/+/c", "a/b/c"), ("#", "a/b"), ("a", "a"), ("+/b", "/b")] {
            assert!(filter_matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in
            [("a/+", "a"), ("a", "a/b"), ("#", "$SYS/x"), ("+/x", "$SYS/x"), ("a/b", "a/c")]
        {
            assert!(!filter_matches(filter, topic), "{filter} {topic}");
        }
        assert!(
            filters_overlap("a/+", "a/b") && filters_overlap("a/#", "a") && filters_overlap("+/b", "a/+")
        );
        assert!(!filters_overlap("a/b", "a/c") && !filters_overlap("a/+", "a"));
        for neither in ["", "a#", "#/a", "a/b+", "a\0b"] {
            assert!(!is_topic_name(neither) && !is_topic_filter(neither), "{neither:?}");
        }
    }
}
