//! Shares of what all clients have in common: who has how much of a bound, and who
//! gives way when it is reached.
//!
//! A bound that all share is nobody's until it is full: one owner may use all of it while no
//! other needs it. Then whoever has most gives way to whoever has less, until the two are
//! level. Two that are level take nothing from each other, so that no two of them can keep
//! exchanging the same place; if everybody has little, the bound is full for everybody.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::network::network;
use crate::sync::lock;

/// Whom something is counted to. Cheap to clone.
///
/// A user where the client has proved to be one: however many devices it has, they are one party.
/// Otherwise the network address, not the client id: whoever attacks invents as many client ids
/// as he likes, but he answers from the addresses that he has. Many devices behind one address
/// are one party too, which costs them nothing until another party needs what they have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// The node itself: in-process links.
    #[default]
    Node,
    /// A user, by password or certificate.
    User(Arc<str>),
    /// Clients that nobody knows, by their address; in IPv6 by the /64 network.
    Address(IpAddr),
}

impl Owner {
    /// The owner of what a client takes that has proved to be `user` and connects from `address`.
    pub fn of(user: Option<&Arc<str>>, address: IpAddr) -> Self {
        user.map_or_else(|| Self::Address(network(address)), |user| Self::User(user.clone()))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("the node"),
            Self::User(user) => write!(f, "user {user}"),
            Self::Address(address) => write!(f, "address {address}"),
        }
    }
}

/// How much each owner has of one bound. Who has nothing takes no memory.
#[derive(Debug)]
pub struct Shares<K = Owner> {
    held: HashMap<K, usize>,
    /// Who has how much in order, so that who has most is found at once.
    ranks: BTreeSet<(usize, K)>,
    total: usize,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self { held: HashMap::new(), ranks: BTreeSet::new(), total: 0 }
    }
}

impl<K: Clone + Eq + Hash + Ord> Shares<K> {
    /// What all have together.
    pub fn total(&self) -> usize {
        self.total
    }

    pub fn of(&self, owner: &K) -> usize {
        self.held.get(owner).copied().unwrap_or(0)
    }

    /// The one who has most, and how much.
    pub fn most(&self) -> Option<(&K, usize)> {
        self.ranks.last().map(|(held, owner)| (owner, *held))
    }

    pub fn add(&mut self, owner: &K, amount: usize) {
        self.set(owner, self.of(owner) + amount);
    }

    /// Takes back what was [added](Self::add).
    pub fn subtract(&mut self, owner: &K, amount: usize) {
        self.set(owner, self.of(owner).saturating_sub(amount));
    }

    /// Who gives up `amount` so that `newcomer` gets it: whoever has most, if that is no
    /// less than the newcomer's afterwards.
    pub fn gives_way(&self, newcomer: &K, amount: usize) -> Option<K> {
        let (owner, most) = self.most()?;
        let afterwards = self.of(newcomer).saturating_add(amount);
        (owner != newcomer && most.saturating_sub(amount) >= afterwards).then(|| owner.clone())
    }

    fn set(&mut self, owner: &K, held: usize) {
        let before = if held > 0 { self.held.insert(owner.clone(), held) } else { self.held.remove(owner) };
        let before = before.unwrap_or(0);
        self.ranks.remove(&(before, owner.clone()));
        if held > 0 {
            self.ranks.insert((held, owner.clone()));
        }
        self.total = self.total - before + held;
    }
}

/// So many places that all owners share.
#[derive(Debug)]
pub struct Bound {
    places_max: usize,
    taken: Mutex<Shares>,
}

/// One place of an owner's; dropped, it is free again.
#[derive(Debug)]
pub struct Place {
    bound: Arc<Bound>,
    owner: Owner,
}

impl Bound {
    pub fn new(places_max: usize) -> Arc<Self> {
        Arc::new(Self { places_max, taken: Mutex::default() })
    }

