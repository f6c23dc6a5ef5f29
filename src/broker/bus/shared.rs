//! Shared subscriptions: each message goes to one member of a group that is online.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::Bus;
use super::gate::Gate;
use super::mailbox::{Copy, Mailbox};
use super::member_queue::{MemberQueue, Place, SharedDelivery};
use super::publication::Publication;
use crate::broker::access::{Access, Identity, may_read};
use crate::broker::config::SharedStrategy;
use crate::broker::limits::charge::{Charge, Holder};
use crate::broker::limits::memory::MemoryKind;
use crate::broker::limits::standing::Standing;
use crate::sync::lock;

/// Messages that members gave back and that wait for another member; more are dropped.
const RETURNED_MESSAGES_MAX: usize = 2_048;

/// Who joins, and where its messages go.
pub struct Member {
    pub standing: Arc<Standing>,
    pub subscription: usize,
    pub queue: Arc<MemberQueue>,
    /// Says what it may have, where that may be a part of what the group gets.
    pub judge: Option<Judge>,
    /// Whom the group is counted to while it is the eldest member.
    pub holder: Option<Arc<Holder>>,
}

/// A member's rights.
pub struct Judge {
    pub access: Arc<dyn Access>,
    pub who: Identity,
}

impl Member {
    fn may_have(&self, topic: &[u8]) -> bool {
        let Some(judge) = &self.judge else { return true };
        may_read(&*judge.access, &judge.who, topic)
    }
}

#[derive(Default)]
struct Members {
    list: Vec<(Member, Arc<Place>)>,
    turn: usize,
    heir: Option<Heir>,
}

/// The last member, which is away: it gets what was on its way to the group when it left.
pub struct Heir {
    pub mailbox: Arc<Mailbox>,
    pub subscription: usize,
}

/// What a group takes of memory beside what waits there.
const GROUP_BYTES: usize = 1_024;

/// What no member had room for.
#[derive(Default)]
struct Waiting {
    /// What members gave back, which goes first.
    returned: VecDeque<Arc<Publication>>,
    fresh: VecDeque<Arc<Publication>>,
    /// Of both.
    bytes: usize,
    charge: Charge,
}

