use super::*;
use crate::broker::bus::carrier::poll_now;

const LIMITS: LaneLimits = LaneLimits {
    log: SegmentLimits { segment_bytes_max: 100_000, segments_max: 3 },
    copies_max: 16,
    share_max: 8,
    turn_least: 1,
};

/// A lane, its router and its receiver, without threads.
struct Road {
    lane: Arc<Lane>,
}

/// A connection that has so many messages to send.
struct Sender {
    visit: Visit,
    left: u64,
    bytes: usize,
}

impl Sender {
    fn new(left: u64) -> Self {
        Self { visit: Visit::default(), left, bytes: 10 }
    }

    /// Sends what it may, as a connection does when it was read from or called. Returns how many that were.
    fn process(&mut self, road: &Road) -> u64 {
        let before = self.left;
        self.visit.enter();
        while self.left > 0 {
            let message = Load { bytes: self.bytes as u64, copies: 1 };
            if !road.lane.admits(Load::default(), message, &mut self.visit) {
                self.visit.wait_at(&road.lane, message.bytes, self.left);
                break;
            }
            self.visit.send_one(0);
            road.send(self.bytes);
            self.visit.note_burst(&road.lane, 1);
            self.left -= 1;
        }
        if !self.visit.is_waiting() {
            self.visit.leave();
        }
        before - self.left
    }

    /// Whether it has been called since it was asked last.
    fn is_called(&self) -> bool {
        poll_now(self.visit.called()).is_some()
    }

    fn process_if_called(&mut self, road: &Road) -> u64 {
        if self.is_called() { self.process(road) } else { 0 }
    }
}

impl Road {
    fn new() -> Self {
        Self::within(LIMITS)
    }

    fn within(limits: LaneLimits) -> Self {
        Self { lane: Arc::new(Lane::new("lane-0001", limits, 0, false)) }
    }

    fn send(&self, bytes: usize) {
        let publication = Publication { payload: vec![0; bytes].into(), ..Publication::default() };
        self.lane.send(publication, Arc::default()).expect("the log has room for what was admitted");
    }

    /// The receiver takes what is on its way, so many at most.
    fn take(&self, messages: usize) {
        for _ in 0..messages {
            let Some(envelope) = lock(&self.lane.on_the_way).pop_front() else { return };
            self.lane.count_taken(envelope.load);
            self.lane.frees_publishers();
        }
    }

    fn on_its_way(&self) -> u64 {
        self.lane.outstanding().copies
    }
}

#[test]
fn one_that_floods_has_no_more_than_its_share_on_the_way() {
    let road = Road::new();
    let mut flood = Sender::new(1_000);
    assert_eq!(flood.process(&road), LIMITS.share_max);
    let mut calm = Sender::new(1);
    assert_eq!(calm.process(&road), 1, "others do not wait for it");
    road.take(3);
    assert!(!flood.is_called(), "half of its share comes first");
    road.take(1);
    assert_eq!(flood.process_if_called(&road), 4);
    let mut rounds = 0;
    while flood.left > 0 {
        road.take(4);
        assert!(road.on_its_way() <= LIMITS.share_max);
        flood.process_if_called(&road);
        rounds += 1;
        assert!(rounds < 1_000, "{} are left", flood.left);
    }
}

#[test]
fn many_that_flood_are_let_in_by_turns() {
    let road = Road::new();
    let mut senders: Vec<_> = (0..20).map(|_| Sender::new(100)).collect();
    let sent: Vec<_> = senders.iter_mut().map(|sender| sender.process(&road)).collect();
    assert_eq!(sent.iter().sum::<u64>(), LIMITS.copies_max);
    let mut total = sent;
    for _ in 0..200 {
        road.take(LIMITS.copies_max as usize);
        for (sender, total) in senders.iter_mut().zip(&mut total) {
            *total += sender.process_if_called(&road);
        }
        assert!(road.on_its_way() <= LIMITS.copies_max);
    }
    assert!(senders.iter().all(|sender| sender.left == 0), "{total:?}");
}

#[test]
fn nobody_is_overtaken_by_more_than_a_turn() {
    let road = Road::new();
    let mut floods: Vec<_> = (0..4).map(|_| Sender::new(10_000)).collect();
    floods.iter_mut().for_each(|flood| assert!(flood.process(&road) <= LIMITS.share_max));
    let mut calm = Sender::new(1);
    assert_eq!(calm.process(&road), 0, "there is no room");
    let mut others = 0;
    while calm.left > 0 {
        road.take(1);
        others += floods.iter_mut().map(|flood| flood.process_if_called(&road)).sum::<u64>();
        calm.process_if_called(&road);
        assert!(others <= LIMITS.copies_max, "{others} were sent before it");
    }
}

#[test]
fn only_as_many_are_called_as_there_is_room_for() {
    let road = Road::new();
    let mut senders: Vec<_> = (0..100).map(|_| Sender::new(1)).collect();
    let sent: u64 = senders.iter_mut().map(|sender| sender.process(&road)).sum();
    assert_eq!(sent, LIMITS.copies_max);
    road.take(8);
    let called = senders.iter().filter(|sender| sender.is_called()).count();
    assert_eq!(called, 8);
}

#[test]
fn who_is_called_has_a_few_messages_at_a_time_where_many_wait() {
    let road = Road::within(LaneLimits { share_max: 16, turn_least: 4, ..LIMITS });
    let mut senders: Vec<_> = (0..100).map(|at| Sender::new(if at % 2 == 0 { 10 } else { 2 })).collect();
    let sent: u64 = senders.iter_mut().map(|sender| sender.process(&road)).sum();
    assert_eq!(sent, LIMITS.copies_max);
    road.take(8);
    let called: Vec<_> = senders.iter_mut().filter(|sender| sender.is_called()).collect();
    let turns: Vec<_> = called.into_iter().map(|sender| sender.process(&road)).collect();
    assert_eq!(turns, [4, 2, 2], "the room that half of what was on its way has left");
}

