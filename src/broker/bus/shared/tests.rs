//! Groups and members' queues against random schedules: whoever waits is served once there is room.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::broker::access::Action;
use crate::broker::bus::member_queue::{MEMBER_QUEUE_BYTES, MEMBER_QUEUE_MESSAGES};
use crate::broker::limits::memory::Memory;
use crate::broker::limits::shares::Owner;

const GROUPS: usize = 5;
const MEMBERS: usize = 4;
/// More than any schedule here puts in.
const BYTES_MAX: usize = 1 << 30;

/// Of two topics a judged client may have one.
struct HalfAllowed;

impl Access for HalfAllowed {
    fn authorize(&self, who: &Identity, _action: Action, topic: &str) -> bool {
        topic == "open" || who.user.is_none()
    }
}

fn numbered(number: u32, topic: &'static str) -> Arc<Publication> {
    let payload = Bytes::copy_from_slice(&number.to_be_bytes());
    Arc::new(Publication { topic: Bytes::from_static(topic.as_bytes()), payload, ..Publication::default() })
}

/// A connection's side: its session comes back with a new queue.
#[derive(Default)]
struct Client {
    queue: Arc<MemberQueue>,
    /// The groups that it is in.
    places: BTreeMap<usize, Arc<Group>>,
}

/// The broker's side, without sockets.
struct House {
    groups: Vec<Arc<Group>>,
    clients: Vec<Client>,
    put: u32,
    /// What was dropped because the last member had left.
    lost: usize,
    taken: Vec<u32>,
}

impl House {
    fn new(strategy: SharedStrategy) -> Self {
        let group = |number: usize| Arc::new(Group::new(&number.to_string(), "#", strategy, BYTES_MAX));
        let mut clients = Vec::new();
        clients.resize_with(MEMBERS, Client::default);
        Self { groups: (0..GROUPS).map(group).collect(), clients, put: 0, lost: 0, taken: Vec::new() }
    }

    fn join(&mut self, client: usize, group: usize) {
        // Every second client is judged, and there is one in each group that is not.
        let user = (client % 2 == 1).then(|| Arc::from("half"));
        let judge = Judge { access: Arc::new(HalfAllowed), who: Identity { user, ..Identity::default() } };
        let queue = self.clients[client].queue.clone();
        self.groups[group].join(Member {
            standing: Standing::new(client as u64, Owner::Node),
            subscription: group,
            queue,
            judge: Some(judge),
            holder: None,
        });
        self.groups[group].hand_out();
        self.clients[client].places.insert(group, self.groups[group].clone());
    }

    fn put(&mut self, group: usize, topic: &'static str) {
        self.lost += self.groups[group].put(numbered(self.put, topic)) as usize;
        self.put += 1;
    }

    fn take(&mut self, client: usize) -> bool {
        let Some(delivery) = self.clients[client].queue.take() else { return false };
        if self.clients[client].places.contains_key(&delivery.subscription) {
            let number = delivery.publication.payload[..].try_into().map(u32::from_be_bytes);
            self.taken.push(number.unwrap());
        } else {
            self.lost += usize::from(!delivery.group.give_back(delivery.publication));
        }
        true
    }

    /// UNSUBSCRIBE.
    fn leave(&mut self, client: usize, group: usize) {
        if self.clients[client].places.remove(&group).is_some() {
            let is_last = self.groups[group].leave(client as u64);
            self.lost += if is_last { self.groups[group].take_waiting().count() } else { 0 };
            self.groups[group].hand_out();
        }
    }

    /// The connection ends.
    fn go(&mut self, client: usize) {
        let places = std::mem::take(&mut self.clients[client].places);
        let deserted: Vec<_> = places.values().filter(|group| group.leave(client as u64)).collect();
        for waiting in std::mem::take(&mut self.clients[client].queue).close() {
            if let Some(publication) = waiting.group.dispatch(waiting.publication) {
                self.lost += usize::from(!waiting.group.give_back(publication));
            }
        }
        self.lost += deserted.iter().map(|group| group.take_waiting().count()).sum::<usize>();
        places.values().for_each(Group::hand_out);
    }

    fn act(&mut self, (what, client, group): (u8, usize, usize)) {
        match what {
            0..20 => (0..8).for_each(|_| self.put(group, "open")),
            20..30 => (0..8).for_each(|_| self.put(group, "closed")),
            30..60 => (0..12).for_each(|_| {
                self.take(client);
            }),
            60..70 => self.join(client, group),
            70..74 => self.leave(client, group),
            _ => self.go(client),
        }
    }

    /// Everybody reads until nothing comes any more.
    fn settle(&mut self) {
        while (0..MEMBERS).filter(|client| self.take(*client)).count() > 0 {}
    }
}

proptest! {
    #[test]
    fn whatever_happens_each_message_reaches_one_member_in_the_end(
        strategy in prop::sample::select(vec![
            SharedStrategy::RoundRobin, SharedStrategy::Random, SharedStrategy::Sticky,
        ]),
        schedule in prop::collection::vec((0u8..76, 0..MEMBERS, 0..GROUPS), 1..200),
    ) {
        let mut house = House::new(strategy);
        for group in 0..GROUPS {
            house.join(group % MEMBERS, group);
            house.join(0, group);
        }
        schedule.into_iter().for_each(|step| house.act(step));
        // Nobody may have what waits for a client with the right to it, unless one comes.
        (0..GROUPS).for_each(|group| house.join(0, group));
        house.settle();
        for group in &house.groups {
            prop_assert!(lock(&group.waiting).is_empty(), "{} waits although everybody has room", group.name);
        }
        let mut taken = house.taken.clone();
        taken.sort_unstable();
        taken.dedup();
        prop_assert_eq!(taken.len(), house.taken.len(), "none comes twice");
        prop_assert!(taken.len() + house.lost <= house.put as usize);
    }
}

