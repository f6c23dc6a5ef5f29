//! MQTT's own vocabulary: a message, its quality of service, its properties, and what a topic name may be.
//!
//! Shared by the embedded broker and the local client. There is no I/O here.
//!
//! ```
//! use nearfar::mqtt::{Message, filter_matches, is_topic_name};
//!
//! let message = Message::new("ml/inference/request", "{}");
//! assert_eq!(message.payload, "{}");
//! assert!(is_topic_name("ml/inference/request") && filter_matches("ml/+/request", "ml/inference/request"));
//! ```

pub(crate) mod packet;
mod receipt;
mod user_properties;

use std::time::Instant;

use bytes::Bytes;

pub use self::receipt::{Receipt, Settlement};
pub use self::user_properties::UserProperties;

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
    /// Who published it, where the broker was asked to tell. It is the broker's word, not the client's.
    pub sender: Option<Box<Sender>>,
    /// Received: its publisher may have sent it before (MQTT's DUP flag).
    pub is_duplicate: bool,
    /// Received: when the broker took it from its publisher's connection, where that is known.
    pub received_at: Option<Instant>,
    /// Received: what its publisher waits for. Published: whose publisher waits for this
    /// message, as its answer.
    pub receipt: Option<Receipt>,
}

/// Who published a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sender {
    /// The client's id.
    pub client_id: String,
    /// The user that it has proved to be.
    pub user: Option<String>,
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
    pub user_properties: UserProperties,
}

/// Whether `topic` may be published to: not empty, no wildcard, no NUL, at most
/// 65,535 bytes (MQTT 3.1.1, 4.7).
pub fn is_topic_name(topic: &str) -> bool {
    !topic.is_empty()
        && topic.len() <= TOPIC_BYTES_MAX
        && !topic.bytes().any(|b| matches!(b, 0 | b'+' | b'#'))
}

/// Whether `filter` may be subscribed to (MQTT 3.1.1, 4.7.1): `+` fills a level, `#` only the last one.
pub fn is_topic_filter(filter: &str) -> bool {
    let bytes = filter.as_bytes();
    let ends_level = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_none_or(|&byte| byte == b'/');
    // Byte by byte: there may be 65,536 levels.
    let is_sound = |(at, &byte): (usize, &u8)| match byte {
        0 => false,
        b'+' => ends_level(at.checked_sub(1)) && ends_level(Some(at + 1)),
        b'#' => ends_level(at.checked_sub(1)) && at + 1 == bytes.len(),
        _ => true,
    };
    !filter.is_empty() && filter.len() <= TOPIC_BYTES_MAX && bytes.iter().enumerate().all(is_sound)
}

/// Why `filter` cannot be subscribed to, with what would do; none where it can be.
pub fn why_no_filter(filter: &str) -> Option<String> {
    if is_topic_filter(filter) {
        return None;
    }
    let misplaced =
        |wildcard: char| filter.split('/').find(|level| level.contains(wildcard) && level.len() > 1);
    Some(if filter.is_empty() {
        "it is empty".to_owned()
    } else if filter.len() > TOPIC_BYTES_MAX {
        format!("it is longer than {TOPIC_BYTES_MAX} bytes")
    } else if let Some(level) = misplaced('#').or_else(|| misplaced('+')) {
        format!("'#' and '+' stand for whole levels, so nothing may stand beside one as in {level:?}")
    } else if let Some((before, _)) = filter.split_once('#') {
        format!(
            "'#' stands for all levels from there on, so it is the last one, as in \"{before}#\"; '+' stands for one level"
        )
    } else {
        "it has a zero byte".to_owned()
    })
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
    levels_overlap(one.split('/'), other.split('/'))
}

fn is_wild(level: &str) -> bool {
    matches!(level, "+" | "#")
}

