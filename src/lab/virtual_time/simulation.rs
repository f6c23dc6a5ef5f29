//! The events of an experiment, in the order of their times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1};

use super::lanes::Lanes;
use super::{End, Experiment, Record, Totals};
use crate::lab::scenario::Arrivals;
use crate::network::{Direction, Letter, Link, Verdict};

/// Simulates `experiment` and hands out what became of each request as soon as that is known.
pub fn simulate(experiment: &Experiment, record: &mut dyn FnMut(&Record)) -> Totals {
    let mut simulation = Simulation::new(experiment, record);
    simulation.begin();
    while let Some(Reverse(event)) = simulation.events.pop() {
        simulation.totals.events += 1;
        simulation.happen(event.at, event.kind);
    }
    simulation.totals
}

struct Simulation<'a> {
    experiment: &'a Experiment,
    record: &'a mut dyn FnMut(&Record),
    link: Option<Link>,
    one_way: Duration,
    /// Of arrivals alone, which happen in the same order whatever the network and the model do.
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
    /// A device of a group sends.
    Send { group: usize, device: u32 },
    /// A request reaches the model's end.
    Arrive(Record),
    /// A worker has answered these.
    Done(Vec<Record>),
}

struct Waiting {
    request: Record,
    since: Duration,
}

impl<'a> Simulation<'a> {
    fn new(experiment: &'a Experiment, record: &'a mut dyn FnMut(&Record)) -> Self {
        Self {
            experiment,
            record,
            link: experiment.network.shape().map(|shape| Link::new(Arc::clone(shape))),
            one_way: experiment.network.as_constant().unwrap_or_default(),
            rng: ChaCha8Rng::seed_from_u64(experiment.seed),
            events: BinaryHeap::new(),
            next_event: 0,
            lanes: Lanes::new(experiment.worker.queue_requests_max),
            idle_workers: experiment.worker.workers.max(1),
            totals: Totals::default(),
        }
    }

    /// The first request of every device.
    fn begin(&mut self) {
        let mut device = 0;
        for (group, of) in self.experiment.groups.iter().enumerate() {
            for _ in 0..of.devices {
                // A regular device begins anywhere within its first interval.
                let first_s = match self.experiment.arrivals {
                    Arrivals::Regular => self.rng.random::<f64>() / of.rate_hz,
                    Arrivals::Poisson => self.interval_s(of.rate_hz),
                };
                self.send_later(Duration::ZERO, first_s, group, device);
                device += 1;
            }
        }
    }

    fn happen(&mut self, now: Duration, kind: Kind) {
        match kind {
            Kind::Send { group, device } => {
                let interval_s = self.interval_s(self.experiment.groups[group].rate_hz);
                self.send_later(now, interval_s, group, device);
                self.send(now, device);
            }
            Kind::Arrive(request) => self.arrive(now, request),
            Kind::Done(requests) => {
                self.idle_workers += 1;
                self.lanes.release(requests.iter().map(|request| request.device));
                for request in requests {
                    self.send_back(now, request);
                }
                self.work(now);
            }
        }
    }

    fn interval_s(&mut self, rate_hz: f64) -> f64 {
        match self.experiment.arrivals {
            Arrivals::Regular => 1.0 / rate_hz,
            Arrivals::Poisson => {
                let interval: f64 = Exp1.sample(&mut self.rng);
                interval / rate_hz
            }
        }
    }

    fn send_later(&mut self, now: Duration, wait_s: f64, group: usize, device: u32) {
        let at = Duration::try_from_secs_f64(wait_s).ok().and_then(|wait| now.checked_add(wait));
        if let Some(at) = at.filter(|at| *at < self.experiment.duration) {
            self.schedule(at, Kind::Send { group, device });
        }
    }

    fn schedule(&mut self, at: Duration, kind: Kind) {
        self.next_event += 1;
        self.events.push(Reverse(Event { at, number: self.next_event, kind }));
        self.totals.pending_max = self.totals.pending_max.max(self.events.len());
    }

    /// A new request onto the uplink.
    fn send(&mut self, now: Duration, device: u32) {
        let request = Record {
            number: self.totals.sent,
            is_copy: false,
            device,
            sent_at: now,
            ended_at: now,
            uplink: Duration::ZERO,
            queue: Duration::ZERO,
            inference: Duration::ZERO,
            downlink: Duration::ZERO,
            end: End::Lost,
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
            Some(_) => self.end(Record { ended_at: now + verdict.delay, end: End::Lost, ..request }),
            None => self.schedule(now + verdict.delay, Kind::Arrive(request)),
        }
    }

    fn arrive(&mut self, now: Duration, request: Record) {
        let device = request.device;
        match self.lanes.push(device, Waiting { request, since: now }) {
            Ok(()) => self.work(now),
            Err(refused) => self.send_back(now, Record { end: End::Overloaded, ..refused.request }),
        }
    }

    /// Idle workers take what waits.
    fn work(&mut self, now: Duration) {
        while self.idle_workers > 0 {
            let batch = self.lanes.take(self.experiment.worker.batch_max.max(1));
            if batch.is_empty() {
                return;
            }
            self.idle_workers -= 1;
            self.totals.batches += 1;
            let inference = self.experiment.worker.cost.of(batch.len());
            let answered = batch.into_iter().map(|(_, Waiting { request, since })| Record {
                queue: now - since,
                inference,
                end: End::Answered,
                ..request
            });
            let answered = answered.collect();
            self.schedule(now + inference, Kind::Done(answered));
        }
    }

    /// An answer onto the downlink. What becomes of it is known at once.
    fn send_back(&mut self, now: Duration, answer: Record) {
        let verdict = self.decide(Direction::Downlink, &answer, self.experiment.answer_bytes, now);
        if let Some(second) = verdict.duplicate {
            self.totals.copies += 1;
            self.end(Record { is_copy: true, downlink: second, ended_at: now + second, ..answer });
        }
        let end = if verdict.lost.is_some() { End::Lost } else { answer.end };
        self.end(Record { downlink: verdict.delay, ended_at: now + verdict.delay, end, ..answer });
    }

    fn decide(&self, direction: Direction, request: &Record, bytes: usize, at: Duration) -> Verdict {
        let Some(link) = &self.link else {
            return Verdict { delay: self.one_way, lost: None, duplicate: None };
        };
        let copy = if request.is_copy { COPY } else { 0 };
        let letter = Letter { number: request.number | copy, party: request.device.into(), bytes, at };
        link.decide(direction, letter)
    }

    fn end(&mut self, request: Record) {
        let count = match request.end {
            End::Answered => &mut self.totals.answered,
            End::Overloaded => &mut self.totals.overloaded,
            End::Lost => &mut self.totals.lost,
        };
        *count += 1;
        (self.record)(&request);
    }
}

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
