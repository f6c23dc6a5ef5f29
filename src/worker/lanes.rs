//! The lanes, fair queueing before the model: one for each device, served in turn (round robin). Pure: no
//! lock, no clock, no thread.
//!
//! Each lane keeps the order of its device. A worker takes one job of each lane after the other,
//! so that a device that floods waits for itself. When there is no room, the device that has more
//! than its share of it loses a job. A node's workers and the simulated clock use the same lanes.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::QueuePolicy;

/// The bounds of what may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most jobs that may wait, in all lanes together.
    pub requests_max: usize,
    /// The most bytes of all jobs together.
    pub bytes_max: usize,
    /// Who gives way at either bound.
    pub policy: QueuePolicy,
}

/// A job that may wait in [`Lanes`].
pub trait Waits {
    /// A point in time, on whatever clock.
    type Time: Copy + Ord;

    /// What it takes of the bound in bytes.
    fn bytes(&self) -> usize;

    /// When it is too late to start; `None` for never.
    fn deadline(&self) -> Option<Self::Time>;
}

/// Why a job waits no longer, without the model having seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ousted {
    /// There was no room for it.
    Full,
    /// A newer one of its device came.
    Superseded,
}

/// Bounded queues of jobs, one for each device, that are served in turn.
pub struct Lanes<J: Waits> {
    bounds: Bounds,
    lanes: Vec<Lane<J>>,
    /// Places in `lanes` that no device has.
    unused: Vec<usize>,
    by_device: HashMap<u64, usize>,
    /// Whose turn it is: lanes that a worker may take from, and some that have become empty meanwhile.
    turns: VecDeque<usize>,
    /// While jobs are taken: lanes that have had a turn and could have another.
    again: VecDeque<usize>,
    /// The deadlines of waiting jobs, with their numbers and lanes.
    deadlines: BTreeSet<(J::Time, u64, usize)>,
    next_number: u64,
    requests: usize,
    bytes: usize,
    /// Lanes with waiting jobs.
    occupied: usize,
    /// The lane that lost a job last: it is likely to be the next one again.
    last_victim: usize,
}

struct Lane<J> {
    device: u64,
    jobs: VecDeque<Waiting<J>>,
    bytes: usize,
    /// A worker has jobs of it, and until they are answered nobody else gets the next ones.
    is_held: bool,
    has_turn: bool,
}

struct Waiting<J> {
    number: u64,
    job: J,
}

/// What an emptied lane keeps of its memory, in jobs.
const KEPT_CAPACITY: usize = 16;

