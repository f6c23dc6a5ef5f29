//! Topics that mean something of their own: shared subscriptions (`$share`), and what the broker tells of
//! itself (`$SYS`).

/// The level that the broker's own topics begin with.
pub const SYS: &str = "$SYS";

/// Whether a filter, or a topic's name, is about nothing but what the broker tells of itself.
pub fn is_about_the_broker(filter: &str) -> bool {
    filter.strip_prefix(SYS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A subscription's filter, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Subscribed<'a> {
    /// The group of a shared subscription (`$share/{group}/{path}`).
    pub group: Option<&'a str>,
    /// The filter that topics are matched with.
    pub path: &'a str,
}

/// Reads a filter from SUBSCRIBE; `None` when it is not well formed.
pub fn parse_filter(filter: &str) -> Option<Subscribed<'_>> {
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

    #[test]
    fn shared_filters_are_taken_apart_and_bad_ones_refused() {
        assert_eq!(parse_filter("$share/g/a/#"), Some(Subscribed { group: Some("g"), path: "a/#" }));
        assert_eq!(parse_filter("a/+"), Some(Subscribed { group: None, path: "a/+" }));
        for bad in ["$share/g", "$share//a", "$share/g/", "$share/+/a", "a#", ""] {
            assert_eq!(parse_filter(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_brokers_own_topics_are_told_apart_from_those_that_only_look_like_them() {
        for own in ["$SYS", "$SYS/#", "$SYS/broker/+", "$SYS/"] {
            assert!(is_about_the_broker(own), "{own}");
        }
        for other in ["$SYSTEM/x", "$sys/x", "SYS/x", "a/$SYS/x", "#", "+/broker"] {
            assert!(!is_about_the_broker(other), "{other}");
        }
    }
}
