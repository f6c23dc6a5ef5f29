//! Which of a session's filters a message may match together: each of them is looked at for it, although the client gets one copy.

use super::marks::{self, Mark};
use super::work::Slice;
use std::collections::HashMap;

/// Filters that are compared for one unit of work.
const FILTERS_PER_UNIT: usize = 2;

/// The filters with wildcards, by the number of their subscription.
#[derive(Default)]
pub(super) struct Overlaps {
    filters: HashMap<usize, Box<[Mark]>>,
}

impl Overlaps {
    /// Takes a filter in if it has wildcards.
    pub fn add(&mut self, subscription: usize, filter: &str) {
        if filter.contains(['+', '#']) {
            self.filters.insert(subscription, marks::marks(filter).collect());
        }
    }

    pub fn remove(&mut self, subscription: usize) {
        self.filters.remove(&subscription);
    }

    /// Whether as many as `count` of these overlap `filter`: some topic falls under both.
    pub fn reach(&self, count: usize, filter: &str, slice: &mut Slice) -> bool {
        if self.filters.len() < count {
            return false;
        }
        let filter: Vec<_> = marks::marks(filter).collect();
        slice.spend(self.filters.len() / FILTERS_PER_UNIT);
        self.filters.values().filter(|other| marks::overlap(other, &filter)).take(count).count() == count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(overlaps: &Overlaps, count: usize, filter: &str) -> bool {
        overlaps.reach(count, filter, &mut Slice::new())
    }

    #[test]
    fn filters_with_wildcards_count_where_a_topic_falls_under_both() {
        let mut overlaps = Overlaps::default();
        for (number, filter) in ["a/#", "a/+/c", "b/#", "a/b/c"].into_iter().enumerate() {
            overlaps.add(number, filter);
        }
        assert!(reach(&overlaps, 2, "a/b/c") && !reach(&overlaps, 3, "a/b/c"));
        assert!(reach(&overlaps, 3, "#") && reach(&overlaps, 0, "c") && !reach(&overlaps, 1, "c"));
        overlaps.remove(0);
        assert!(!reach(&overlaps, 2, "a/b/c"));
    }

    #[test]
    fn a_thousand_deep_filters_are_a_slice_for_the_next_one() {
        let mut overlaps = Overlaps::default();
        for number in 0..1_000 {
            overlaps.add(number, &format!("{}/{number}", ["+"; 126].join("/")));
        }
        let mut slice = Slice::new();
        assert!(!overlaps.reach(100, &format!("{}/x", ["+"; 126].join("/")), &mut slice));
        assert!(!slice.is_over());
    }
}
