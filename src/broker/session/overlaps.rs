//! Which of a session's filters a message may match together: each of them is looked at for it,
//! although the client gets one copy for the plain ones, and each of a group brings a copy of its own.

use std::collections::HashMap;

use crate::broker::bus::marks::{self, Mark};
use crate::broker::work::Slice;

/// Filters that are compared for one unit of work.
const FILTERS_PER_UNIT: usize = 2;

/// The filters with wildcards and those of groups.
#[derive(Default)]
pub struct Overlaps {
    /// With wildcards, by the number of their subscription.
    wide: HashMap<usize, Box<[Mark]>>,
    /// Of groups and without wildcards: what each subscription names, and how many name the same.
    named: HashMap<usize, Box<str>>,
    names: HashMap<Box<str>, Named>,
}

struct Named {
    marks: Box<[Mark]>,
    subscriptions: usize,
}

impl Overlaps {
    /// Takes a filter in if it has wildcards or is a group's.
    pub fn add(&mut self, subscription: usize, filter: &str, is_shared: bool) {
        if filter.contains(['+', '#']) {
            self.wide.insert(subscription, marks::marks(filter).collect());
        } else if is_shared {
            self.named.insert(subscription, filter.into());
            let name = self
                .names
                .entry(filter.into())
                .or_insert_with(|| Named { marks: marks::marks(filter).collect(), subscriptions: 0 });
            name.subscriptions += 1;
        }
    }

    pub fn remove(&mut self, subscription: usize) {
        self.wide.remove(&subscription);
        let Some(name) = self.named.remove(&subscription) else { return };
        if let Some(named) = self.names.get_mut(&name) {
            named.subscriptions -= 1;
            if named.subscriptions == 0 {
                self.names.remove(&name);
            }
        }
    }

    /// Whether some topic under `filter` may fall under as many as `count` of these.
    pub fn reach(&self, count: usize, filter: &str, slice: &mut Slice) -> bool {
        if self.wide.len() + self.named.len() < count {
            return false;
        }
        let filter: Vec<_> = marks::marks(filter).collect();
        slice.spend((self.wide.len() + self.names.len()) / FILTERS_PER_UNIT);
        let wide = self.wide.values().filter(|other| marks::overlap(other, &filter)).take(count).count();
        if wide == count {
            return true;
        }
        // A topic has one name, so those of other names do not add up.
        let missing = count - wide;
        self.names.values().any(|name| name.subscriptions >= missing && marks::overlap(&name.marks, &filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::work;

    fn reach(overlaps: &Overlaps, count: usize, filter: &str) -> bool {
        overlaps.reach(count, filter, &mut Slice::new())
    }

    #[test]
    fn filters_with_wildcards_count_where_a_topic_falls_under_both() {
        let mut overlaps = Overlaps::default();
        for (number, filter) in ["a/#", "a/+/c", "b/#", "a/b/c"].into_iter().enumerate() {
            overlaps.add(number, filter, false);
        }
        assert!(reach(&overlaps, 2, "a/b/c") && !reach(&overlaps, 3, "a/b/c"));
        assert!(reach(&overlaps, 3, "#") && reach(&overlaps, 0, "c") && !reach(&overlaps, 1, "c"));
        overlaps.remove(0);
        assert!(!reach(&overlaps, 2, "a/b/c"));
    }

    #[test]
    fn a_thousand_deep_filters_are_little_work_for_the_next_one() {
        let mut overlaps = Overlaps::default();
        for number in 0..1_000 {
            overlaps.add(number, &format!("{}/{number}", ["+"; 126].join("/")), false);
        }
        let before = work::spent();
        assert!(!reach(&overlaps, 100, &format!("{}/x", ["+"; 126].join("/"))));
        assert!(work::spent() - before <= 1_000 / FILTERS_PER_UNIT);
    }

    #[test]
    fn every_filter_of_a_group_counts_but_a_topic_has_one_name() {
        let mut overlaps = Overlaps::default();
        for number in 0..4 {
            overlaps.add(number, "a/#", true);
            overlaps.add(10 + number, "a/b", true);
            overlaps.add(20 + number, &format!("a/{number}"), true);
            overlaps.add(30 + number, "a/c", false);
        }
        assert!(reach(&overlaps, 8, "a/b") && !reach(&overlaps, 9, "a/b"));
        assert!(reach(&overlaps, 8, "#") && !reach(&overlaps, 9, "#"));
        assert!(reach(&overlaps, 5, "a/1") && !reach(&overlaps, 6, "a/1"));
        assert!(reach(&overlaps, 4, "a/c") && !reach(&overlaps, 5, "a/c"));
        (0..4).chain(10..12).for_each(|number| overlaps.remove(number));
        assert!(reach(&overlaps, 2, "a/b") && !reach(&overlaps, 3, "#"));
    }
}
