//! Shared subscriptions: each message goes to one member of a group that is online.

use super::access::{Access, Action, Identity};
use super::bus::{Bus, lock};
use super::config::SharedStrategy;
use super::publication::Publication;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Messages that wait for one member; when all members are full, the group keeps them.
pub(super) const MEMBER_QUEUE_MESSAGES: usize = 64;
/// Messages that members gave back and that wait for another member; more are dropped.
const RETURNED_MESSAGES_MAX: usize = 2_048;

/// A message for one member.
pub(super) struct SharedDelivery {
    /// The member's own id of the subscription.
    pub subscription: usize,
    pub publication: Arc<Publication>,
    pub group: Arc<Group>,
}

/// Who joins, and where its messages go.
pub(super) struct Member {
    pub session: u64,
    pub subscription: usize,
    pub queue: mpsc::Sender<SharedDelivery>,
    /// Says what it may have, where that may be a part of what the group gets.
    pub judge: Option<Judge>,
}

/// A member's rights.
pub(super) struct Judge {
    pub access: Arc<dyn Access>,
    pub who: Identity,
}

impl Member {
    fn may_have(&self, topic: &[u8]) -> bool {
        let Some(judge) = &self.judge else { return true };
        std::str::from_utf8(topic)
            .is_ok_and(|topic| judge.access.authorize(&judge.who, Action::Subscribe, topic))
    }
}

#[derive(Default)]
struct Members {
    list: Vec<Member>,
    turn: usize,
}

/// What no member had room for.
#[derive(Default)]
struct Waiting {
    /// What members gave back, which goes first.
    returned: VecDeque<Arc<Publication>>,
    fresh: VecDeque<Arc<Publication>>,
    fresh_bytes: usize,
}

/// The members of one group and filter.
pub(super) struct Group {
    pub name: String,
    pub filter: String,
    members: Mutex<Members>,
    waiting: Mutex<Waiting>,
    strategy: SharedStrategy,
    /// What may wait for a member, in bytes.
    bytes_max: usize,
}

impl Group {
    pub fn new(name: &str, filter: &str, strategy: SharedStrategy, bytes_max: usize) -> Self {
        Self {
            name: name.to_owned(),
            filter: filter.to_owned(),
            members: Mutex::default(),
            waiting: Mutex::default(),
            strategy,
            bytes_max,
        }
    }

    /// Takes a member in, in the place of an earlier membership of its session.
    pub fn join(&self, member: Member) {
        let mut members = lock(&self.members);
        members.list.retain(|other| other.session != member.session);
        members.list.push(member);
    }

    /// Takes a session out. Whether nobody is left.
    pub fn leave(&self, session: u64) -> bool {
        let mut members = lock(&self.members);
        members.list.retain(|member| member.session != session);
        members.list.is_empty()
    }

    /// Gives a message to a member, or keeps it until one has room. Returns how many were dropped for that: the oldest.
    pub fn put(self: &Arc<Self>, publication: Arc<Publication>) -> u64 {
        let mut dropped = 0;
        {
            let mut waiting = lock(&self.waiting);
            waiting.fresh_bytes += publication.bytes();
            waiting.fresh.push_back(publication);
            while waiting.fresh_bytes > self.bytes_max
                && waiting.fresh.len() > 1
                && waiting.pop_fresh().is_some()
            {
                dropped += 1;
            }
        }
        self.hand_out();
        dropped
    }

    /// Gives out what waits, as far as members have room.
    pub fn hand_out(self: &Arc<Self>) {
        let mut waiting = lock(&self.waiting);
        while let Some(publication) = waiting.pop() {
            if let Some(publication) = self.dispatch(publication) {
                return waiting.put_back(publication);
            }
        }
    }

    /// Gives a message to a member with room; hands it back when there is none. What none of the members may have is for nobody.
    pub fn dispatch(self: &Arc<Self>, mut publication: Arc<Publication>) -> Option<Arc<Publication>> {
        let mut members = lock(&self.members);
        let count = members.list.len();
        let first = match self.strategy {
            SharedStrategy::RoundRobin => {
                members.turn = members.turn.wrapping_add(1);
                members.turn
            }
            SharedStrategy::Random => rand::random::<u32>() as usize,
            SharedStrategy::Sticky => 0,
        };
        let mut is_for_nobody = count > 0;
        for offset in 0..count {
            let member = &members.list[(first.wrapping_add(offset)) % count];
            if !member.may_have(&publication.topic) {
                continue;
            }
            is_for_nobody = false;
            let delivery =
                SharedDelivery { subscription: member.subscription, publication, group: self.clone() };
            match member.queue.try_send(delivery) {
                Ok(()) => return None,
                Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) => {
                    publication = back.publication;
                }
            }
        }
        (!is_for_nobody).then_some(publication)
    }

    /// Takes a message back from a member that leaves; it goes to another one. `false` when it is dropped, because no member
    /// is left or too many such messages wait.
    pub fn give_back(self: &Arc<Self>, publication: Arc<Publication>) -> bool {
        if lock(&self.members).list.is_empty() {
            return false;
        }
        {
            let mut waiting = lock(&self.waiting);
            if waiting.returned.len() >= RETURNED_MESSAGES_MAX {
                return false;
            }
            waiting.returned.push_back(publication);
        }
        self.hand_out();
        true
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Arc<Publication>> {
        self.returned.pop_front().or_else(|| self.pop_fresh())
    }

    fn pop_fresh(&mut self) -> Option<Arc<Publication>> {
        let publication = self.fresh.pop_front()?;
        self.fresh_bytes -= publication.bytes();
        Some(publication)
    }

    /// Puts back what was taken and nobody had room for.
    fn put_back(&mut self, publication: Arc<Publication>) {
        self.returned.push_front(publication);
    }
}

/// A place in a group; dropped, it is given up.
pub(super) struct Membership {
    bus: Arc<Bus>,
    group: Arc<Group>,
    session: u64,
}

impl Membership {
    pub fn new(bus: Arc<Bus>, group: Arc<Group>, session: u64) -> Self {
        Self { bus, group, session }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.bus.subscriptions().leave(&self.group, self.session);
        // Others may have room.
        self.group.hand_out();
    }
}
