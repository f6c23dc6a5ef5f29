//! Topic names and filters as the router must see them: shared-subscription names, escaping.

use bytes::Bytes;

/// Put in front of a topic or filter whose first byte the router cannot slice.
///
/// The router looks at the first *byte* of every topic as if it were a character and panics inside a multi-byte one.
const ESCAPE: u8 = 0x01;

/// Whether the router needs `topic` escaped: its first byte is not ASCII, or is the escape itself.
pub(super) fn needs_escape(topic: &[u8]) -> bool {
    topic.first().is_some_and(|&first| first >= 0x80 || first == ESCAPE)
}

/// The spelling of a filter that the router is given. Wildcards keep their meaning: an escaped topic still matches
/// `#` and `+`, and a literal first level is escaped in both.
pub(super) fn escape(filter: &str) -> String {
    if needs_escape(filter.as_bytes()) { format!("\u{1}{filter}") } else { filter.to_owned() }
}

/// The same for a topic name; nothing is copied in the usual case.
pub(super) fn escape_bytes(topic: &Bytes) -> Bytes {
    if !needs_escape(topic) {
        return topic.clone();
    }
    let mut escaped = Vec::with_capacity(topic.len() + 1);
    escaped.push(ESCAPE);
    escaped.extend_from_slice(topic);
    escaped.into()
}

/// Undoes [`escape_bytes`].
pub(super) fn unescape(topic: &Bytes) -> Bytes {
    if topic.first() == Some(&ESCAPE) { topic.slice(1..) } else { topic.clone() }
}

/// Undoes [`escape`]: a filter as its client wrote it.
pub(super) fn plain(routed: &str) -> &str {
    routed.strip_prefix('\u{1}').unwrap_or(routed)
}

/// A subscription's filter, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subscribed<'a> {
    /// The group of a shared subscription (`$share/{group}/{path}`).
    pub group: Option<&'a str>,
    /// The filter that topics are matched with.
    pub path: &'a str,
}

/// Reads a filter from SUBSCRIBE; `None` when it is not well formed.
pub(super) fn parse_filter(filter: &str) -> Option<Subscribed<'_>> {
    let (group, path) = match filter.strip_prefix("$share/") {
        Some(shared) => {
            let (group, path) = shared.split_once('/')?;
            if group.is_empty() || group.contains(['+', '#']) {
                return None;
            }
            (Some(group), path)
        }
        None => (None, filter),
    };
    crate::mqtt::is_topic_filter(path).then_some(Subscribed { group, path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::filter_matches;
    use proptest::prelude::*;

    #[test]
    fn escaping_is_undone_and_touches_only_what_the_router_cannot_read() {
        for topic in ["a/b", "$x", "ü/a", "\u{1}a", "😀"] {
            let bytes = Bytes::copy_from_slice(topic.as_bytes());
            let escaped = escape_bytes(&bytes);
            assert!(escaped[0].is_ascii(), "{topic}");
            assert_eq!(unescape(&escaped), bytes, "{topic}");
            assert_eq!(escape(topic).as_bytes(), escaped, "{topic}");
        }
    }

    #[test]
    fn an_escaped_topic_matches_the_filters_it_should() {
        for filter in ["#", "+", "ü", "+/#"] {
            assert!(filter_matches(&escape(filter), &escape("ü")), "{filter}");
        }
        assert!(!filter_matches(&escape("u"), &escape("ü")));
    }

    proptest! {
        /// Gates count what the router delivers, so both must match alike. Filters that start with a dollar never come here.
        #[test]
        fn the_router_and_we_match_alike(
            topic in "[$]?[ab]?(/[ab]?){0,3}",
            filter in "([+ab]?)(/[+ab]?){0,3}(/#)?",
        ) {
            prop_assume!(!topic.is_empty() && !filter.is_empty());
            let (topic, filter) = (escape(&topic), escape(&filter));
            prop_assert_eq!(filter_matches(&filter, &topic), rumqttd::protocol::matches(&topic, &filter));
        }
    }

    #[test]
    fn shared_filters_are_taken_apart_and_bad_ones_refused() {
        assert_eq!(parse_filter("$share/g/a/#"), Some(Subscribed { group: Some("g"), path: "a/#" }));
        assert_eq!(parse_filter("a/+"), Some(Subscribed { group: None, path: "a/+" }));
        for bad in ["$share/g", "$share//a", "$share/g/", "$share/+/a", "a#", ""] {
            assert_eq!(parse_filter(bad), None, "{bad}");
        }
    }
}