/// [`filters_overlap`] on the levels of both.
pub fn levels_overlap<'a, 'b>(
    ones: impl Iterator<Item = &'a str>,
    others: impl Iterator<Item = &'b str>,
) -> bool {
    let (mut ones, mut others) = (ones.peekable(), others.peekable());
    // A wildcard in the first level does not see the broker's own topics [MQTT-4.7.2-1].
    if let (Some(one), Some(other)) = (ones.peek(), others.peek())
        && (is_wild(one) && other.starts_with('$') || is_wild(other) && one.starts_with('$'))
    {
        return false;
    }
    loop {
        match (ones.next(), others.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

/// Whether every topic that matches the filter `inner` matches `outer` too. Given the levels of both.
pub fn levels_cover<'a, 'b>(
    outer: impl Iterator<Item = &'a str>,
    inner: impl Iterator<Item = &'b str>,
) -> bool {
    let (mut outer, mut inner) = (outer.peekable(), inner.peekable());
    // A wildcard in the first level does not see the broker's own topics [MQTT-4.7.2-1].
    if outer.peek().is_some_and(|first| is_wild(first))
        && inner.peek().is_some_and(|first| first.starts_with('$'))
    {
        return false;
    }
    let mut is_first = true;
    loop {
        match (outer.next(), inner.next()) {
            (Some("#"), _) | (None, None) => return true,
            // `+/#` is every topic there is, for each has a first level. Further down `a/#` is
            // also `a`, which `a/+/#` is not.
            (Some("+"), Some("#")) => return is_first && outer.next() == Some("#"),
            (Some("+"), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
        is_first = false;
    }
}

/// The longest topic name or filter that MQTT's length prefix can carry.
pub const TOPIC_BYTES_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        assert!(!filters_overlap("#", "$SYS/#") && !filters_overlap("$SYS/x", "+/x"));
        assert!(filters_overlap("$SYS/#", "$SYS/+/x") && filters_overlap("a/$SYS", "a/#"));
        for neither in ["", "a#", "#/a", "a/b+", "a\0b"] {
            assert!(!is_topic_name(neither) && !is_topic_filter(neither), "{neither:?}");
        }
    }

    /// Every topic of up to five levels, each one of `a`, `b` or empty. The empty topic
    /// is among them: no client may name it, but `/#` and `+` match it.
    fn topics() -> Vec<String> {
        let mut topics = vec![String::new(), "a".to_owned(), "b".to_owned()];
        let mut longest = topics.clone();
        for _ in 0..4 {
            let longer = |topic: &String| ["a", "b", ""].map(|level| format!("{topic}/{level}"));
            longest = longest.iter().flat_map(longer).collect();
            topics.extend_from_slice(&longest);
        }
        topics
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "+", ""]);
        (prop::collection::vec(level, 0..3), any::<bool>())
            .prop_map(|(mut levels, is_open)| {
                levels.extend(is_open.then_some("#"));
                levels.join("/")
            })
            .prop_filter("a filter", |filter| is_topic_filter(filter))
    }

    proptest! {
        #[test]
        fn a_filter_covers_another_exactly_when_every_topic_of_that_one_matches(outer in filter(), inner in filter()) {
            let covers = levels_cover(outer.split('/'), inner.split('/'));
            let expected = topics().iter().filter(|topic| filter_matches(&inner, topic)).all(|topic| filter_matches(&outer, topic));
            prop_assert_eq!(covers, expected, "{:?} {:?}", outer, inner);
        }

        #[test]
        fn filters_overlap_exactly_when_a_topic_matches_both(one in filter(), other in filter()) {
            let expected = topics().iter().any(|topic| filter_matches(&one, topic) && filter_matches(&other, topic));
            prop_assert_eq!(filters_overlap(&one, &other), expected, "{:?} {:?}", one, other);
        }
    }

    #[test]
    fn a_wildcard_does_not_cover_the_brokers_own_topics() {
        for (outer, inner) in
            [("#", "$SYS/#"), ("+/x", "$SYS/x"), ("a/+", "#"), ("a/+", "a/#"), ("a/+", "+/b")]
        {
            assert!(!levels_cover(outer.split('/'), inner.split('/')), "{outer} {inner}");
        }
        assert!(levels_cover("$SYS/#".split('/'), "$SYS/x".split('/')));
    }
}
