//! Shared subscriptions: one router link for each group and filter; each message goes to one member that is online.

use super::bus::{Bus, Link, RouterGone, lock};
use super::config::SharedStrategy;
use rumqttd::{Forward, Notification};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Messages that wait for one member; when all members are full, the router's log waits instead.
pub(super) const MEMBER_QUEUE_MESSAGES: usize = 64;
/// How long a group waits before it offers a message again that no member had room for.
const RETRY_AFTER: Duration = Duration::from_millis(2);

/// Messages that members gave back and that wait for another member; more are dropped.
const RETURNED_MESSAGES_MAX: usize = 2_048;

/// A message for one member.
pub(super) struct SharedDelivery {
    /// The member's own id of the subscription.
    pub subscription: usize,
    pub forward: Forward,
    pub group: Arc<Group>,
}

struct Member {
    session: u64,
    subscription: usize,
    queue: mpsc::Sender<SharedDelivery>,
}

#[derive(Default)]
struct Members {
    list: Vec<Member>,
    turn: usize,
    /// Its task has ended; a new member needs a new group.
    is_closed: bool,
}

/// The members of one group and filter.
pub(super) struct Group {
    members: Mutex<Members>,
    /// What members gave back.
    returned: Mutex<VecDeque<Forward>>,
    /// A member has left, or has given something back.
    changed: Notify,
    strategy: SharedStrategy,
}

impl Group {
    fn join(self: &Arc<Self>, member: Member) -> Result<Membership, Member> {
        let mut members = lock(&self.members);
        if members.is_closed {
            return Err(member);
        }
        let membership = Membership { group: self.clone(), session: member.session };
        members.list.retain(|other| other.session != member.session);
        members.list.push(member);
        Ok(membership)
    }

    /// Gives a message to a member with room; hands it back when there is none.
    pub fn dispatch(self: &Arc<Self>, mut forward: Forward) -> Option<Forward> {
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
        for offset in 0..count {
            let member = &members.list[(first.wrapping_add(offset)) % count];
            let delivery = SharedDelivery { subscription: member.subscription, forward, group: self.clone() };
            match member.queue.try_send(delivery) {
                Ok(()) => return None,
                Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) => {
                    forward = back.forward;
                }
            }
        }
        Some(forward)
    }

    /// Takes a message back from a member that leaves; it goes to another one. `false` when it is dropped, because no member
    /// is left or too many such messages wait.
    pub fn give_back(&self, forward: Forward) -> bool {
        if lock(&self.members).list.is_empty() {
            return false;
        }
        let mut returned = lock(&self.returned);
        if returned.len() >= RETURNED_MESSAGES_MAX {
            return false;
        }
        returned.push_back(forward);
        self.changed.notify_one();
        true
    }

    /// Whether nobody is left; from then on nobody can join.
    fn close_if_empty(&self) -> bool {
        let mut members = lock(&self.members);
        members.is_closed = members.list.is_empty();
        members.is_closed
    }
}

/// A place in a group; dropped, it is given up.
pub(super) struct Membership {
    group: Arc<Group>,
    session: u64,
}

impl Drop for Membership {
    fn drop(&mut self) {
        lock(&self.group.members).list.retain(|member| member.session != self.session);
        self.group.changed.notify_one();
    }
}

type Groups = HashMap<(String, String), Arc<Group>>;

/// All groups.
pub(super) struct SharedSubscriptions {
    groups: tokio::sync::Mutex<Groups>,
    strategy: SharedStrategy,
}

/// Who joins, and where its messages go.
pub(super) struct Joining {
    pub session: u64,
    pub subscription: usize,
    pub queue: mpsc::Sender<SharedDelivery>,
}

impl SharedSubscriptions {
    pub fn new(strategy: SharedStrategy) -> Self {
        Self { groups: tokio::sync::Mutex::default(), strategy }
    }

    /// Joins `$share/{name}/{path}`; `path` in the router's spelling.
    pub async fn join(
        self: &Arc<Self>,
        bus: &Arc<Bus>,
        name: &str,
        path: &str,
        who: Joining,
    ) -> Result<Membership, RouterGone> {
        let mut member = Member { session: who.session, subscription: who.subscription, queue: who.queue };
        let mut groups = self.groups.lock().await;
        let key = (name.to_owned(), path.to_owned());
        if let Some(group) = groups.get(&key) {
            match group.join(member) {
                Ok(membership) => return Ok(membership),
                Err(back) => member = back,
            }
        }
        let link = subscribed_link(bus, path).await?;
        let group = Arc::new(Group {
            members: Mutex::default(),
            returned: Mutex::default(),
            changed: Notify::new(),
            strategy: self.strategy,
        });
        let membership = group.join(member).map_err(|_| RouterGone)?;
        groups.insert(key.clone(), group.clone());
        let all = self.clone();
        tokio::spawn(async move {
            serve_group(&group, link).await;
            let mut groups = all.groups.lock().await;
            if groups.get(&key).is_some_and(|current| Arc::ptr_eq(current, &group)) {
                groups.remove(&key);
            }
        });
        Ok(membership)
    }
}

/// A link that has subscribed to `path`.
async fn subscribed_link(bus: &Arc<Bus>, path: &str) -> Result<Link, RouterGone> {
    let mut link = bus.link_soon().await?;
    link.control.subscribe(1, vec![(path.to_owned(), 1)])?;
    loop {
        match link.rx.next().await {
            Ok(Some(Notification::DeviceAck(_suback))) => return Ok(link),
            Ok(_) => {}
            Err(_) => return Err(RouterGone),
        }
    }
}

/// Hands out messages until the last member has left or the router has ended.
async fn serve_group(group: &Arc<Group>, mut link: Link) {
    loop {
        let notification = tokio::select! {
            notification = link.rx.next() => notification,
            () = group.changed.notified() => Ok(None),
        };
        loop {
            let returned = lock(&group.returned).pop_front();
            let Some(forward) = returned else { break };
            if !hand_out(group, forward).await {
                return;
            }
        }
        if group.close_if_empty() {
            return;
        }
        match notification {
            Ok(Some(Notification::Forward(forward))) => {
                if !hand_out(group, forward).await {
                    return;
                }
            }
            Ok(Some(Notification::Unschedule)) => {
                if link.rx.ready().is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// Gives a message to a member as soon as one has room; `false` when nobody is left.
async fn hand_out(group: &Arc<Group>, forward: Forward) -> bool {
    let mut waiting = Some(forward);
    while let Some(forward) = waiting.take() {
        waiting = group.dispatch(forward);
        if waiting.is_some() {
            if group.close_if_empty() {
                return false;
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
    true
}
