//! One bound over all that a broker holds in memory: what each buffer takes, counted
//! to whom it belongs, and who gives way.
//!
//! Every buffer has a [`Charge`](super::charge::Charge) and tells it what it takes. A charge passes on
//! changes that matter only, so that the small queues of every message cost no lock and touch nothing that is
//! shared. Who is told to give something up is said here; how it is done is in `pressure`.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::charge::Holder;
use super::shares::{Owner, Shares};
use super::standing::Standing;
use crate::sync::lock;

/// What keeping one allocation takes beside it: what allocators round up by, and a note of its size.
pub const ALLOCATION_BYTES: usize = 16;

/// What memory is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryKind {
    /// Retained messages.
    Retained,
    /// Sessions and their subscriptions.
    Sessions,
    /// Messages that wait for a client or its acknowledgement, online or away.
    Queues,
    /// What was read from clients and is not worked off, and what is written to them and not sent.
    Connections,
    /// Messages that wait in shared subscriptions.
    Groups,
    /// Messages on their way through the router.
    Router,
}

impl MemoryKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Retained, Self::Sessions, Self::Queues, Self::Connections, Self::Groups, Self::Router];

    /// What it is for, as docs/metrics.md says it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Retained => "retained messages",
            Self::Sessions => "sessions and their subscriptions",
            Self::Queues => "messages that wait for a client or its acknowledgement, online or away",
            Self::Connections => {
                "what was read from clients and is not worked off, and what is written to them and not sent"
            }
            Self::Groups => "messages that wait in shared subscriptions",
            Self::Router => "messages on their way through the router",
        }
    }

    /// Its name in metrics and documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retained => "retained",
            Self::Sessions => "sessions",
            Self::Queues => "queues",
            Self::Connections => "connections",
            Self::Groups => "groups",
            Self::Router => "router",
        }
    }
}

/// What a broker takes of memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryUse([usize; MemoryKind::ALL.len()]);

impl MemoryUse {
    /// For one kind of thing, in bytes.
    pub fn of(&self, kind: MemoryKind) -> usize {
        self.0[kind as usize]
    }

    /// For all of them, in bytes.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }

    /// Each kind's name and bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, usize)> {
        MemoryKind::ALL.into_iter().map(|kind| (kind.name(), self.of(kind)))
    }

    pub(crate) fn add(&mut self, kind: MemoryKind, bytes: usize) {
        self.0[kind as usize] += bytes;
    }
}

/// How much of the bound is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Whatever other bounds allow may grow.
    Calm,
    /// From three quarters on. Who has half as much as the one who has most, or more, gets no more.
    Tight,
    /// From nine tenths on. So does who has a quarter; and the one who has most gives
    /// something up, until it is calm.
    Full,
    /// All of it. Nobody gets more.
    Over,
}

/// The account of all.
pub struct Memory {
    max: usize,
    /// What the broker itself takes of that for all: nobody's, so that nobody can give it up.
    aside: AtomicUsize,
    total: AtomicUsize,
    kinds: [AtomicUsize; MemoryKind::ALL.len()],
    shares: Mutex<Shares<Owner>>,
    /// Those who can be told to give way.
    holders: Mutex<HashMap<u64, Weak<Holder>>>,
    next_holder: AtomicU64,
    /// What was not taken, or given up, and is not told as something refused.
    refused: AtomicU64,
    /// Told when memory gets tight or fuller.
    pub pressed: Notify,
}