#[test]
fn a_publisher_that_waits_is_always_woken() {
    const MESSAGES: u64 = 50_000;
    let road = Road::new();
    let (lane, (done, is_done)) = (Arc::clone(&road.lane), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        let publisher = Road { lane };
        for _ in 0..MESSAGES {
            publisher.lane.wait_for_room(Duration::MAX);
            publisher.send(60_000);
        }
        done.send(()).expect("the test waits for it");
    });
    let is_stuck = || is_done.recv_timeout(Duration::from_secs(60)).is_err();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while road.lane.taken_messages() < MESSAGES {
                road.take(1);
            }
        });
        if is_stuck() {
            // So that the receiver ends.
            road.lane.taken.messages.store(MESSAGES, Ordering::SeqCst);
            panic!("it waits for room that there is");
        }
    });
}

#[test]
fn who_is_called_and_leaves_makes_room_for_the_next() {
    let road = Road::new();
    let mut senders: Vec<_> = (0..64).map(|_| Sender::new(1)).collect();
    let sent: u64 = senders.iter_mut().map(|sender| sender.process(&road)).sum();
    assert_eq!(sent, LIMITS.copies_max);
    // Everything is taken, and whoever is called goes away instead: nothing else would call those behind.
    road.take(100);
    let mut waiting = senders.split_off(LIMITS.copies_max as usize);
    let mut rounds = 0;
    while !waiting.is_empty() {
        waiting.retain(|sender| !sender.is_called());
        rounds += 1;
        assert!(rounds < 100, "{} wait for ever", waiting.len());
    }
    assert!(!road.lane.turnstile.is_crowded());
    assert_eq!(road.lane.turnstile.granted(), 0);
}

#[test]
fn who_waits_and_leaves_is_forgotten() {
    let road = Road::new();
    let mut flood = Sender::new(8);
    let mut second = Sender::new(8);
    flood.process(&road);
    second.process(&road);
    let mut third = Sender::new(1);
    third.process(&road);
    assert!(road.lane.turnstile.is_crowded());
    drop(third);
    assert!(!road.lane.turnstile.is_crowded());
}

#[test]
fn a_large_message_is_not_overtaken_for_ever() {
    let road = Road::new();
    let mut large = Sender { bytes: 150_000, ..Sender::new(1) };
    let mut first = Sender::new(1);
    assert_eq!((first.process(&road), large.process(&road)), (1, 0));
    let mut small: Vec<_> = (0..8).map(|_| Sender::new(1)).collect();
    assert!(small.iter_mut().all(|sender| sender.process(&road) == 0), "they are behind it");
    road.take(1);
    assert_eq!(large.process_if_called(&road), 1);
    road.take(1);
    assert!(small.iter_mut().all(|sender| sender.process_if_called(&road) == 1));
}

#[test]
fn nobody_waits_for_a_receiver_that_has_gone() {
    let road = Road::new();
    let mut flood = Sender::new(20);
    flood.process(&road);
    road.lane.is_received.store(false, Ordering::Release);
    road.lane.open();
    assert_eq!(flood.process_if_called(&road), 12);
}

/// Two lanes, and connections that wait before one of them at a time.
struct Crossing {
    roads: [Road; 2],
    senders: Vec<(Sender, usize)>,
}

impl Crossing {
    /// What a schedule names: a sender's new messages, what the receivers take, senders
    /// that are woken, and some that leave.
    fn act(&mut self, (what, sender, number): (u8, usize, u64)) {
        let (own, at) = &mut self.senders[sender];
        match what {
            0..4 if own.left == 0 => {
                *at = number as usize % 2;
                own.left = number;
                own.bytes = if number % 7 == 0 { 90_000 } else { 10 * sender };
                own.process(&self.roads[*at]);
            }
            4..8 => self.roads[number as usize % 2].take(sender + 1),
            8..12 => {
                own.process_if_called(&self.roads[*at]);
            }
            12 => *own = Sender::new(0),
            _ => {}
        }
    }

    /// Everything is taken, and whoever is called sends.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.roads.iter().for_each(|road| road.take(1));
            self.senders.iter_mut().for_each(|(own, at)| {
                own.process_if_called(&self.roads[*at]);
            });
            if self.senders.iter().all(|(own, _)| own.left == 0) {
                return;
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn whatever_happens_everybody_is_let_in_in_the_end(
        share_max in 1u64..20,
        turn_least in 1u64..6,
        schedule in proptest::collection::vec((0u8..13, 0usize..6, 1u64..60), 1..150),
    ) {
        let limits = LaneLimits { share_max, turn_least, ..LIMITS };
        let senders = (0..6).map(|_| (Sender::new(0), 0)).collect();
        let mut crossing = Crossing { roads: [Road::within(limits), Road::within(limits)], senders };
        schedule.into_iter().for_each(|step| crossing.act(step));
        crossing.settle();
        let left: Vec<_> = crossing.senders.iter().map(|(own, _)| own.left).collect();
        proptest::prop_assert!(left.iter().all(|left| *left == 0), "{left:?} wait for ever");
        for road in &crossing.roads {
            proptest::prop_assert!(!road.lane.turnstile.is_crowded());
            proptest::prop_assert_eq!(road.lane.turnstile.granted(), 0);
        }
    }
}
