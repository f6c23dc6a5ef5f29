//! Failed logins: each user of an address may fail a few times, and all users of one address together a few
//! times more; then they must wait. Two token buckets, as RFC 2697 has them.
//!
//! A device that retries an old password uses up what its own user may fail from its address, and nobody
//! else's. Whoever tries many names from one address comes to the bound of the address. Time is passed in, so
//! that a test decides what it is.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::broker::limits::network::network;

/// As much as so many users may fail, all users of one address together may.
const FAILING_USERS_PER_ADDRESS: u32 = 10;

/// How many logins may fail, and how fast that is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Failed logins of one user from one address in a row; all users of the address together may fail ten
    /// times as often.
    pub failed_logins_max: u32,
    /// One failure of a user is forgotten each time this has passed, and ten of an address.
    pub forgiven_every: Duration,
    /// Addresses remembered at once, and as many pairs of an address and a user; beyond, the one that failed
    /// least is forgotten.
    pub addresses_max: usize,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self { failed_logins_max: 10, forgiven_every: Duration::from_secs(6), addresses_max: 10_000 }
    }
}

/// Who has failed too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMany {
    /// This user, from this address.
    OfUser,
    /// All users of this address together.
    OfAddress,
}

/// A user who tries: the address, and a number that stands for the name. The name itself may be long, and is
/// anything that a client says.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    pub peer: IpAddr,
    pub user: u64,
}

/// The users and addresses that failed lately.
pub struct Attempts {
    pairs: Buckets<(IpAddr, u64)>,
    addresses: Buckets<IpAddr>,
}

impl Attempts {
    pub fn new(limits: AttemptLimits) -> Self {
        let AttemptLimits { failed_logins_max, forgiven_every, addresses_max } = limits;
        let addresses = Buckets::new(
            failed_logins_max.saturating_mul(FAILING_USERS_PER_ADDRESS),
            forgiven_every / FAILING_USERS_PER_ADDRESS,
            addresses_max,
        );
        Self { pairs: Buckets::new(failed_logins_max, forgiven_every, addresses_max), addresses }
    }

    /// Whether the user may try now. The attempt counts as failed until [`succeeded`](Self::succeeded)
    /// says otherwise: a burst of attempts at once must not pass before the first of them has failed.
    pub fn begin(&mut self, attempt: Attempt, now: Instant) -> Result<(), TooMany> {
        let address = network(attempt.peer);
        let pair = (address, attempt.user);
        // What is refused counts for nothing, so that a user who may not try takes nothing from the others.
        if !self.pairs.has_room(&pair, now) {
            return Err(TooMany::OfUser);
        }
        if !self.addresses.has_room(&address, now) {
            return Err(TooMany::OfAddress);
        }
        self.pairs.add(pair, now);
        self.addresses.add(address, now);
        Ok(())
    }

    /// The attempt that began last for the user was not a failure.
    pub fn succeeded(&mut self, attempt: Attempt, now: Instant) {
        let address = network(attempt.peer);
        self.pairs.take_back(&(address, attempt.user), now);
        self.addresses.take_back(&address, now);
    }
}

/// A token bucket for each of many, as far as they are remembered.
struct Buckets<K> {
    failures_max: u32,
    forgiven_every: Duration,
    remembered_max: usize,
    /// When all failures of one are forgotten. The further away, the more there are.
    clean_at: HashMap<K, Instant>,
    /// In order, so that who is forgotten is found at once, however many fail.
    cleanest_first: BTreeSet<(Instant, K)>,
}

impl<K: Copy + Eq + Hash + Ord> Buckets<K> {
    fn new(failures_max: u32, forgiven_every: Duration, remembered_max: usize) -> Self {
        let (clean_at, cleanest_first) = (HashMap::new(), BTreeSet::new());
        Self { failures_max, forgiven_every, remembered_max, clean_at, cleanest_first }
    }

    fn has_room(&self, key: &K, now: Instant) -> bool {
        let worst = self.forgiven_every * self.failures_max.saturating_sub(1);
        self.clean_at(key, now).saturating_duration_since(now) <= worst
    }

    fn clean_at(&self, key: &K, now: Instant) -> Instant {
        self.clean_at.get(key).copied().unwrap_or(now).max(now)
    }

    fn add(&mut self, key: K, now: Instant) {
        let clean_at = self.clean_at(&key, now);
        if !self.clean_at.contains_key(&key) && self.clean_at.len() >= self.remembered_max {
            self.make_room(now);
        }
        self.set(key, Some(clean_at + self.forgiven_every));
    }

    fn take_back(&mut self, key: &K, now: Instant) {
        let Some(clean_at) = self.clean_at.get(key) else { return };
        let earlier = clean_at.checked_sub(self.forgiven_every);
        self.set(*key, earlier.filter(|earlier| *earlier > now));
    }

    /// Forgets those that are clean, or else the one that is nearest to it: to be forgotten
    /// harms nobody, and whoever fails from many addresses only makes room among his own.
    fn make_room(&mut self, now: Instant) {
        while let Some(&(clean_at, cleanest)) = self.cleanest_first.first() {
            let is_clean = clean_at <= now;
            if !is_clean && self.clean_at.len() < self.remembered_max {
                return;
            }
            self.set(cleanest, None);
        }
    }

