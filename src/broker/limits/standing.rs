//! What is known of each session outside of it: whose it is, how long it idles, and what
//! would be lost with it. So the one is found that goes first when its owner has to give way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::shares::Owner;
use crate::sync::lock;

/// What would be lost with a session: who has to give way loses what is worth least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Worth {
    /// Its client is away, and neither waits for anything nor has subscribed to anything.
    Bare,
    /// Its client is away, and has subscribed to something.
    Subscribed,
    /// Its client is there, and learns at once that the session has ended.
    Online,
    /// Its client is away, and messages that were acknowledged to their publishers wait for it.
    Holding,
}

/// A session as others see it.
#[derive(Debug)]
pub struct Standing {
    /// The session's number.
    pub session: u64,
    /// Whom what it takes is counted to, from its beginning to its end: a client that
    /// comes back from elsewhere moves nothing.
    pub owner: Owner,
    /// Of those who had the client id, the one that has the session now.
    keeper: Mutex<Keeper>,
    worth: AtomicU8,
    /// When its client did something, as the bus's clock has it and to within the ticks of its connection.
    active_ms: AtomicU64,
    /// Distinct filters that are counted to this session.
    pub filters: AtomicUsize,
    /// It has been told to give way.
    is_told: AtomicBool,
    /// It ends, and its filters are not counted any more.
    is_evicted: AtomicBool,
}

/// Whom to tell: the owner of a client id in the registry.
#[derive(Debug, Clone, Default)]
pub struct Keeper {
    pub client_id: Arc<str>,
    pub generation: u64,
}

impl Standing {
    pub fn new(session: u64, owner: Owner) -> Arc<Self> {
        Arc::new(Self {
            session,
            owner,
            keeper: Mutex::default(),
            worth: AtomicU8::new(Worth::Online as u8),
            active_ms: AtomicU64::new(0),
            filters: AtomicUsize::new(0),
            is_told: AtomicBool::new(false),
            is_evicted: AtomicBool::new(false),
        })
    }

    /// Another connection has the session now.
    pub fn attach(&self, keeper: Keeper, now_ms: u64) {
        *lock(&self.keeper) = keeper;
        self.begin(Worth::Online);
        self.note_active(now_ms);
    }

    /// It is with a connection now, or with whoever keeps it while its client is away.
    pub fn begin(&self, worth: Worth) {
        self.note(worth);
        self.is_told.store(false, Ordering::Relaxed);
    }

    pub fn tell(&self) {
        self.is_told.store(true, Ordering::Relaxed);
    }

    /// Notes that its filters are not counted any more. Whether they were not before.
    pub fn evict(&self) -> bool {
        self.is_evicted.swap(true, Ordering::Relaxed)
    }

    pub fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Relaxed)
    }

    pub fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Relaxed)
    }

    pub fn keeper(&self) -> Keeper {
        lock(&self.keeper).clone()
    }

    pub fn note(&self, worth: Worth) {
        self.worth.store(worth as u8, Ordering::Relaxed);
    }

    pub fn worth(&self) -> Worth {
        let worths = [Worth::Bare, Worth::Subscribed, Worth::Online, Worth::Holding];
        worths[usize::from(self.worth.load(Ordering::Relaxed)).min(worths.len() - 1)]
    }

    pub fn note_active(&self, now_ms: u64) {
        self.active_ms.store(now_ms, Ordering::Relaxed);
    }

    pub fn active_ms(&self) -> u64 {
        self.active_ms.load(Ordering::Relaxed)
    }
}

type Listing = HashMap<Owner, HashMap<u64, Arc<Standing>>>;

/// The sessions of each owner.
#[derive(Default)]
pub struct Roster(Mutex<Listing>);

/// A session's entry in a roster, while it lives.
pub struct Listed {
    roster: Arc<Roster>,
    owner: Owner,
    session: u64,
}

impl Roster {
    /// Lists a session as one of `owner`'s.
    pub fn list(self: &Arc<Self>, owner: &Owner, standing: &Arc<Standing>) -> Listed {
        lock(&self.0).entry(owner.clone()).or_default().insert(standing.session, standing.clone());
        Listed { roster: self.clone(), owner: owner.clone(), session: standing.session }
    }

    /// Those of `owner`'s sessions that have a rank: the one with the least first, and
    /// among those that have the same the one that idles longest.
    pub fn ranked<R: Ord>(&self, owner: &Owner, rank: impl Fn(&Standing) -> Option<R>) -> Vec<Arc<Standing>> {
        let listing = lock(&self.0);
        let mut ranked: Vec<_> = listing
            .get(owner)
            .into_iter()
            .flat_map(|sessions| sessions.values())
            // The session's number decides between those that have idled since the same millisecond.
            .filter_map(|own| Some(((rank(own)?, own.active_ms(), own.session), own.clone())))
            .collect();
        ranked.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        ranked.into_iter().map(|(_, own)| own).collect()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut listing = lock(&self.roster.0);
        if let Some(own) = listing.get_mut(&self.owner) {
            own.remove(&self.session);
            if own.is_empty() {
                listing.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_least_goes_first_and_then_what_idles_longest() {
        let roster = Arc::new(Roster::default());
        let owner = Owner::User("hog".into());
        let listed: Vec<_> =
            [(Worth::Subscribed, 1), (Worth::Bare, 9), (Worth::Bare, 7), (Worth::Holding, 0)]
                .into_iter()
                .zip(1..)
                .map(|((worth, active_ms), number)| {
                    let standing = Standing::new(number, owner.clone());
                    standing.note(worth);
                    standing.note_active(active_ms);
                    (roster.list(&owner, &standing), standing)
                })
                .collect();
        let first = |below: Worth| {
            let ranked = |own: &Standing| Some(own.worth()).filter(|worth| *worth < below);
            roster.ranked(&owner, ranked).first().map(|own| own.session)
        };
        assert_eq!((first(Worth::Holding), first(Worth::Bare)), (Some(3), None));
        assert_eq!(roster.ranked(&Owner::Node, |own| Some(own.worth())).len(), 0);
        drop(listed);
        assert!(lock(&roster.0).is_empty(), "nothing is left of sessions that have ended");
    }
}
