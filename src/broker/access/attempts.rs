//! Failed logins of each address: a few are forgiven, then it must wait.
//!
//! Time is passed in, so that a test decides what it is.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::broker::limits::network::network;

/// How many logins may fail, and how fast that is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Failed logins of one address in a row.
    pub failed_logins_max: u32,
    /// One failure is forgotten each time this has passed.
    pub forgiven_every: Duration,
    /// Addresses remembered at once; beyond, the one that failed least is forgotten.
    pub addresses_max: usize,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self { failed_logins_max: 10, forgiven_every: Duration::from_secs(6), addresses_max: 10_000 }
    }
}

/// The addresses that failed lately.
pub struct Attempts {
    limits: AttemptLimits,
    /// When an address's failures are all forgotten. The further away, the more there are.
    clean_at: HashMap<IpAddr, Instant>,
    /// The addresses in order, so that who is forgotten is found at once, however many fail.
    cleanest_first: BTreeSet<(Instant, IpAddr)>,
}

impl Attempts {
    pub fn new(limits: AttemptLimits) -> Self {
        Self { limits, clean_at: HashMap::new(), cleanest_first: BTreeSet::new() }
    }

    /// Whether `peer` may try now. The attempt counts as failed until [`succeeded`](Self::succeeded)
    /// says otherwise: a burst of attempts at once must not pass before the first of them has failed.
    pub fn begin(&mut self, peer: IpAddr, now: Instant) -> bool {
        let address = network(peer);
        let clean_at = self.clean_at.get(&address).copied().unwrap_or(now).max(now);
        let worst = self.limits.forgiven_every * self.limits.failed_logins_max.saturating_sub(1);
        if clean_at.saturating_duration_since(now) > worst {
            return false;
        }
        if !self.clean_at.contains_key(&address) && self.clean_at.len() >= self.limits.addresses_max {
            self.make_room(now);
        }
        self.set(address, Some(clean_at + self.limits.forgiven_every));
        true
    }

    /// The attempt that began last for `peer` was not a failure.
    pub fn succeeded(&mut self, peer: IpAddr, now: Instant) {
        let address = network(peer);
        let Some(clean_at) = self.clean_at.get(&address) else { return };
        let earlier = clean_at.checked_sub(self.limits.forgiven_every);
        self.set(address, earlier.filter(|earlier| *earlier > now));
    }

    /// Forgets the addresses that are clean, or else the one that is nearest to it: to be forgotten
    /// harms nobody, and whoever fails from many addresses only makes room among his own.
    fn make_room(&mut self, now: Instant) {
        while let Some(&(clean_at, cleanest)) = self.cleanest_first.first() {
            let is_clean = clean_at <= now;
            if !is_clean && self.clean_at.len() < self.limits.addresses_max {
                return;
            }
            self.set(cleanest, None);
        }
    }

    fn set(&mut self, address: IpAddr, clean_at: Option<Instant>) {
        let before = match clean_at {
            Some(clean_at) => {
                self.cleanest_first.insert((clean_at, address));
                self.clean_at.insert(address, clean_at)
            }
            None => self.clean_at.remove(&address),
        };
        if let Some(before) = before
            && Some(before) != clean_at
        {
            self.cleanest_first.remove(&(before, address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AttemptLimits =
        AttemptLimits { failed_logins_max: 3, forgiven_every: Duration::from_secs(10), addresses_max: 2 };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_few_failures_pass_then_one_for_each_interval() {
        let (mut attempts, start, peer) = (Attempts::new(LIMITS), Instant::now(), address("10.0.0.1"));
        let tries: Vec<_> = (0..5).map(|_| attempts.begin(peer, start)).collect();
        assert_eq!(tries, [true, true, true, false, false]);
        assert!(attempts.begin(address("10.0.0.2"), start), "another address is not concerned");
        let later = start + LIMITS.forgiven_every;
        assert_eq!([0, 1].map(|_| attempts.begin(peer, later)), [true, false]);
    }

    #[test]
    fn success_counts_for_nothing_and_forgives_nothing() {
        let (mut attempts, now, peer) = (Attempts::new(LIMITS), Instant::now(), address("10.0.0.1"));
        for _ in 0..100 {
            assert!(attempts.begin(peer, now));
            attempts.succeeded(peer, now);
        }
        assert!(attempts.clean_at.is_empty() && attempts.cleanest_first.is_empty());
        assert!(attempts.begin(peer, now) && attempts.begin(peer, now) && attempts.begin(peer, now));
        assert!(!attempts.begin(peer, now));
        attempts.succeeded(peer, now);
        assert_eq!([0, 1].map(|_| attempts.begin(peer, now)), [true, false]);
    }

    #[test]
    fn a_full_table_forgets_who_failed_least() {
        let (mut attempts, now) = (Attempts::new(LIMITS), Instant::now());
        let [worst, once, new] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(address);
        for _ in 0..3 {
            attempts.begin(worst, now);
        }
        attempts.begin(once, now);
        attempts.begin(new, now);
        assert_eq!(attempts.clean_at.len(), 2);
        assert!(!attempts.begin(worst, now));
        assert!(attempts.clean_at.contains_key(&new));
        // When all are clean again, nobody is remembered beside the next one.
        assert!(attempts.begin(once, now + 10 * LIMITS.forgiven_every));
        assert_eq!((attempts.clean_at.len(), attempts.cleanest_first.len()), (1, 1));
    }
}
