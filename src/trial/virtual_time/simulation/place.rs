//! One site: the network before it, what waits there, and its workers.

use std::sync::Arc;
use std::time::Duration;

use super::leg::{Leg, Waiting};
use crate::network::{Direction, Letter, Link, Profile, Verdict};
use crate::trial::virtual_time::{End, Path, WorkerModel};
use crate::worker::{Bounds, Lanes, Ousted};

/// A model and the network before it.
pub struct Place<'a> {
    link: Option<Link>,
    one_way: Duration,
    lanes: Lanes<Waiting>,
    worker: WorkerModel,
    idle_workers: usize,
    path: &'a Path,
}

/// A forward pass that begins: what is in it, and what it takes.
pub struct Pass {
    pub legs: Vec<Leg>,
    /// The lanes that they came from.
    pub held: Vec<usize>,
    pub takes: Duration,
}

impl<'a> Place<'a> {
    pub fn new(network: &Profile, worker: WorkerModel, path: &'a Path) -> Self {
        Self {
            link: network.shape().map(|shape| Link::new(Arc::clone(shape))),
            one_way: network.as_constant().unwrap_or_default(),
            lanes: Lanes::new(Bounds {
                requests_max: worker.queue_requests_max,
                bytes_max: usize::MAX,
                policy: worker.queue_policy,
            }),
            idle_workers: worker.workers.max(1),
            worker,
            path,
        }
    }

    /// What the way through client and broker takes for a request that this site answers.
    pub fn path_of(&self, leg: &Leg) -> Duration {
        self.path.at(leg.asked.path_share)
    }

    /// What the network does with a message.
    pub fn decide(&self, direction: Direction, leg: &Leg, bytes: usize, at: Duration) -> Verdict {
        let Some(link) = &self.link else {
            return Verdict { delay: self.one_way, lost: None, duplicate: None };
        };
        let copy = if leg.is_copy { COPY } else { 0 };
        let number = (leg.asked.number + FIRST_NUMBER) | copy;
        link.decide(direction, Letter { number, party: leg.asked.due.device.into(), bytes, at })
    }

    /// A leg at the model's end; whatever has to give way for it goes to `ended`.
    pub fn arrive(&mut self, now: Duration, leg: Leg, ended: &mut Vec<Leg>) {
        let mut ousted = Vec::new();
        self.lanes.push(leg.asked.due.device.into(), Waiting { leg, since: now }, &mut ousted);
        ended.extend(ousted.into_iter().map(|(Waiting { leg, since }, why)| {
            let end = match why {
                Ousted::Full => End::Overloaded,
                Ousted::Superseded => End::Superseded,
            };
            Leg { end, queue: now - since, ..leg }
        }));
    }

    /// When a deadline passes of what waits.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.lanes.next_deadline()
    }

    /// Takes out what waits and may not start any more.
    pub fn expire(&mut self, now: Duration, ended: &mut Vec<Leg>) {
        let mut expired = Vec::new();
        self.lanes.expire(now, &mut expired);
        let end = |Waiting { leg, since }: Waiting| Leg { end: End::Expired, queue: now - since, ..leg };
        ended.extend(expired.into_iter().map(end));
    }

    /// The next forward pass, if there is a worker for it and something waits.
    pub fn begin_pass(&mut self, now: Duration) -> Option<Pass> {
        if self.idle_workers == 0 {
            return None;
        }
        let (mut batch, mut held) = (Vec::new(), Vec::new());
        // What waits is shared with the other workers that have nothing to do, as in a node.
        let fair_share = self.lanes.len().div_ceil(self.idle_workers);
        let rows_max = fair_share.min(self.worker.batch_max.max(1));
        self.lanes.take(rows_max, &mut batch, &mut held);
        if batch.is_empty() {
            return None;
        }
        self.idle_workers -= 1;
        let inference = self.worker.cost.of(batch.len());
        let started = |Waiting { leg, since }| Leg { queue: now - since, inference, ..leg };
        Some(Pass { legs: batch.into_iter().map(started).collect(), held, takes: inference })
    }

    /// A pass is over, and its lanes are for others.
    pub fn end_pass(&mut self, held: &mut Vec<usize>) {
        self.idle_workers += 1;
        self.lanes.release(held);
    }
}

/// A node counts its requests from here, and the network decides by their number.
const FIRST_NUMBER: u64 = 1;

/// Set in the number of a copy, which meets a fate of its own on its way back.
const COPY: u64 = 1 << 63;