    /// A place, if more than `kept_free` of all are free.
    pub fn enter(self: &Arc<Self>, owner: &Owner, kept_free: usize) -> Option<Place> {
        let mut taken = lock(&self.taken);
        if taken.total().saturating_add(kept_free) >= self.places_max {
            return None;
        }
        taken.add(owner, 1);
        Some(Place { bound: self.clone(), owner: owner.clone() })
    }

    /// Who gives up a place so that `newcomer` gets it.
    pub fn gives_way(&self, newcomer: &Owner) -> Option<Owner> {
        lock(&self.taken).gives_way(newcomer, 1)
    }

    pub fn has(&self, owner: &Owner) -> bool {
        lock(&self.taken).of(owner) > 0
    }

    pub fn places_max(&self) -> usize {
        self.places_max
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        lock(&self.taken).total()
    }
}

impl Place {
    pub fn is_of(&self, bound: &Arc<Bound>) -> bool {
        Arc::ptr_eq(&self.bound, bound)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.bound.taken).subtract(&self.owner, 1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_user_is_one_owner_wherever_it_is_and_others_are_what_their_address_is() {
        let user: Arc<str> = "press".into();
        let [here, there] = ["2001:db8::1", "2001:db8:0:1::1"].map(address);
        assert_eq!(Owner::of(Some(&user), here), Owner::of(Some(&user), there));
        assert_ne!(Owner::of(None, here), Owner::of(None, there));
        assert_eq!(Owner::of(None, here), Owner::of(None, address("2001:db8::2")));
        let named_like_an_address: Arc<str> = "2001:db8::".into();
        assert_ne!(Owner::of(None, here), Owner::of(Some(&named_like_an_address), here));
    }

    #[test]
    fn who_has_most_gives_way_until_both_are_level() {
        let mut shares = Shares::default();
        shares.add(&"hog", 10);
        let mut exchanged = 0;
        while let Some(hog) = shares.gives_way(&"newcomer", 1) {
            shares.subtract(&hog, 1);
            shares.add(&"newcomer", 1);
            exchanged += 1;
        }
        assert_eq!((exchanged, shares.of(&"hog"), shares.of(&"newcomer"), shares.total()), (5, 5, 5, 10));
        assert_eq!(shares.gives_way(&"hog", 1), None, "nor the other way round");
    }

    #[test]
    fn nobody_gives_way_to_itself_or_where_everybody_has_little() {
        let mut shares = Shares::default();
        for owner in ["a", "b", "c"] {
            shares.add(&owner, 1);
        }
        assert_eq!(shares.gives_way(&"d", 1), None);
        shares.add(&"a", 5);
        assert_eq!((shares.gives_way(&"d", 1), shares.gives_way(&"a", 1)), (Some("a"), None));
        assert_eq!(shares.gives_way(&"d", 4), None, "so much would make the newcomer the one who has most");
    }

    proptest! {
        #[test]
        fn the_ranks_are_always_what_is_held(changes in prop::collection::vec((0..4_u8, 0..5_usize, any::<bool>()), 0..60)) {
            let mut shares = Shares::default();
            let mut plain = [0_usize; 4];
            for (owner, amount, is_more) in changes {
                let held = &mut plain[usize::from(owner)];
                if is_more {
                    *held += amount;
                    shares.add(&owner, amount);
                } else {
                    *held = held.saturating_sub(amount);
                    shares.subtract(&owner, amount);
                }
                prop_assert_eq!(shares.total(), plain.iter().sum::<usize>());
                let most = plain.iter().copied().max().filter(|&most| most > 0);
                prop_assert_eq!(shares.most().map(|(_, held)| held), most);
                prop_assert!((0..4).all(|owner| shares.of(&owner) == plain[usize::from(owner)]));
                let holders = plain.iter().filter(|&&held| held > 0).count();
                prop_assert_eq!((shares.held.len(), shares.ranks.len()), (holders, holders));
            }
        }
    }
}
