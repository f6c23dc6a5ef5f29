//! Who owns each client id: a connection, or the keeper of a session whose client is away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Session;
use crate::broker::codec::reason::Reason;
use crate::broker::limits::shares::{Bound, Place};
use crate::broker::limits::standing::Keeper;
use crate::sync::lock;

/// How long the previous owner of a client id may take to hand its session over.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(10);
/// An owner gets one order to hand over, one to give way, one to review its rights and one to end, at most.
const ORDERS_MAX: usize = 4;

/// What an owner is told.
pub enum Order {
    /// Another connection has this client id now: hand the session over, or end it.
    HandOver {
        /// The newcomer starts afresh.
        is_clean: bool,
        reply: oneshot::Sender<Option<Box<Session>>>,
    },
    /// What it takes is needed by somebody who has less: a connection ends, and a
    /// session whose client is away.
    GiveWay {
        /// Of a connection the session too.
        ends_session: bool,
    },
    /// The rules may have changed: who waits for nothing else would not notice.
    Review(Reviewing),
    /// The broker is ending.
    End(Reason),
}

/// An order to review that waits for its owner; none is given beside it.
#[derive(Clone, Default)]
pub struct Reviewing(Arc<AtomicBool>);

impl Reviewing {
    /// Notes that it is waited for no longer: rules that change from here on want another one.
    pub fn begin(&self) {
        self.0.store(false, Ordering::Release);
    }

    fn is_first(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

struct Owner {
    generation: u64,
    orders: mpsc::Sender<Order>,
    reviewing: Reviewing,
    user: Option<Arc<str>>,
    /// Among the clients that are online, or among the sessions whose clients are away.
    place: Option<Place>,
}

/// The owners, by client id.
#[derive(Default)]
pub struct Registry {
    owners: Mutex<HashMap<Arc<str>, Owner>>,
    generations: AtomicU64,
}

/// The client id belongs to another user.
pub struct OtherUsers;

/// What a new owner gets.
pub struct Acquired {
    pub generation: u64,
    pub orders: mpsc::Receiver<Order>,
    /// The previous owner's session, if there is one and it goes on.
    pub session: Option<Box<Session>>,
}

impl Registry {
    /// A number never given before.
    pub fn next_number(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Becomes the owner of `client_id`; the previous one is told to hand over, and waited
    /// for. One user's session, and what waits in it, is never handed to another user.
    pub async fn acquire(
        &self,
        client_id: &Arc<str>,
        is_clean: bool,
        user: Option<&Arc<str>>,
        place: Place,
    ) -> Result<Acquired, OtherUsers> {
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        let generation = self.next_number();
        let (reply, answer) = oneshot::channel();
        {
            let mut owners = lock(&self.owners);
            if owners.get(client_id).is_some_and(|owner| owner.user.as_ref() != user) {
                return Err(OtherUsers);
            }
            let (reviewing, user) = (Reviewing::default(), user.cloned());
            let owner = Owner { generation, orders: sender, reviewing, user, place: Some(place) };
            let previous = owners.insert(client_id.clone(), owner);
            // Sent while the map is locked: an owner that finds itself replaced has the order in its queue.
            if let Some(previous) = previous {
                // An error means that it ended without a word; then there is no session.
                let _ended = previous.orders.try_send(Order::HandOver { is_clean, reply });
            } else {
                drop(reply);
            }
        }
        let session = match tokio::time::timeout(HAND_OVER_TIMEOUT, answer).await {
            Ok(Ok(session)) if !is_clean => session,
            _ => None,
        };
        Ok(Acquired { generation, orders, session })
    }

    /// Whether this user's client has `client_id` already: it is online, or its session waits for it.
    pub fn knows(&self, client_id: &str, user: Option<&Arc<str>>) -> bool {
        lock(&self.owners).get(client_id).is_some_and(|owner| owner.user.as_ref() == user)
    }

    /// The place among those of `bound` that this user's client has under the same id:
    /// the newcomer is the same client, and its old connection ends.
    pub fn take_place(&self, client_id: &str, user: Option<&Arc<str>>, bound: &Arc<Bound>) -> Option<Place> {
        let mut owners = lock(&self.owners);
        let owner = owners.get_mut(client_id).filter(|owner| owner.user.as_ref() == user)?;
        owner.place.take_if(|place| place.is_of(bound))
    }

    /// Gives the owner another place instead of the one it has, or none; unless it is not the owner any more.
    pub fn seat(&self, keeper: &Keeper, place: Option<Place>) {
        let mut owners = lock(&self.owners);
        let owner = owners.get_mut(&keeper.client_id).filter(|owner| owner.generation == keeper.generation);
        if let Some(owner) = owner {
            owner.place = place;
        }
    }

    /// Tells an owner to give way. Its place is free at once. `false` when it has been
    /// told already, or is the owner no more.
    pub fn give_way(&self, keeper: &Keeper, ends_session: bool) -> bool {
        let mut owners = lock(&self.owners);
        let owner = owners.get_mut(&keeper.client_id).filter(|owner| owner.generation == keeper.generation);
        owner.is_some_and(|owner| {
            owner.place.take().is_some() && owner.orders.try_send(Order::GiveWay { ends_session }).is_ok()
        })
    }

    /// Gives `client_id` up. `false` when another owner has it already: then an order to
    /// hand over is in the queue.
    pub fn release(&self, client_id: &str, generation: u64) -> bool {
        let mut owners = lock(&self.owners);
        let is_ours = owners.get(client_id).is_some_and(|owner| owner.generation == generation);
        if is_ours {
            owners.remove(client_id);
        }
        is_ours
    }

    /// How many client ids have an owner.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        lock(&self.owners).len()
    }

    /// Tells every owner that the rules may have changed.
    pub fn review_all(&self) {
        for owner in lock(&self.owners).values().filter(|owner| owner.reviewing.is_first()) {
            // An error means that it ends anyway.
            let _ends = owner.orders.try_send(Order::Review(owner.reviewing.clone()));
        }
    }

    /// Tells every owner that the broker is ending.
    pub fn end_all(&self, reason: Reason) {
        for owner in lock(&self.owners).values() {
            // A full queue has an order in it already.
            let _has_order = owner.orders.try_send(Order::End(reason));
        }
    }
}
