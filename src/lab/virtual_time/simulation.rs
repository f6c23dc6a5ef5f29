//! The events of an experiment, in the order of their times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{End, Experiment, Record, Totals};
use crate::lab::experiment::{Due, Timetable};
use crate::network::{Direction, Letter, Link, Verdict};
use crate::worker::{Bounds, Lanes, Ousted, Waits};

/// Simulates `experiment` and hands out what became of each request as soon as that is known.
pub fn simulate(experiment: &Experiment, record: &mut dyn FnMut(&Record)) -> Totals {
    let mut simulation = Simulation::new(experiment, record);
    while simulation.step() {
        simulation.totals.events += 1;
        let pending = simulation.events.len() + simulation.requests.asking();
        simulation.totals.pending_max = simulation.totals.pending_max.max(pending);
    }
    simulation.totals
}

struct Simulation<'a> {
    experiment: &'a Experiment,
    record: &'a mut dyn FnMut(&Record),
    link: Option<Link>,
    one_way: Duration,
    /// Whatever the network and the model do, they are the same.
    requests: Timetable<'a>,
    /// Of what else takes time, one number for each request.
    rng: ChaCha8Rng,
    events: BinaryHeap<Reverse<Event>>,
    next_event: u64,
    lanes: Lanes<Waiting>,
    idle_workers: usize,
    totals: Totals,
}

struct Event {
    at: Duration,
    /// Events of one time happen in the order they were made.
    number: u64,
    kind: Kind,
}

enum Kind {
    /// A request reaches the model's end.
    Arrive(Record),
    /// A worker has answered these.
    Done(Vec<Record>, Vec<usize>),
}

struct Waiting {
    request: Record,
    since: Duration,
}

impl Waits for Waiting {
    type Time = Duration;

    fn bytes(&self) -> usize {
        // A node's bound in bytes is for large requests, and is not simulated.
        0
    }

    fn deadline(&self) -> Option<Duration> {
        None
    }
}