impl<J: Waits> Lanes<J> {
    /// Empty lanes within `bounds`.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            lanes: Vec::new(),
            unused: Vec::new(),
            by_device: HashMap::new(),
            turns: VecDeque::new(),
            again: VecDeque::new(),
            deadlines: BTreeSet::new(),
            next_number: 0,
            requests: 0,
            bytes: 0,
            occupied: 0,
            last_victim: 0,
        }
    }

    /// How many jobs wait.
    pub fn len(&self) -> usize {
        self.requests
    }

    /// Whether no job waits.
    pub fn is_empty(&self) -> bool {
        self.requests == 0
    }

    /// Whether a worker could take a job now: not of a lane that another one holds.
    pub fn has_ready(&self) -> bool {
        self.turns.iter().any(|&lane| !self.lanes[lane].jobs.is_empty())
    }

    /// Appends a job of `device`. What there is no room for, this job or others, goes to `ousted`.
    pub fn push(&mut self, device: u64, job: J, ousted: &mut Vec<(J, Ousted)>) {
        let lane = self.lane_of(device);
        if self.bounds.policy == QueuePolicy::LatestPerDevice
            && let Some(older) = self.remove_last(lane)
        {
            ousted.push((older, Ousted::Superseded));
        }
        let bytes = job.bytes();
        while self.is_full_with(bytes) {
            let Some(victim) = self.victim(lane, bytes) else {
                ousted.push((job, Ousted::Full));
                return self.tidy(lane);
            };
            let lost = match self.bounds.policy {
                QueuePolicy::DropOldest => self.remove_first(victim),
                // Its newest: those before it have waited for longer, and their senders with them.
                QueuePolicy::Refuse | QueuePolicy::LatestPerDevice => self.remove_last(victim),
            };
            ousted.extend(lost.map(|job| (job, Ousted::Full)));
        }
        self.append(lane, job, bytes);
    }

    /// Takes up to `count` jobs, one of each lane in turn. Their lanes, added to `held`,
    /// are for nobody else until they are [released](Self::release).
    pub fn take(&mut self, count: usize, batch: &mut Vec<J>, held: &mut Vec<usize>) {
        // One of each lane in turn (J. Nagle, "On packet switches with infinite storage", RFC 970, 1985).
        // Every row costs the model the same, so that no lane needs the credit in bytes that deficit round
        // robin keeps.
        for _ in 0..count {
            let Some(lane) = self.next_turn(held) else { break };
            batch.extend(self.remove_first(lane));
            if !self.lanes[lane].jobs.is_empty() {
                self.again.push_back(lane);
            }
        }
        // Those with more go on in the order in which they would have had their next turn.
        let Self { lanes, again, .. } = self;
        held.retain(|&lane| lanes[lane].jobs.is_empty());
        held.extend(again.drain(..));
    }

    /// The lane that the next job comes from: one that has not had its turn, or else one that has more.
    fn next_turn(&mut self, held: &mut Vec<usize>) -> Option<usize> {
        while let Some(lane) = self.turns.pop_front() {
            self.lanes[lane].has_turn = false;
            if !self.lanes[lane].jobs.is_empty() {
                self.lanes[lane].is_held = true;
                held.push(lane);
                return Some(lane);
            }
            self.tidy(lane);
        }
        self.again.pop_front()
    }

    /// Lets others have the lanes: what a worker took of them is answered.
    pub fn release(&mut self, held: &mut Vec<usize>) {
        for lane in held.drain(..) {
            self.lanes[lane].is_held = false;
            self.give_turn(lane);
            self.tidy(lane);
        }
    }

    /// Takes out what waits and whose deadline has passed.
    pub fn expire(&mut self, now: J::Time, expired: &mut Vec<J>) {
        while let Some(&(deadline, number, lane)) = self.deadlines.first() {
            if deadline > now {
                return;
            }
            let jobs = &self.lanes[lane].jobs;
            // There is one for each deadline; if there were not, this must end all the same.
            match jobs.binary_search_by_key(&number, |waiting| waiting.number) {
                Ok(at) => expired.extend(self.remove(lane, at)),
                Err(_) => drop(self.deadlines.pop_first()),
            }
        }
    }

    /// The earliest deadline of a waiting job.
    pub fn next_deadline(&self) -> Option<J::Time> {
        self.deadlines.first().map(|&(deadline, ..)| deadline)
    }

    /// Takes out everything that waits.
    pub fn drain(&mut self, jobs: &mut Vec<J>) {
        for lane in 0..self.lanes.len() {
            while let Some(job) = self.remove_first(lane) {
                jobs.push(job);
            }
        }
    }

    fn is_full_with(&self, bytes: usize) -> bool {
        self.requests >= self.bounds.requests_max || self.bytes + bytes > self.bounds.bytes_max
    }

    /// Whose job goes for one of `lane` with `bytes`; `None` when that one must not come in. A lane
    /// within its share never loses to another: then there is one that has more than its share.
    fn victim(&mut self, lane: usize, bytes: usize) -> Option<usize> {
        let own = &self.lanes[lane];
        let devices = self.occupied + usize::from(own.jobs.is_empty());
        let (requests_share, bytes_share) =
            (self.bounds.requests_max / devices, self.bounds.bytes_max / devices);
        let is_within = |requests: usize, bytes: usize| requests <= requests_share && bytes <= bytes_share;
        if is_within(own.jobs.len() + 1, own.bytes + bytes) {
            let count = self.lanes.len();
            let first = self.last_victim;
            // Any that has more than its share, not the one with most, which to find takes a look at all of
            // them for each job of a flood. The one that lost last is looked at first.
            let greedy = (0..count)
                .map(|step| (first + step) % count)
                .find(|&at| at != lane && !is_within(self.lanes[at].jobs.len(), self.lanes[at].bytes));
            self.last_victim = greedy.unwrap_or(first);
            return greedy;
        }
        let gives_way = self.bounds.policy == QueuePolicy::DropOldest && !own.jobs.is_empty();
        gives_way.then_some(lane)
    }

    fn lane_of(&mut self, device: u64) -> usize {
        if let Some(&lane) = self.by_device.get(&device) {
            return lane;
        }
        let lane = self.unused.pop().unwrap_or_else(|| {
            self.lanes.push(Lane {
                device,
                jobs: VecDeque::new(),
                bytes: 0,
                is_held: false,
                has_turn: false,
            });
            self.lanes.len() - 1
        });
        self.lanes[lane].device = device;
        self.by_device.insert(device, lane);
        lane
    }

    fn append(&mut self, lane: usize, job: J, bytes: usize) {
        let number = self.next_number;
        self.next_number += 1;
        if let Some(deadline) = job.deadline() {
            self.deadlines.insert((deadline, number, lane));
        }
        self.requests += 1;
        self.bytes += bytes;
        let own = &mut self.lanes[lane];
        self.occupied += usize::from(own.jobs.is_empty());
        own.bytes += bytes;
        own.jobs.push_back(Waiting { number, job });
        self.give_turn(lane);
    }

    fn give_turn(&mut self, lane: usize) {
        let own = &mut self.lanes[lane];
        if !own.is_held && !own.has_turn && !own.jobs.is_empty() {
            own.has_turn = true;
            self.turns.push_back(lane);
        }
    }

    fn remove_first(&mut self, lane: usize) -> Option<J> {
        self.remove(lane, 0)
    }

    fn remove_last(&mut self, lane: usize) -> Option<J> {
        self.remove(lane, self.lanes[lane].jobs.len().checked_sub(1)?)
    }

    fn remove(&mut self, lane: usize, at: usize) -> Option<J> {
        let own = &mut self.lanes[lane];
        let Waiting { number, job } = own.jobs.remove(at)?;
        let bytes = job.bytes();
        own.bytes -= bytes;
        self.bytes -= bytes;
        self.requests -= 1;
        self.occupied -= usize::from(own.jobs.is_empty());
        if let Some(deadline) = job.deadline() {
            self.deadlines.remove(&(deadline, number, lane));
        }
        Some(job)
    }

    /// Forgets the lane if nobody needs it any more.
    fn tidy(&mut self, lane: usize) {
        let own = &mut self.lanes[lane];
        if own.jobs.is_empty() && !own.is_held && !own.has_turn {
            own.jobs.shrink_to(KEPT_CAPACITY);
            self.by_device.remove(&own.device);
            self.unused.push(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::super::Job;
    use super::*;

    fn job(device: u64, number: u32, deadline: Option<Instant>) -> Job<(u64, u32)> {
        Job { features: vec![0.0], context: (device, number), queued_at: Instant::now(), deadline }
    }

    fn bounds(requests_max: usize, policy: QueuePolicy) -> Bounds {
        Bounds { requests_max, bytes_max: usize::MAX, policy }
    }

    fn take(lanes: &mut Lanes<Job<(u64, u32)>>, count: usize) -> Vec<(u64, u32)> {
        let (mut batch, mut held) = (Vec::new(), Vec::new());
        lanes.take(count, &mut batch, &mut held);
        lanes.release(&mut held);
        batch.into_iter().map(|job| job.context).collect()
    }

    #[test]
    fn devices_have_turns_and_one_that_floods_waits_for_itself() {
        let mut lanes = Lanes::new(bounds(100, QueuePolicy::Refuse));
        let mut ousted = Vec::new();
        for number in 0..50 {
            lanes.push(1, job(1, number, None), &mut ousted);
        }
        lanes.push(2, job(2, 0, None), &mut ousted);
        lanes.push(3, job(3, 0, None), &mut ousted);
        assert_eq!(take(&mut lanes, 5), [(1, 0), (2, 0), (3, 0), (1, 1), (1, 2)]);
        assert_eq!((lanes.len(), ousted.len()), (47, 0));
    }

    #[test]
    fn a_batch_that_ends_within_a_round_leaves_the_rest_of_it_to_the_next() {
        let mut lanes = Lanes::new(bounds(100, QueuePolicy::Refuse));
        let mut ousted = Vec::new();
        for number in 0..4 {
            (0..3).for_each(|device| lanes.push(device, job(device, number, None), &mut ousted));
        }
        let devices = |lanes: &mut _| take(lanes, 4).iter().map(|&(device, _)| device).collect::<Vec<_>>();
        assert_eq!(devices(&mut lanes), [0, 1, 2, 0]);
        assert_eq!(devices(&mut lanes), [1, 2, 0, 1]);
        assert_eq!(devices(&mut lanes), [2, 0, 1, 2]);
    }

    #[test]
    fn what_a_worker_holds_no_other_gets() {
        let mut lanes = Lanes::new(bounds(100, QueuePolicy::Refuse));
        let mut ousted = Vec::new();
        for (device, number) in [(1, 0), (1, 1), (2, 0)] {
            lanes.push(device, job(device, number, None), &mut ousted);
        }
        let (mut batch, mut held) = (Vec::new(), Vec::new());
        lanes.take(1, &mut batch, &mut held);
        assert_eq!(take(&mut lanes, 5), [(2, 0)]);
        assert!(!lanes.has_ready());
        lanes.release(&mut held);
        assert!(lanes.has_ready());
        assert_eq!(take(&mut lanes, 5), [(1, 1)]);
    }

    #[test]
    fn what_is_full_takes_from_the_greediest_by_policy() {
        for (policy, lost) in [(QueuePolicy::Refuse, (1, 3)), (QueuePolicy::DropOldest, (1, 0))] {
            let mut lanes = Lanes::new(bounds(4, policy));
            let mut ousted = Vec::new();
            for number in 0..4 {
                lanes.push(1, job(1, number, None), &mut ousted);
            }
            lanes.push(2, job(2, 0, None), &mut ousted);
            let ousted: Vec<_> = ousted.iter().map(|(job, why)| (job.context, *why)).collect();
            assert_eq!(ousted, [(lost, Ousted::Full)], "{policy:?}");
        }
    }

    #[test]
    fn the_latest_of_a_device_takes_the_place_of_the_one_before() {
        let mut lanes = Lanes::new(bounds(2, QueuePolicy::LatestPerDevice));
        let mut ousted = Vec::new();
        for (device, number) in [(1, 0), (2, 0), (1, 1), (3, 0)] {
            lanes.push(device, job(device, number, None), &mut ousted);
        }
        let ousted: Vec<_> = ousted.iter().map(|(job, why)| (job.context, *why)).collect();
        assert_eq!(ousted, [((1, 0), Ousted::Superseded), ((3, 0), Ousted::Full)]);
        assert_eq!(take(&mut lanes, 5), [(1, 1), (2, 0)]);
    }

    #[test]
    fn bytes_are_a_bound_too() {
        let bytes = job(1, 0, None).bytes();
        let bounds = Bounds { bytes_max: 2 * bytes, ..bounds(100, QueuePolicy::Refuse) };
        let mut lanes = Lanes::new(bounds);
        let mut ousted = Vec::new();
        for number in 0..3 {
            lanes.push(1, job(1, number, None), &mut ousted);
        }
        assert_eq!((lanes.len(), ousted.len()), (2, 1));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(u64, Option<u64>),
        Take(usize),
        Hold(usize),
        Release,
        Expire(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u64..5, prop::option::of(0u64..20)).prop_map(|(device, due)| Step::Push(device, due)),
            2 => (1usize..6).prop_map(Step::Take),
            1 => (1usize..4).prop_map(Step::Hold),
            1 => Just(Step::Release),
            1 => (0u64..20).prop_map(Step::Expire),
        ]
    }

    proptest! {
        #[test]
        fn every_job_leaves_once_in_order_and_no_bound_is_passed(
            steps in prop::collection::vec(step(), 0..200),
            policy in prop::sample::select(QueuePolicy::ALL.to_vec()),
            requests_max in 1usize..12,
        ) {
            let start = Instant::now();
            let at = |second: u64| start + Duration::from_secs(second);
            let mut lanes = Lanes::new(bounds(requests_max, policy));
            let (mut pushed, mut gone) = (0u32, HashMap::new());
            let mut served: HashMap<u64, u32> = HashMap::new();
            let mut held = Vec::new();
            let leave = |(device, number): (u64, u32), gone: &mut HashMap<u32, u64>| {
                prop_assert!(gone.insert(number, device).is_none(), "{number} left twice");
                Ok(())
            };
            for step in steps {
                let mut left = Vec::new();
                match step {
                    Step::Push(device, due) => {
                        let mut ousted = Vec::new();
                        lanes.push(device, job(device, pushed, due.map(at)), &mut ousted);
                        pushed += 1;
                        left.extend(ousted.into_iter().map(|(job, _)| job));
                    }
                    Step::Take(count) | Step::Hold(count) => {
                        let (mut batch, mut own) = (Vec::new(), Vec::new());
                        lanes.take(count, &mut batch, &mut own);
                        for job in &batch {
                            let (device, number) = job.context;
                            let last = served.insert(device, number);
                            prop_assert!(last.is_none_or(|last| last < number), "device {device} out of order");
                        }
                        left.extend(batch);
                        if matches!(step, Step::Hold(_)) { held.extend(own) } else { lanes.release(&mut own) }
                    }
                    Step::Release => lanes.release(&mut held),
                    Step::Expire(second) => {
                        lanes.expire(at(second), &mut left);
                        prop_assert!(left.iter().all(|job| job.deadline.is_some_and(|due| due <= at(second))));
                        prop_assert!(lanes.next_deadline().is_none_or(|due| due > at(second)));
                    }
                }
                for job in left {
                    leave(job.context, &mut gone)?;
                }
                prop_assert!(lanes.len() <= requests_max);
                prop_assert_eq!(lanes.len() + gone.len(), pushed as usize);
            }
            lanes.release(&mut held);
            let rest = take(&mut lanes, usize::MAX);
            prop_assert_eq!(rest.len() + gone.len(), pushed as usize);
            prop_assert_eq!((lanes.len(), lanes.bytes, lanes.occupied, lanes.deadlines.len()), (0, 0, 0, 0));
            prop_assert!(lanes.by_device.is_empty() && lanes.turns.is_empty());
        }

        #[test]
        fn a_device_within_its_share_is_never_refused(
            flood in 1usize..60, others in 1u64..6, each in 1usize..4,
        ) {
            let requests_max = 24;
            let mut lanes = Lanes::new(bounds(requests_max, QueuePolicy::Refuse));
            let mut ousted = Vec::new();
            for number in 0..flood {
                lanes.push(0, job(0, number as u32, None), &mut ousted);
            }
            for number in 0..each {
                for device in 1..=others {
                    lanes.push(device, job(device, number as u32, None), &mut ousted);
                }
            }
            prop_assert!(ousted.iter().all(|(job, _)| job.context.0 == 0), "a calm device lost a job");
        }
    }
}
