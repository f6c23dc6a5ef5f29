//! What travels: a request as one site sees it. At a placement of one site that is the request itself.

use std::time::{Duration, Instant};

use crate::inference::{Decision, Site, Urgency};
use crate::lab::experiment::Due;
use crate::placement;
use crate::trial::virtual_time::{End, Record};
use crate::worker::Waits;

/// A request, whoever answers it.
#[derive(Clone, Copy)]
pub struct Asked {
    pub number: u64,
    pub due: Due,
    /// Which share of the requests has a shorter way through client and broker.
    pub path_share: f64,
    /// When the repeat began, on the clock by which a hybrid chooses.
    pub base: Instant,
    pub deadline: Option<Duration>,
}

/// A request on its way to one site and back.
#[derive(Clone, Copy)]
pub struct Leg {
    pub asked: Asked,
    pub site: Site,
    pub is_copy: bool,
    /// When it is too late to start.
    pub deadline: Option<Duration>,
    pub uplink: Duration,
    pub queue: Duration,
    pub inference: Duration,
    pub downlink: Duration,
    pub score: Option<f32>,
    pub end: End,
}

impl Asked {
    /// The request as `site` sees it.
    pub fn at(self, site: Site, deadline: Option<Duration>) -> Leg {
        Leg {
            asked: self,
            site,
            is_copy: false,
            deadline,
            uplink: Duration::ZERO,
            queue: Duration::ZERO,
            inference: Duration::ZERO,
            downlink: Duration::ZERO,
            score: None,
            end: End::Answered,
        }
    }
}

impl Leg {
    /// What is known of a request whose answer this is, and has arrived at `ended_at`
    /// but for what the way through client and broker takes.
    pub fn record(&self, made: Option<Decision>, ended_at: Duration, path: Duration) -> Record {
        Record {
            number: self.asked.number,
            is_copy: self.is_copy,
            device: self.asked.due.device,
            sent_at: self.asked.due.at,
            ended_at: ended_at + path,
            uplink: self.uplink,
            queue: self.queue,
            inference: self.inference,
            downlink: self.downlink,
            path,
            end: self.end,
            made,
        }
    }
}

impl placement::Request for Asked {
    type Leg = Leg;
    type Said = Leg;
    type Answer = (Leg, Decision);

    fn number(&self) -> u64 {
        self.number
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline.map(|deadline| self.base + deadline)
    }

    fn urgency(&self) -> Option<Urgency> {
        // Requests of an experiment say nothing of it.
        None
    }

    fn leg(&self, site: Site, deadline: Option<Instant>, _: Instant) -> Leg {
        self.at(site, deadline.map(|deadline| deadline.saturating_duration_since(self.base)))
    }

    fn answer(self, said: Leg, made: Decision) -> (Leg, Decision) {
        (said, made)
    }
}

/// A leg that waits for a worker, and since when.
pub struct Waiting {
    pub leg: Leg,
    pub since: Duration,
}

impl Waits for Waiting {
    type Time = Duration;

    fn bytes(&self) -> usize {
        // A node's bound in bytes is for large requests, and is not simulated.
        0
    }

    fn deadline(&self) -> Option<Duration> {
        self.leg.deadline
    }
}
