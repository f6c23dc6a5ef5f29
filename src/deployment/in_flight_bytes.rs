//! What the requests under way in a deployment take of memory: bounded, whatever
//! they carry and however long a simulated network keeps them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::crowd::{Crowd, HasItsShare, Part};
use crate::inference::DeviceId;

/// What requests under way may take where memory is plenty; beyond the bound in
/// force a further one is answered `OVERLOADED`.
pub const IN_FLIGHT_BYTES_MAX: usize = 256 << 20;

/// What all deployments of a node may take together, in parts of the memory there is.
const MEMORY_PARTS: usize = 8;

/// A request that takes no more is bounded by the number of those in flight alone:
/// to count it would cost all threads a shared number.
const SMALL_BYTES: usize = 2 * 1024;

/// The bound of each of so many deployments, where their node's broker, or the
/// process without one, may take `memory_bytes`. Each has a part of its own, so that
/// a slow network before one of them costs no other its requests.
pub fn in_flight_bytes_max(memory_bytes: usize, deployments: usize) -> usize {
    (memory_bytes / MEMORY_PARTS / deployments.max(1)).min(IN_FLIGHT_BYTES_MAX)
}

/// The requests under way, or those of this device, take as much as they may.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// What all of them take that are not small.
#[derive(Debug, Clone)]
pub struct InFlightBytes {
    taken: Arc<AtomicUsize>,
    max: usize,
    small: usize,
}

/// The part of one, until it is dropped.
#[derive(Debug)]
pub struct Held {
    all: InFlightBytes,
    bytes: usize,
    /// What its device has of them where there is a crowd.
    share: Option<Part>,
}

impl InFlightBytes {
    /// For at most so many requests, which may take `max` bytes. Where memory is short,
    /// little of it is small.
    pub fn new(max: usize, requests_max: usize) -> Self {
        let small = SMALL_BYTES.min(max / requests_max.max(1));
        Self { taken: Arc::default(), max, small }
    }

    pub fn max(&self) -> usize {
        self.max
    }

    /// Adds a request that takes `bytes`; nothing is held for a small one. One that
    /// takes more than the bound alone is let in where there is no other.
    pub fn hold(&self, bytes: usize, device: Option<&DeviceId>, crowd: &Crowd) -> Result<Option<Held>, Full> {
        if bytes <= self.small {
            return Ok(None);
        }
        // Added before it is looked at: of two threads that look first both would go in.
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        let mut held = Held { all: self.clone(), bytes, share: None };
        // Where there is no other, what alone exceeds the bound goes in: it would be refused for ever, and
        // its sender told to try again.
        if before > 0 {
            held.share = crowd.admit(device, bytes, before).map_err(|HasItsShare| Full)?;
        }
        Ok(Some(held))
    }
}

impl Held {
    /// The part of a copy, which the bound lets pass: a simulated network makes few.
    pub fn again(&self) -> Self {
        self.all.taken.fetch_add(self.bytes, Ordering::Relaxed);
        Self { all: self.all.clone(), bytes: self.bytes, share: None }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(all: &InFlightBytes, crowd: &Crowd, bytes: usize) -> Result<Option<Held>, Full> {
        all.hold(bytes, None, crowd)
    }

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let (all, crowd) = (InFlightBytes::new(1 << 20, 100), Crowd::new(1 << 20));
        let large = hold(&all, &crowd, 760 << 10).unwrap();
        let other = hold(&all, &crowd, 100 << 10).unwrap();
        assert_eq!(hold(&all, &crowd, 100 << 10).err(), Some(Full), "it has its share");
        assert!(hold(&all, &crowd, SMALL_BYTES).is_ok_and(|held| held.is_none()), "it is not counted");
        let device = DeviceId::new("another").unwrap();
        assert!(all.hold(200 << 10, Some(&device), &crowd).is_err(), "there is no room");
        assert!(all.hold(100 << 10, Some(&device), &crowd).is_ok());
        let copy = other.as_ref().map(Held::again);
        drop((other, copy, large));
        assert_eq!(all.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_larger_than_the_bound_is_let_in_alone() {
        let (all, crowd) = (InFlightBytes::new(10_000, 1), Crowd::new(10_000));
        let large = hold(&all, &crowd, 50_000).unwrap();
        assert_eq!(hold(&all, &crowd, 3_000).err(), Some(Full));
        drop(large);
        assert!(hold(&all, &crowd, 3_000).is_ok());
    }

    #[test]
    fn the_less_memory_there_is_the_less_is_small() {
        let (all, crowd) = (InFlightBytes::new(1 << 20, 10_000), Crowd::new(1 << 20));
        assert!(hold(&all, &crowd, 104).is_ok_and(|held| held.is_none()));
        let held = hold(&all, &crowd, 105).unwrap();
        assert!(held.is_some(), "ten thousand of those would take more");
    }

    #[test]
    fn deployments_share_an_eighth_of_the_memory() {
        assert_eq!(in_flight_bytes_max(128 << 20, 1), 16 << 20);
        assert_eq!(in_flight_bytes_max(128 << 20, 4), 4 << 20);
        assert_eq!(in_flight_bytes_max(64 << 30, 4), IN_FLIGHT_BYTES_MAX);
    }
}
