//! Bounds on what the router never frees: the filters and the topics it has ever seen.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// A set of names that only grows, up to a bound. Holds hashes, not names: 8 bytes each.
pub(super) struct Census {
    seen: Mutex<HashSet<u64>>,
    hasher: RandomState,
    names_max: usize,
}

impl Census {
    pub fn new(names_max: usize) -> Self {
        Self { seen: Mutex::new(HashSet::new()), hasher: RandomState::new(), names_max }
    }

    /// Whether `name` is known, or is admitted now.
    pub fn admit(&self, name: &[u8]) -> bool {
        let hash = self.hasher.hash_one(name);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.contains(&hash) || (seen.len() < self.names_max && seen.insert(hash))
    }

    pub fn len(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_pass_a_full_census_and_new_ones_do_not() {
        let census = Census::new(2);
        assert!(census.admit(b"a") && census.admit(b"b"));
        assert!(!census.admit(b"c") && census.admit(b"a"));
        assert_eq!(census.len(), 2);
    }
}
