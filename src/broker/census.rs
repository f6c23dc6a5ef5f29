//! Bounds on what the router never frees: the filters and the topics it has ever seen.

use super::reached::Limit;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// A set of names that only grows, up to a bound. Holds hashes, not names: 8 bytes each.
pub(super) struct Census {
    seen: Mutex<Seen>,
    hasher: RandomState,
    names_max: usize,
    bytes_max: usize,
    /// What is reached when there are too many names, or too many bytes of them.
    limits: [Limit; 2],
}

#[derive(Default)]
struct Seen {
    hashes: HashSet<u64>,
    bytes: usize,
}

impl Census {
    pub fn new(names_max: usize, bytes_max: usize, limits: [Limit; 2]) -> Self {
        Self { seen: Mutex::default(), hasher: RandomState::new(), names_max, bytes_max, limits }
    }

    /// Fine when `name` is known, or is admitted now; otherwise the limit that is reached.
    pub fn admit(&self, name: &[u8]) -> Result<(), Limit> {
        let hash = self.hasher.hash_one(name);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.hashes.contains(&hash) {
            return Ok(());
        }
        if seen.hashes.len() >= self.names_max {
            return Err(self.limits[0]);
        }
        if seen.bytes + name.len() > self.bytes_max {
            return Err(self.limits[1]);
        }
        seen.hashes.insert(hash);
        seen.bytes += name.len();
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).hashes.len()
    }

    /// Bytes of all the names.
    pub fn bytes(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_pass_a_full_census_and_new_ones_do_not() {
        let census = Census::new(2, 10, [Limit::Topics, Limit::TopicsBytes]);
        assert_eq!((census.admit(b"a"), census.admit(&[b'x'; 10])), (Ok(()), Err(Limit::TopicsBytes)));
        assert_eq!((census.admit(b"b"), census.admit(b"c")), (Ok(()), Err(Limit::Topics)));
        assert_eq!((census.admit(b"a"), census.len(), census.bytes()), (Ok(()), 2, 2));
    }
}
