//! Owners that were online lately: they are let in where strangers are not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use super::shares::Owner;
use crate::sync::lock;

/// Owners remembered; beyond, the one that was online least lately is forgotten.
const ACQUAINTANCES_MAX: usize = 4_096;
/// Who was online for less is not remembered, so that nobody makes many acquaintances in a moment.
pub const ACQUAINTED_AFTER: Duration = Duration::from_secs(60);

/// The owners, in the order in which they went.
#[derive(Default)]
pub struct Acquaintances(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    left: HashMap<Owner, u64>,
    oldest_first: BTreeMap<u64, Owner>,
    next: u64,
}

impl Acquaintances {
    pub fn has(&self, owner: &Owner) -> bool {
        lock(&self.0).left.contains_key(owner)
    }

    /// One of `owner`'s connections has ended, which had lasted for so long.
    pub fn note(&self, owner: &Owner, lasted: Duration) {
        if lasted >= ACQUAINTED_AFTER {
            lock(&self.0).add(owner);
        }
    }
}

impl Remembered {
    fn add(&mut self, owner: &Owner) {
        self.next += 1;
        if let Some(before) = self.left.insert(owner.clone(), self.next) {
            self.oldest_first.remove(&before);
        }
        self.oldest_first.insert(self.next, owner.clone());
        if self.left.len() > ACQUAINTANCES_MAX
            && let Some((_, oldest)) = self.oldest_first.pop_first()
        {
            self.left.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn owner(number: usize) -> Owner {
        Owner::Address(IpAddr::V4(Ipv4Addr::from_bits(number as u32)))
    }

    #[test]
    fn who_was_online_for_long_is_remembered_and_the_last_ones_longest() {
        let acquaintances = Acquaintances::default();
        acquaintances.note(&owner(0), ACQUAINTED_AFTER - Duration::from_millis(1));
        assert!(!acquaintances.has(&owner(0)));
        for number in 0..ACQUAINTANCES_MAX {
            acquaintances.note(&owner(number), ACQUAINTED_AFTER);
        }
        // The first comes again, so that the second is the oldest.
        acquaintances.note(&owner(0), ACQUAINTED_AFTER);
        acquaintances.note(&owner(ACQUAINTANCES_MAX), ACQUAINTED_AFTER);
        assert!(
            acquaintances.has(&owner(0)) && !acquaintances.has(&owner(1)) && acquaintances.has(&owner(2))
        );
        let remembered = lock(&acquaintances.0);
        assert_eq!(
            (remembered.left.len(), remembered.oldest_first.len()),
            (ACQUAINTANCES_MAX, ACQUAINTANCES_MAX)
        );
    }
}
