//! Shared-subscription names.

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
}
