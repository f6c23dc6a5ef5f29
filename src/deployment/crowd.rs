//! The crowd, a dynamic threshold: of the last quarter of a bound each device gets a share, so that whoever
//! has taken the rest leaves room for others.
//!
//! Until three quarters are taken nobody is counted, so that it costs nothing where
//! there is no crowd. From then on a device may have no more than is left beside it:
//! alone half of the last quarter, and however much it takes, the next one finds room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::inference::DeviceId;
use crate::sync::lock;

/// Those who have nothing any more are forgotten when there are twice as many as the
/// last time, and at least so many.
const FORGET_FROM: usize = 64;

/// What devices have of the last quarter. Requests that do not say whose they are share as one device.
#[derive(Debug)]
pub struct Crowd {
    max: usize,
    /// Locked only where there is a crowd.
    devices: Mutex<Devices>,
}

#[derive(Debug)]
struct Devices {
    taken: HashMap<Option<DeviceId>, Arc<AtomicUsize>>,
    forget_at: usize,
}

/// The device has its share.
#[derive(Debug, PartialEq, Eq)]
pub struct HasItsShare;

/// What one request takes of it, until it is dropped.
#[derive(Debug)]
pub struct Part {
    of: Arc<AtomicUsize>,
    amount: usize,
}

impl Crowd {
    /// Of a bound of `max`.
    pub fn new(max: usize) -> Self {
        Self { max, devices: Mutex::new(Devices { taken: HashMap::new(), forget_at: FORGET_FROM }) }
    }

    /// Lets `device` take `amount` of the bound, of which all devices have taken
    /// `taken`. Nothing is counted while there is no crowd.
    pub fn admit(
        &self,
        device: Option<&DeviceId>,
        amount: usize,
        taken: usize,
    ) -> Result<Option<Part>, HasItsShare> {
        if taken + amount <= self.max - self.max / 4 {
            return Ok(None);
        }
        let mut devices = lock(&self.devices);
        let own = devices.of(device);
        // The dynamic threshold of A. K. Choudhury and E. L. Hahne, "Dynamic queue length thresholds for
        // shared-memory packet switches", 1998: nobody may have more than what is left free. A fixed share
        // would need to know how many devices there are, and would leave room unused where there are few.
        if own.load(Ordering::Relaxed) + amount > self.max.saturating_sub(taken) {
            return Err(HasItsShare);
        }
        own.fetch_add(amount, Ordering::Relaxed);
        Ok(Some(Part { of: own, amount }))
    }
}

impl Devices {
    fn of(&mut self, device: Option<&DeviceId>) -> Arc<AtomicUsize> {
        if self.taken.len() >= self.forget_at {
            // A count that the map alone has is of a device with nothing under way. That the bound doubles
            // makes a look through all of them cost each new entry a constant.
            self.taken.retain(|_, own| Arc::strong_count(own) > 1);
            self.forget_at = FORGET_FROM.max(2 * self.taken.len());
        }
        Arc::clone(self.taken.entry(device.cloned()).or_default())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.of.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> DeviceId {
        DeviceId::new(name).unwrap()
    }

    /// Has `name` take one after the other until it has its share.
    fn take_all(crowd: &Crowd, name: &str, taken: &mut usize) -> Vec<Option<Part>> {
        let device = device(name);
        let parts: Vec<_> = std::iter::from_fn(|| {
            let part = crowd.admit(Some(&device), 1, *taken).ok()?;
            *taken += 1;
            Some(part)
        })
        .collect();
        parts
    }

    #[test]
    fn one_device_leaves_room_and_so_does_the_next() {
        let (crowd, mut taken) = (Crowd::new(800), 0);
        let hog = take_all(&crowd, "hog", &mut taken);
        assert_eq!(hog.len(), 700, "three quarters, and half of the last");
        assert!(hog[..600].iter().all(Option::is_none) && hog[600..].iter().all(Option::is_some));
        let other = take_all(&crowd, "other", &mut taken);
        assert_eq!(other.len(), 50, "half of what was left");
        assert!(crowd.admit(Some(&device("third")), 1, taken).is_ok());
        assert!(crowd.admit(None, 1, taken).is_ok());
        drop(hog);
        assert_eq!(take_all(&crowd, "hog", &mut 700).len(), 50, "what it had was given back");
    }

    #[test]
    fn a_small_bound_is_taken_whole() {
        for max in 1..=3 {
            assert_eq!(take_all(&Crowd::new(max), "a", &mut 0).len(), max);
        }
    }

    #[test]
    fn devices_that_have_nothing_are_forgotten() {
        let crowd = Crowd::new(4);
        let kept = crowd.admit(Some(&device("kept")), 1, 3).unwrap();
        for number in 0..10_000 {
            drop(crowd.admit(Some(&device(&number.to_string())), 1, 3));
        }
        assert!(crowd.devices.lock().unwrap().taken.len() <= FORGET_FROM && kept.is_some());
        assert_eq!(crowd.admit(Some(&device("kept")), 1, 3).err(), Some(HasItsShare));
    }
}
