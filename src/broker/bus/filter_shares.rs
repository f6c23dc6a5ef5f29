//! Whose the filters are that are subscribed to: each is counted to the session that
//! made it, until that leaves it to another.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use crate::broker::limits::shares::{Owner, Shares};
use crate::broker::limits::standing::Standing;

/// Whether there is room for another filter.
#[derive(Debug, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Free,
    /// When a session of this owner ends, who has more filters than whoever wants another.
    FromOwner(Owner),
    /// When this session ends, which has more than another one of the same owner that wants another.
    FromSession(u64),
    /// There is none.
    None,
}

/// How many filters each owner has made, and each of its sessions.
pub struct FilterShares {
    filters_max: usize,
    by_owner: Shares,
    by_session: HashMap<Owner, Shares<u64>>,
}

impl FilterShares {
    pub fn new(filters_max: usize) -> Self {
        Self { filters_max, by_owner: Shares::default(), by_session: HashMap::new() }
    }

    /// Counts a filter to the session. What a session makes that has to go is not
    /// counted any more: it goes too.
    pub fn add(&mut self, maker: &Standing) {
        if !maker.is_evicted() {
            maker.filters.fetch_add(1, Ordering::Relaxed);
            self.by_owner.add(&maker.owner, 1);
            self.by_session.entry(maker.owner.clone()).or_default().add(&maker.session, 1);
        }
    }

    pub fn subtract(&mut self, maker: &Standing) {
        if !maker.is_evicted() {
            maker.filters.fetch_sub(1, Ordering::Relaxed);
            self.take(maker, 1);
        }
    }

    /// The session has to go, so its filters are free already.
    pub fn evict(&mut self, maker: &Standing) {
        if !maker.evict() {
            self.take(maker, maker.filters.load(Ordering::Relaxed));
        }
    }

    fn take(&mut self, maker: &Standing, filters: usize) {
        self.by_owner.subtract(&maker.owner, filters);
        if let Some(sessions) = self.by_session.get_mut(&maker.owner) {
            sessions.subtract(&maker.session, filters);
            if sessions.total() == 0 {
                self.by_session.remove(&maker.owner);
            }
        }
    }

    /// Whether `newcomer` may make another filter.
    pub fn room(&self, newcomer: &Standing) -> Room {
        if self.by_owner.total() < self.filters_max {
            return Room::Free;
        }
        if let Some(owner) = self.by_owner.gives_way(&newcomer.owner, 1) {
            return Room::FromOwner(owner);
        }
        // Clients that share no more than an address may be strangers to each other. A user's are not.
        let is_crowd = matches!(newcomer.owner, Owner::Address(_));
        let sessions = self.by_session.get(&newcomer.owner).filter(|_| is_crowd);
        sessions.and_then(|own| own.gives_way(&newcomer.session, 1)).map_or(Room::None, Room::FromSession)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn address(host: u8) -> Owner {
        Owner::Address([10, 0, 0, host].into())
    }

    fn makers(owner: &Owner, filters: &[usize], shares: &mut FilterShares, first: u64) -> Vec<Arc<Standing>> {
        let standing = |number| Standing::new(number, owner.clone());
        let makers: Vec<_> = (first..).map(standing).take(filters.len()).collect();
        for (maker, count) in makers.iter().zip(filters) {
            (0..*count).for_each(|_| shares.add(maker));
        }
        makers
    }

    #[test]
    fn whoever_has_most_gives_way_first_among_owners_and_then_among_strangers_of_one_address() {
        let mut shares = FilterShares::new(10);
        let hogs = makers(&address(1), &[2, 6], &mut shares, 1);
        let other = makers(&address(2), &[1, 0], &mut shares, 11);
        assert_eq!(shares.room(&other[0]), Room::Free);
        shares.add(&other[0]);
        assert_eq!(shares.room(&other[1]), Room::FromOwner(address(1)));
        assert_eq!((shares.room(&hogs[0]), shares.room(&hogs[1])), (Room::FromSession(2), Room::None));
        shares.evict(&hogs[1]);
        shares.evict(&hogs[1]);
        assert_eq!((shares.by_owner.total(), shares.room(&hogs[0])), (4, Room::Free));
        // What is still there of it when it ends is not taken away twice, and what it makes
        // until then is not counted.
        shares.add(&hogs[1]);
        (0..7).for_each(|_| shares.subtract(&hogs[1]));
        assert_eq!(shares.by_owner.total(), 4);
    }

    #[test]
    fn a_users_sessions_do_not_take_from_each_other() {
        let mut shares = FilterShares::new(8);
        let own = makers(&Owner::User("press".into()), &[8, 0], &mut shares, 1);
        assert_eq!(shares.room(&own[1]), Room::None);
        (0..8).for_each(|_| shares.subtract(&own[0]));
        assert!(shares.by_session.is_empty() && shares.room(&own[1]) == Room::Free);
    }
}