/// The members of one group and filter. Locks are taken in the order waiting, members, a member's queue.
pub struct Group {
    pub name: String,
    pub filter: String,
    members: Mutex<Members>,
    waiting: Mutex<Waiting>,
    strategy: SharedStrategy,
    /// What may wait for a member, in bytes.
    bytes_max: usize,
    /// Publishers wait for the group, so that nothing of theirs is dropped.
    is_waited_for: bool,
    /// Where they do.
    pub gate: Arc<Gate>,
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
            is_waited_for: false,
            gate: Arc::default(),
        }
    }

    /// Makes publishers wait for the group.
    pub fn waited_for(self, is_waited_for: bool) -> Self {
        Self { is_waited_for, ..self }
    }

    /// Takes a member in, in the place of an earlier membership of its session.
    pub fn join(self: &Arc<Self>, member: Member) {
        self.leave(member.standing.session);
        if self.is_waited_for {
            self.gate.guard();
        }
        lock(&self.members).list.push((member, Place::of(self)));
        self.count_to_eldest();
    }

    /// Counts what waits here to the member that has been there longest.
    fn count_to_eldest(&self) {
        let mut waiting = lock(&self.waiting);
        let eldest = lock(&self.members).list.first().and_then(|(member, _)| member.holder.clone());
        if let Some(holder) = eldest.filter(|holder| !waiting.charge.is_of(holder)) {
            waiting.charge = holder.charge(MemoryKind::Groups, GROUP_BYTES + waiting.bytes);
        }
    }

    /// Takes a session out. Whether nobody is left.
    pub fn leave(&self, session: u64) -> bool {
        let mut members = lock(&self.members);
        members.list.retain(|(member, place)| {
            let stays = member.standing.session != session;
            if !stays {
                member.queue.forget(place);
            }
            stays
        });
        let is_deserted = members.list.is_empty();
        if is_deserted {
            self.gate.open();
        }
        drop(members);
        self.count_to_eldest();
        is_deserted
    }

    pub fn has_member(&self, session: u64) -> bool {
        lock(&self.members).list.iter().any(|(member, _)| member.standing.session == session)
    }

    /// The member that has been there longest.
    pub fn eldest(&self) -> Option<Arc<Standing>> {
        lock(&self.members).list.first().map(|(member, _)| member.standing.clone())
    }

    fn is_deserted(&self) -> bool {
        lock(&self.members).list.is_empty()
    }

    /// Says who gets what comes yet, although nobody is left: it was published before the last member left.
    pub fn bequeath(&self, heir: Heir) {
        heir.mailbox.widen(self.bytes_max);
        lock(&self.members).heir = Some(heir);
    }

    /// Gives a message to a member, or keeps it until one has room. Returns how many were dropped
    /// for that, the oldest; or because the last member has left since the message was published.
    pub fn put(self: &Arc<Self>, publication: Arc<Publication>) -> u64 {
        if self.is_deserted() {
            return self.put_aside(publication);
        }
        let mut dropped = 0;
        {
            let mut waiting = lock(&self.waiting);
            let has_waited = self.is_waited_for && self.has_waited(&publication);
            if self.is_waited_for && !has_waited && waiting.bytes >= self.bytes_max {
                return 1;
            }
            waiting.bytes += publication.waiting_bytes();
            waiting.fresh.push_back(publication);
            let has_memory = waiting.charge.may_be(waiting.bytes);
            let bytes_max = if self.is_waited_for { usize::MAX } else { self.bytes_max };
            while waiting.has_too_much(bytes_max, has_memory) && waiting.pop_fresh().is_some() {
                dropped += 1;
            }
            if !has_memory {
                waiting.charge.note_refused(dropped);
            }
            waiting.note_bytes();
        }
        self.hand_out();
        dropped
    }

    /// Whether whoever published it waits for the group. The node does not, and no member for itself.
    fn has_waited(&self, publication: &Publication) -> bool {
        publication.origin.is_some_and(|origin| !self.has_member(origin))
    }

    fn put_aside(&self, publication: Arc<Publication>) -> u64 {
        let members = lock(&self.members);
        let Some(heir) = &members.heir else { return 1 };
        let is_taken = heir.mailbox.put(Copy { publication, subscriptions: Arc::from([heir.subscription]) });
        u64::from(!is_taken)
    }

    /// Gives out what waits, as far as members have room. The group waits at those that have none.
    pub fn hand_out(self: &Arc<Self>) {
        self.give_out(None);
    }

    /// Hands out what waits where `queue` has room for one message, which is this group's turn.
    pub fn take_turn(self: &Arc<Self>, queue: &MemberQueue) {
        self.give_out(Some(queue));
    }

    fn give_out(self: &Arc<Self>, mut turn_at: Option<&MemberQueue>) {
        let mut waiting = lock(&self.waiting);
        while let Some(publication) = waiting.first()
            && self.offer(publication, turn_at).is_none()
        {
            waiting.pop();
            turn_at = None;
        }
        if self.is_waited_for {
            self.gate.note(waiting.bytes, self.bytes_max);
        }
    }

    /// Gives a message to a member with room; hands it back when there is none. What
    /// none of the members may have is for nobody.
    pub fn dispatch(self: &Arc<Self>, publication: Arc<Publication>) -> Option<Arc<Publication>> {
        self.offer(publication, None)
    }

    fn offer(
        self: &Arc<Self>,
        mut publication: Arc<Publication>,
        turn_at: Option<&MemberQueue>,
    ) -> Option<Arc<Publication>> {
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
            let (member, place) = &members.list[(first.wrapping_add(offset)) % count];
            if !member.may_have(&publication.topic) {
                continue;
            }
            is_for_nobody = false;
            let delivery =
                SharedDelivery { subscription: member.subscription, publication, group: self.clone() };
            let has_turn = turn_at.is_some_and(|queue| std::ptr::eq(queue, &*member.queue));
            match member.queue.offer(delivery, place, has_turn) {
                Ok(()) => return None,
                Err(back) => publication = back.publication,
            }
        }
        (!is_for_nobody).then_some(publication)
    }

    /// Takes a message back from a member that leaves; it goes to another one. `false`
    /// when it is dropped, because no member is left or too many such messages wait.
    pub fn give_back(self: &Arc<Self>, publication: Arc<Publication>) -> bool {
        if self.is_deserted() {
            return false;
        }
        {
            let mut waiting = lock(&self.waiting);
            let is_full = waiting.returned.len() >= RETURNED_MESSAGES_MAX
                || !self.is_waited_for
                    && waiting.bytes.saturating_add(publication.waiting_bytes()) > self.bytes_max;
            if is_full && !waiting.is_empty() {
                return false;
            }
            waiting.bytes += publication.waiting_bytes();
            waiting.returned.push_back(publication);
            waiting.note_bytes();
        }
        self.hand_out();
        true
    }

    /// What waits in a group that its last member has left.
    pub fn take_waiting(&self) -> impl Iterator<Item = Arc<Publication>> {
        let mut waiting = std::mem::take(&mut *lock(&self.waiting));
        std::iter::from_fn(move || waiting.pop())
    }
}

impl Waiting {
    fn has_too_much(&self, bytes_max: usize, has_memory: bool) -> bool {
        let is_over = self.bytes > bytes_max || !has_memory && !self.charge.covers(self.bytes);
        is_over && self.fresh.len() > 1
    }

    fn note_bytes(&mut self) {
        self.charge.set(GROUP_BYTES + self.bytes);
    }

    fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.fresh.is_empty()
    }

    fn first(&self) -> Option<Arc<Publication>> {
        self.returned.front().or(self.fresh.front()).cloned()
    }

    fn pop(&mut self) -> Option<Arc<Publication>> {
        let returned = self.returned.pop_front();
        self.bytes -= returned.as_ref().map_or(0, |publication| publication.waiting_bytes());
        let popped = returned.or_else(|| self.pop_fresh());
        self.note_bytes();
        popped
    }

    /// Noted once it is known how much goes: before, the charge would take for granted
    /// what there may be no memory for.
    fn pop_fresh(&mut self) -> Option<Arc<Publication>> {
        let publication = self.fresh.pop_front()?;
        self.bytes -= publication.waiting_bytes();
        Some(publication)
    }
}

/// A place in a group; dropped, it is given up.
pub struct Membership {
    bus: Arc<Bus>,
    pub group: Arc<Group>,
    session: u64,
    has_left: bool,
}

impl Membership {
    pub fn new(bus: Arc<Bus>, group: Arc<Group>, session: u64) -> Self {
        bus.shared_subscriptions.add(1);
        Self { bus, group, session, has_left: false }
    }

    /// Gives the place up, but lets nothing go out that waits in the group: that comes
    /// when the value is dropped. Whether nobody is left in the group.
    pub fn leave(&mut self) -> bool {
        self.has_left = true;
        self.bus.subscriptions().leave(&self.group, self.session)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if !self.has_left && self.leave() {
            // Whoever published to the group last may know it for long yet.
            drop(self.group.take_waiting());
        }
        self.bus.shared_subscriptions.subtract(1);
        // Others may have room.
        self.group.hand_out();
    }
}

#[cfg(test)]
mod tests;