#[test]
fn a_client_in_many_groups_gets_a_copy_from_each() {
    let client = Client::default();
    let groups: Vec<_> = (0..100)
        .map(|number| Arc::new(Group::new(&number.to_string(), "#", SharedStrategy::RoundRobin, BYTES_MAX)))
        .collect();
    let publication = numbered(0, "open");
    for (number, group) in groups.iter().enumerate() {
        let queue = client.queue.clone();
        group.join(Member {
            standing: Standing::new(1, Owner::Node),
            subscription: number,
            queue,
            judge: None,
            holder: None,
        });
        assert_eq!(group.put(publication.clone()), 0);
    }
    let mut from: Vec<_> =
        std::iter::from_fn(|| client.queue.take()).map(|delivery| delivery.subscription).collect();
    from.sort_unstable();
    assert_eq!(from, (0..100).collect::<Vec<_>>());
}

#[test]
fn groups_that_wait_for_one_member_have_their_turns() {
    let mut house = House::new(SharedStrategy::RoundRobin);
    (0..GROUPS).for_each(|group| house.join(0, group));
    (0..1_000).for_each(|_| house.put(0, "open"));
    (1..GROUPS).for_each(|group| house.put(group, "open"));
    (0..1_000).for_each(|_| house.put(0, "open"));
    // What waits in the member's queue, and a turn for each group: the quiet ones are among them.
    (0..MEMBER_QUEUE_MESSAGES + GROUPS).for_each(|_| assert!(house.take(0)));
    let quiet = house.taken.iter().filter(|number| (1_000..1_004).contains(*number)).count();
    assert_eq!(quiet, GROUPS - 1);
}

#[test]
fn a_member_s_queue_is_bounded_in_bytes_too() {
    let queue = Arc::<MemberQueue>::default();
    let group = Arc::new(Group::new("g", "#", SharedStrategy::RoundRobin, BYTES_MAX));
    group.join(Member {
        standing: Standing::new(1, Owner::Node),
        subscription: 1,
        queue: queue.clone(),
        judge: None,
        holder: None,
    });
    let large = Publication { payload: vec![0; MEMBER_QUEUE_BYTES / 2].into(), ..Publication::default() };
    (0..10).for_each(|_| assert_eq!(group.put(Arc::new(large.clone())), 0));
    assert_eq!(lock(&group.waiting).fresh.len(), 8, "two are beyond the bound");
    assert_eq!(std::iter::from_fn(|| queue.take()).count(), 10);
}

#[test]
fn what_members_give_back_is_bounded_in_bytes_too() {
    let queue = Arc::<MemberQueue>::default();
    let group = Arc::new(Group::new("g", "#", SharedStrategy::RoundRobin, 1_000));
    group.join(Member {
        standing: Standing::new(1, Owner::Node),
        subscription: 1,
        queue,
        judge: None,
        holder: None,
    });
    let small = || Arc::new(Publication { payload: vec![0; 100].into(), ..Publication::default() });
    let kept = (0..200).filter(|_| group.give_back(small())).count();
    assert!((MEMBER_QUEUE_MESSAGES..MEMBER_QUEUE_MESSAGES + 10).contains(&kept), "{kept}");
}

#[test]
fn a_group_that_was_left_keeps_nothing_and_says_so() {
    let mut house = House::new(SharedStrategy::Sticky);
    house.join(0, 0);
    (0..100).for_each(|_| house.put(0, "open"));
    house.go(0);
    assert_eq!(house.lost, 100);
    house.put(0, "open");
    assert_eq!(house.lost, 101);
}

#[test]
fn what_was_under_way_when_the_last_member_left_waits_for_it() {
    let mut house = House::new(SharedStrategy::Sticky);
    house.join(0, 0);
    house.go(0);
    let mailbox = Mailbox::of(0);
    house.groups[0].bequeath(Heir { mailbox: mailbox.clone(), subscription: 3 });
    (0..10).for_each(|_| house.put(0, "open"));
    assert_eq!(house.lost, 0);
    let kept: Vec<_> = std::iter::from_fn(|| mailbox.take()).map(|copy| copy.subscriptions[0]).collect();
    assert_eq!(kept, [3; 10]);
}

#[test]
fn a_group_counts_to_its_eldest_member_and_takes_no_more_than_there_is_memory_for() {
    let memory = Memory::new(1 << 20);
    let group = Arc::new(Group::new("g", "#", SharedStrategy::RoundRobin, BYTES_MAX));
    let [first, second] = ["first", "second"].map(|name| memory.holder(Owner::User(name.into()), None));
    for (session, holder) in [(1, &first), (2, &second)] {
        let queue = Arc::new(MemberQueue::default());
        drop(queue.close());
        let standing = Standing::new(session, Owner::Node);
        group.join(Member { standing, subscription: 1, queue, judge: None, holder: Some(holder.clone()) });
    }
    let message = |bytes| Arc::new(Publication { payload: vec![7; bytes].into(), ..Publication::default() });
    assert_eq!((0..2).map(|_| group.put(message(100_000))).sum::<u64>(), 0);
    assert!(first.held() > 100_000 && second.held() == 0);
    group.leave(1);
    assert!(first.held() == 0 && second.held() > 100_000);
    let _all = first.charge(MemoryKind::Retained, 1 << 20);
    // Each is more than those before it take.
    let dropped = [300_000, 400_000, 500_000].map(|bytes| group.put(message(bytes)));
    assert_eq!((dropped, memory.refused()), ([2, 1, 1], 4));
    assert_eq!(lock(&group.waiting).fresh.len(), 1);
    group.leave(2);
    drop(group.take_waiting());
    assert_eq!(second.held(), 0);
}
