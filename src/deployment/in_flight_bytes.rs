//! What the requests under way in a deployment take of memory: bounded, whatever they carry and however long a simulated network keeps them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What requests under way may take; a further one is answered `OVERLOADED`, without what its sender wants back with the answer.
pub const IN_FLIGHT_BYTES_MAX: usize = 256 << 20;

/// A request that takes no more is bounded by the number of those in flight alone: to count it would cost all threads a shared number.
const SMALL_BYTES: usize = 2 * 1024;

/// Whether something is so small that it is not counted.
pub fn is_small(bytes: usize) -> bool {
    bytes <= SMALL_BYTES
}

/// The requests under way take as much as they may.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// What all of them take that are not small.
#[derive(Debug, Clone, Default)]
pub struct InFlightBytes(Arc<AtomicUsize>);

/// The part of one, until it is dropped.
#[derive(Debug)]
pub struct Held {
    all: InFlightBytes,
    bytes: usize,
}

impl InFlightBytes {
    /// Adds a request that takes `bytes`; nothing is held for a small one.
    pub fn hold(&self, bytes: usize) -> Result<Option<Held>, Full> {
        if is_small(bytes) {
            return Ok(None);
        }
        let held = self.add(bytes);
        if self.0.load(Ordering::Relaxed) > IN_FLIGHT_BYTES_MAX { Err(Full) } else { Ok(Some(held)) }
    }

    fn add(&self, bytes: usize) -> Held {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Held { all: self.clone(), bytes }
    }
}

impl Held {
    /// The part of a copy, which the bound lets pass: a simulated network makes few.
    pub fn again(&self) -> Self {
        self.all.add(self.bytes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let all = InFlightBytes::default();
        let large = all.hold(IN_FLIGHT_BYTES_MAX - 2 * SMALL_BYTES).unwrap();
        let other = all.hold(2 * SMALL_BYTES).unwrap();
        assert_eq!(all.hold(SMALL_BYTES + 1).err(), Some(Full));
        assert!(all.hold(SMALL_BYTES).is_ok_and(|held| held.is_none()), "a small one is not counted");
        let copy = other.as_ref().map(Held::again);
        drop((other, copy, large));
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }
}