    fn set(&mut self, key: K, clean_at: Option<Instant>) {
        let before = match clean_at {
            Some(clean_at) => {
                self.cleanest_first.insert((clean_at, key));
                self.clean_at.insert(key, clean_at)
            }
            None => self.clean_at.remove(&key),
        };
        if let Some(before) = before
            && Some(before) != clean_at
        {
            self.cleanest_first.remove(&(before, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AttemptLimits =
        AttemptLimits { failed_logins_max: 3, forgiven_every: Duration::from_secs(10), addresses_max: 2 };

    fn of(user: u64, address: &str) -> Attempt {
        Attempt { peer: address.parse().unwrap(), user }
    }

    #[test]
    fn a_few_failures_pass_then_one_for_each_interval() {
        let (mut attempts, start, attempt) = (Attempts::new(LIMITS), Instant::now(), of(1, "10.0.0.1"));
        let tries: Vec<_> = (0..5).map(|_| attempts.begin(attempt, start).is_ok()).collect();
        assert_eq!(tries, [true, true, true, false, false]);
        assert_eq!(attempts.begin(of(2, "10.0.0.1"), start), Ok(()), "another user is not concerned");
        assert_eq!(attempts.begin(of(1, "10.0.0.2"), start), Ok(()), "nor the same one elsewhere");
        let later = start + LIMITS.forgiven_every;
        assert_eq!([0, 1].map(|_| attempts.begin(attempt, later)), [Ok(()), Err(TooMany::OfUser)]);
    }

    #[test]
    fn a_device_that_fails_for_ever_keeps_no_other_user_of_its_address_out() {
        let limits = AttemptLimits { addresses_max: 100, ..LIMITS };
        let (mut attempts, start, stale) = (Attempts::new(limits), Instant::now(), of(1, "10.0.0.1"));
        let mut checked = 0;
        for second in 0..1_000 {
            let now = start + Duration::from_secs(second);
            checked += u32::from(attempts.begin(stale, now).is_ok());
            let other = of(2, "10.0.0.1");
            assert_eq!(attempts.begin(other, now), Ok(()), "after {second} s");
            attempts.succeeded(other, now);
        }
        assert_eq!(checked, 3 + 99, "three at once, then one every ten seconds");
    }

    #[test]
    fn who_tries_many_names_comes_to_the_bound_of_the_address() {
        let limits = AttemptLimits { addresses_max: 1_000, ..LIMITS };
        let (mut attempts, start) = (Attempts::new(limits), Instant::now());
        let mut tries = |users: std::ops::Range<u64>, now| {
            users.filter(|user| attempts.begin(of(*user, "10.0.0.1"), now).is_ok()).count()
        };
        assert_eq!(tries(0..500, start), 30);
        assert_eq!(tries(500..1_000, start + LIMITS.forgiven_every), 10);
        assert_eq!(attempts.begin(of(7, "10.0.0.1"), start), Err(TooMany::OfAddress));
        assert_eq!(attempts.begin(of(7, "10.0.0.2"), start), Ok(()), "another address is not concerned");
        // All of an IPv6 network are one address.
        let mut of_network = (0..100).map(|host| of(host, &format!("2001:db8::{host:x}")));
        assert_eq!(of_network.by_ref().filter(|one| attempts.begin(*one, start).is_ok()).count(), 30);
    }

    #[test]
    fn success_counts_for_nothing_and_forgives_nothing() {
        let (mut attempts, now, attempt) = (Attempts::new(LIMITS), Instant::now(), of(1, "10.0.0.1"));
        for _ in 0..100 {
            assert_eq!(attempts.begin(attempt, now), Ok(()));
            attempts.succeeded(attempt, now);
        }
        assert!(attempts.pairs.clean_at.is_empty() && attempts.pairs.cleanest_first.is_empty());
        assert!(attempts.addresses.clean_at.is_empty() && attempts.addresses.cleanest_first.is_empty());
        assert_eq!([0, 1, 2].map(|_| attempts.begin(attempt, now)), [Ok(()); 3]);
        assert_eq!(attempts.begin(attempt, now), Err(TooMany::OfUser));
        attempts.succeeded(attempt, now);
        assert_eq!([0, 1].map(|_| attempts.begin(attempt, now)), [Ok(()), Err(TooMany::OfUser)]);
    }

    #[test]
    fn a_full_table_forgets_who_failed_least() {
        let (mut attempts, now) = (Attempts::new(LIMITS), Instant::now());
        let [worst, once, new] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|address| of(1, address));
        for _ in 0..3 {
            attempts.begin(worst, now).unwrap();
        }
        attempts.begin(once, now).unwrap();
        attempts.begin(new, now).unwrap();
        assert_eq!((attempts.pairs.clean_at.len(), attempts.addresses.clean_at.len()), (2, 2));
        assert_eq!(attempts.begin(worst, now), Err(TooMany::OfUser));
        assert!(attempts.addresses.clean_at.contains_key(&new.peer));
        // When all are clean again, nobody is remembered beside the next one.
        attempts.begin(once, now + 10 * LIMITS.forgiven_every).unwrap();
        let pairs = &attempts.pairs;
        assert_eq!((pairs.clean_at.len(), pairs.cleanest_first.len()), (1, 1));
    }
}