impl<'a> Simulation<'a> {
    fn new(experiment: &'a Experiment, record: &'a mut dyn FnMut(&Record)) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(experiment.seed);
        rng.set_stream(PATH_STREAM);
        Self {
            rng,
            experiment,
            record,
            link: experiment.network.shape().map(|shape| Link::new(Arc::clone(shape))),
            one_way: experiment.network.as_constant().unwrap_or_default(),
            requests: Timetable::new(
                &experiment.groups,
                experiment.arrivals,
                experiment.duration,
                experiment.seed,
            ),
            events: BinaryHeap::new(),
            next_event: 0,
            lanes: Lanes::new(Bounds {
                requests_max: experiment.worker.queue_requests_max,
                bytes_max: usize::MAX,
                policy: experiment.worker.queue_policy,
            }),
            idle_workers: experiment.worker.workers.max(1),
            totals: Totals::default(),
        }
    }

    /// Lets the next thing happen; false when there is none.
    fn step(&mut self) -> bool {
        let next_event = self.events.peek().map(|Reverse(event)| event.at);
        let next_request = self.requests.peek();
        // What is under way comes before what begins at the same time.
        let is_event = next_event.is_some_and(|at| next_request.is_none_or(|due| at <= due));
        if is_event {
            let Some(Reverse(event)) = self.events.pop() else { return false };
            self.happen(event.at, event.kind);
        } else {
            let Some(due) = self.requests.next() else { return false };
            self.send(due);
        }
        true
    }

    fn happen(&mut self, now: Duration, kind: Kind) {
        match kind {
            Kind::Arrive(request) => self.arrive(now, request),
            Kind::Done(requests, mut held) => {
                self.idle_workers += 1;
                self.lanes.release(&mut held);
                for request in requests {
                    self.send_back(now, request);
                }
                self.work(now);
            }
        }
    }

    fn schedule(&mut self, at: Duration, kind: Kind) {
        self.next_event += 1;
        self.events.push(Reverse(Event { at, number: self.next_event, kind }));
    }

    /// A new request onto the uplink.
    fn send(&mut self, due: Due) {
        let now = due.at;
        let request = Record {
            number: self.totals.sent,
            is_copy: false,
            device: due.device,
            sent_at: now,
            ended_at: now,
            uplink: Duration::ZERO,
            queue: Duration::ZERO,
            inference: Duration::ZERO,
            downlink: Duration::ZERO,
            path: self.experiment.path.at(self.rng.random()),
            end: End::Answered,
        };
        self.totals.sent += 1;
        let verdict = self.decide(Direction::Uplink, &request, self.experiment.request_bytes, now);
        if let Some(second) = verdict.duplicate {
            self.totals.copies += 1;
            let copy = Record { is_copy: true, uplink: second, ..request };
            self.schedule(now + second, Kind::Arrive(copy));
        }
        let request = Record { uplink: verdict.delay, ..request };
        match verdict.lost {
            Some(lost) => {
                self.end(Record { ended_at: now + verdict.delay, end: End::Lost(lost), ..request });
            }
            None => self.schedule(now + verdict.delay, Kind::Arrive(request)),
        }
    }

    fn arrive(&mut self, now: Duration, request: Record) {
        let mut ousted = Vec::new();
        self.lanes.push(request.device.into(), Waiting { request, since: now }, &mut ousted);
        for (Waiting { request, since }, why) in ousted {
            let end = match why {
                Ousted::Full => End::Overloaded,
                Ousted::Superseded => End::Superseded,
            };
            self.send_back(now, Record { end, queue: now - since, ..request });
        }
        self.work(now);
    }

    /// Idle workers take what waits.
    fn work(&mut self, now: Duration) {
        while self.idle_workers > 0 {
            let (mut batch, mut held) = (Vec::new(), Vec::new());
            // What waits is shared with the other workers that have nothing to do, as in a node.
            let fair_share = self.lanes.len().div_ceil(self.idle_workers);
            let rows_max = fair_share.min(self.experiment.worker.batch_max.max(1));
            self.lanes.take(rows_max, &mut batch, &mut held);
            if batch.is_empty() {
                return;
            }
            self.idle_workers -= 1;
            self.totals.batches += 1;
            let inference = self.experiment.worker.cost.of(batch.len());
            let answered = batch.into_iter().map(|Waiting { request, since }| Record {
                queue: now - since,
                inference,
                end: End::Answered,
                ..request
            });
            let answered = answered.collect();
            self.schedule(now + inference, Kind::Done(answered, held));
        }
    }

    /// An answer onto the downlink. What becomes of it is known at once.
    fn send_back(&mut self, now: Duration, answer: Record) {
        let verdict = self.decide(Direction::Downlink, &answer, self.experiment.answer_bytes, now);
        if let Some(second) = verdict.duplicate {
            self.totals.copies += 1;
            self.end(Record { is_copy: true, downlink: second, ended_at: now + second, ..answer });
        }
        let end = verdict.lost.map_or(answer.end, End::Lost);
        self.end(Record { downlink: verdict.delay, ended_at: now + verdict.delay, end, ..answer });
    }

    fn decide(&self, direction: Direction, request: &Record, bytes: usize, at: Duration) -> Verdict {
        let Some(link) = &self.link else {
            return Verdict { delay: self.one_way, lost: None, duplicate: None };
        };
        let copy = if request.is_copy { COPY } else { 0 };
        // A node counts its requests from 1, and what a network decides depends on that.
        let number = (request.number + 1) | copy;
        let letter = Letter { number, party: request.device.into(), bytes, at };
        link.decide(direction, letter)
    }

    fn end(&mut self, request: Record) {
        let count = match request.end {
            End::Answered => &mut self.totals.answered,
            End::Overloaded => &mut self.totals.overloaded,
            End::Superseded => &mut self.totals.superseded,
            End::Lost(_) => &mut self.totals.lost,
        };
        *count += 1;
        (self.record)(&Record { ended_at: request.ended_at + request.path, ..request });
    }
}

/// Which stream of the seed's numbers the path is drawn from; arrivals and orders have others.
const PATH_STREAM: u64 = 2;

/// Set in the number of a copy, which meets a fate of its own on its way back.
const COPY: u64 = 1 << 63;

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Event {}