impl Memory {
    /// An account of at most `max` bytes.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            aside: AtomicUsize::new(0),
            total: AtomicUsize::new(0),
            kinds: Default::default(),
            shares: Mutex::default(),
            holders: Mutex::default(),
            next_holder: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            pressed: Notify::new(),
        })
    }

    pub fn max(&self) -> usize {
        self.max
    }

    /// What is left of it for clients.
    fn bound(&self) -> usize {
        self.max - self.aside.load(Ordering::Relaxed)
    }

    /// Sets aside what the broker itself takes now, but never more than half: with less
    /// nobody would be served, whatever anybody gives up.
    pub fn set_aside(&self, bytes: usize) {
        let before = self.level();
        self.aside.store(bytes.min(self.max / 2), Ordering::Relaxed);
        if self.level() > before {
            self.pressed.notify_one();
        }
    }

    pub fn level(&self) -> Level {
        self.level_of(self.total.load(Ordering::Relaxed))
    }

    fn level_of(&self, total: usize) -> Level {
        let bound = self.bound();
        match total {
            total if total < bound / 4 * 3 => Level::Calm,
            total if total < bound / 10 * 9 => Level::Tight,
            total if total < bound => Level::Full,
            _ => Level::Over,
        }
    }

    /// Whether `owner` may take more.
    pub fn may_grow(&self, owner: &Owner) -> bool {
        let parts = match self.level() {
            Level::Calm => return true,
            Level::Tight => 2,
            Level::Full => 4,
            Level::Over => return false,
        };
        let shares = lock(&self.shares);
        let most = shares.most().map_or(0, |(_, most)| most);
        shares.of(owner).saturating_mul(parts) < most
    }

    /// Counts what was not taken, or given up, for want of memory.
    pub fn note_refused(&self, count: u64) {
        self.refused.fetch_add(count, Ordering::Relaxed);
    }

    /// How much was.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Who has most.
    pub fn most(&self) -> Option<Owner> {
        lock(&self.shares).most().map(|(owner, _)| owner.clone())
    }

    /// The owner's sessions that have not been told to give way, the largest first.
    pub fn sessions_of(&self, owner: &Owner) -> Vec<Arc<Holder>> {
        let mut sessions = self.sessions();
        sessions.retain(|holder| holder.owner == *owner && !holder.is_asked());
        sessions.sort_by_cached_key(|holder| Reverse(holder.held()));
        sessions
    }

    /// What those sessions take that have been told to give way.
    pub fn asked_bytes(&self) -> usize {
        self.sessions().iter().filter(|holder| holder.is_asked()).map(|holder| holder.held()).sum()
    }

    /// Those that live: what others still hold of one that has ended is not given up by telling it.
    fn sessions(&self) -> Vec<Arc<Holder>> {
        // A copy of the table, for a holder that ends needs it.
        let mut holders: Vec<_> = lock(&self.holders).values().filter_map(Weak::upgrade).collect();
        holders.retain(|holder| holder.waiting().is_some());
        holders
    }

    /// How much must go until it is not scarce any more.
    pub fn too_much(&self) -> usize {
        self.total.load(Ordering::Relaxed).saturating_sub(self.bound() / 4 * 3)
    }

    /// What is taken of one kind.
    pub fn of_kind(&self, kind: MemoryKind) -> usize {
        self.kinds[kind as usize].load(Ordering::Relaxed)
    }

    /// Whether memory would not be scarce if so many bytes were not taken.
    pub fn is_calm_without(&self, bytes: usize) -> bool {
        self.level_of(self.total.load(Ordering::Relaxed).saturating_sub(bytes)) == Level::Calm
    }

    /// What is taken, by kind.
    pub fn used(&self) -> MemoryUse {
        MemoryUse(std::array::from_fn(|kind| self.kinds[kind].load(Ordering::Relaxed)))
    }

    /// Someone who takes memory: a session that can be told to give way, or something else of this owner.
    pub fn holder(self: &Arc<Self>, owner: Owner, standing: Option<Arc<Standing>>) -> Arc<Holder> {
        let number = self.next_holder.fetch_add(1, Ordering::Relaxed);
        let holder = Holder::new(self.clone(), owner, standing, number);
        if holder.standing.is_some() {
            lock(&self.holders).insert(number, Arc::downgrade(&holder));
        }
        holder
    }

    /// One of the holders is gone.
    pub fn forget(&self, holder: u64) {
        lock(&self.holders).remove(&holder);
    }

    /// What an owner takes of one kind has changed.
    pub fn change(&self, owner: &Owner, kind: MemoryKind, before: usize, after: usize) {
        let add = |total: &AtomicUsize| {
            let old = if after >= before {
                total.fetch_add(after - before, Ordering::Relaxed)
            } else {
                total.fetch_sub(before - after, Ordering::Relaxed)
            };
            (old, old.wrapping_add(after).wrapping_sub(before))
        };
        add(&self.kinds[kind as usize]);
        {
            let mut shares = lock(&self.shares);
            if after >= before {
                shares.add(owner, after - before);
            } else {
                shares.subtract(owner, before - after);
            }
        }
        let (old, new) = add(&self.total);
        if self.level_of(new) > self.level_of(old) {
            self.pressed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::broker::limits::charge::{Charge, STEP_BYTES, Waiting};
    use crate::broker::limits::standing::Keeper;

    const MIB: usize = 1 << 20;

    fn user(name: &str) -> Owner {
        Owner::User(name.into())
    }

    #[test]
    fn what_charges_take_is_counted_by_kind_and_owner_until_they_are_dropped() {
        let memory = Memory::new(100 * MIB);
        let holder = memory.holder(user("a"), None);
        let mut queue = holder.charge(MemoryKind::Queues, 1_000);
        let session = holder.charge(MemoryKind::Sessions, 500);
        assert_eq!((memory.used().of(MemoryKind::Queues), memory.used().total()), (1_000, 1_500));
        queue.set(1_000 + STEP_BYTES - 1);
        assert_eq!(memory.used().total(), 1_500, "too little to be passed on");
        queue.set(1_000_000);
        queue.set(990_000);
        assert_eq!((holder.held(), memory.used().total()), (1_000_500, 1_000_500));
        drop((queue, session));
        assert_eq!((holder.held(), memory.used()), (0, MemoryUse::default()));
        drop(holder);
        assert!(memory.most().is_none() && lock(&memory.holders).is_empty());
    }

    #[test]
    fn who_has_most_gets_no_more_first_and_at_the_bound_nobody_does() {
        let memory = Memory::new(100 * MIB);
        let [hog, calm] =
            ["hog", "calm"].map(|name| memory.holder(user(name), Some(Standing::new(1, user(name)))));
        let mut hogs = hog.charge(MemoryKind::Queues, 70 * MIB);
        let _calms = calm.charge(MemoryKind::Queues, MIB);
        assert_eq!((memory.level(), hog.may_grow(), calm.may_grow()), (Level::Calm, true, true));
        hogs.set(80 * MIB);
        assert_eq!((memory.level(), hog.may_grow(), calm.may_grow()), (Level::Tight, false, true));
        assert!(hogs.may_be(80 * MIB) && !hogs.may_be(81 * MIB));
        hogs.set(95 * MIB);
        assert_eq!((memory.level(), hog.may_grow(), calm.may_grow()), (Level::Full, false, true));
        hogs.set(105 * MIB);
        assert_eq!((memory.level(), hog.may_grow(), calm.may_grow()), (Level::Over, false, false));
        assert_eq!(memory.refused(), 0, "who only looks is not refused anything");
    }

    /// A queue with nothing in it.
    #[derive(Default)]
    struct Queue {
        is_closed: AtomicBool,
    }

    impl Waiting for Queue {
        fn is_closed(&self) -> bool {
            self.is_closed.load(Ordering::Relaxed)
        }

        fn give_up_half(&self) -> u64 {
            0
        }
    }

    fn session(memory: &Arc<Memory>, number: u64, bytes: usize) -> (Arc<Holder>, Arc<Queue>, Charge) {
        let standing = Standing::new(number, user("hog"));
        let keeper = Keeper { client_id: "c".into(), generation: number };
        standing.attach(keeper, 0);
        let holder = memory.holder(user("hog"), Some(standing));
        let queue = Arc::new(Queue::default());
        let waiting: Weak<Queue> = Arc::downgrade(&queue);
        holder.set_waiting(waiting);
        let charge = holder.charge(MemoryKind::Sessions, bytes);
        (holder, queue, charge)
    }

    #[test]
    fn only_sessions_that_live_are_told_to_give_way_or_counted_on() {
        let memory = Memory::new(100 * MIB);
        let (large, large_queue, _large) = session(&memory, 1, 30 * MIB);
        let (small, _small_queue, _small) = session(&memory, 2, 10 * MIB);
        let _of_another = memory.holder(user("calm"), None).charge(MemoryKind::Retained, MIB);
        let numbers = || -> Vec<_> {
            let sessions = memory.sessions_of(&user("hog")).into_iter();
            sessions.filter_map(|own| own.standing.as_ref().map(|own| own.session)).collect()
        };
        assert_eq!((numbers(), memory.asked_bytes()), (vec![1, 2], 0));
        large.note_asked(&large.standing.as_ref().unwrap().keeper());
        assert_eq!((numbers(), memory.asked_bytes()), (vec![2], 30 * MIB));
        large_queue.is_closed.store(true, Ordering::Relaxed);
        assert_eq!((numbers(), memory.asked_bytes()), (vec![2], 0), "what outlives it makes no room");
        let standing = small.standing.as_ref().unwrap();
        small.note_asked(&standing.keeper());
        assert_eq!((numbers(), memory.asked_bytes()), (vec![], 10 * MIB));
        standing.attach(Keeper { client_id: "c".into(), generation: 3 }, 0);
        assert_eq!((numbers(), memory.asked_bytes()), (vec![2], 0), "who took it over was not told");
    }

    #[test]
    fn what_is_retained_is_counted_to_the_owner_beside_the_session() {
        let memory = Memory::new(100 * MIB);
        let (holder, _queue, _charge) = session(&memory, 1, MIB);
        let kept = holder.of_retained().charge(MemoryKind::Retained, 5 * MIB);
        assert_eq!((holder.held(), lock(&memory.shares).of(&user("hog"))), (MIB, 6 * MIB));
        assert_eq!(kept.owner(), user("hog"));
    }

    #[test]
    fn what_is_set_aside_is_not_there_for_clients_but_half_of_it_always_is() {
        let memory = Memory::new(100 * MIB);
        let holder = memory.holder(user("a"), None);
        let _charge = holder.charge(MemoryKind::Queues, 60 * MIB);
        assert_eq!((memory.level(), memory.too_much()), (Level::Calm, 0));
        memory.set_aside(30 * MIB);
        assert_eq!(memory.level(), Level::Tight);
        assert!((7 * MIB..8 * MIB).contains(&memory.too_much()), "{}", memory.too_much());
        memory.set_aside(usize::MAX);
        drop(_charge);
        let _charge = holder.charge(MemoryKind::Queues, 37 * MIB);
        assert_eq!(memory.level(), Level::Calm);
    }

    #[test]
    fn a_charge_that_counts_nowhere_may_be_anything() {
        let mut charge = Charge::default();
        charge.set(usize::MAX);
        assert!(charge.may_be(usize::MAX));
    }
}
