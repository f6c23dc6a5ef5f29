//! What the requests under way in a deployment take of memory: bounded, whatever they carry and however long a simulated network keeps them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What requests under way may take; a further one is answered `OVERLOADED`, without what its sender wants back with the answer.
pub const IN_FLIGHT_BYTES_MAX: usize = 256 << 20;

/// What all of them take.
#[derive(Clone, Default)]
pub struct InFlightBytes(Arc<AtomicUsize>);

/// The part of one, until it is dropped.
pub struct Held {
    all: InFlightBytes,
    bytes: usize,
}

impl InFlightBytes {
    /// Adds a request that takes `bytes`; `None` where that is too much.
    pub fn hold(&self, bytes: usize) -> Option<Held> {
        let held = self.add(bytes);
        (self.0.load(Ordering::Relaxed) <= IN_FLIGHT_BYTES_MAX).then_some(held)
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
        let large = all.hold(IN_FLIGHT_BYTES_MAX - 10).unwrap();
        let small = all.hold(10).unwrap();
        assert!(all.hold(1).is_none());
        let copy = small.again();
        drop((small, copy, large));
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }
}
