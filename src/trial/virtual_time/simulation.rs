//! The loop of a discrete-event simulation: the events of an experiment, in the order of their times.

mod event;
mod leg;
mod meeting;
mod place;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::event::{Event, Kind};
use self::leg::{Asked, Leg};
use self::meeting::Meeting;
use self::place::Place;
use super::{End, Experiment, Hybrid, Record, Totals};
use crate::inference::Site;
use crate::lab::experiment::{Due, Timetable};
use crate::network::{Direction, Lost};

/// Simulates `experiment` and hands out what became of each request as soon as that
/// is known. `score` is what the model of a site says to a request's input; none
/// where that is no number. A placement of one site is the edge.
pub fn simulate(
    experiment: &Experiment,
    score: &dyn Fn(Site, &Due) -> Option<f32>,
    record: &mut dyn FnMut(&Record),
) -> Totals {
    let mut simulation = Simulation::new(experiment, score, record);
    while simulation.step() {
        simulation.totals.events += 1;
        let pending = simulation.events.len() + simulation.requests.asking();
        simulation.totals.pending_max = simulation.totals.pending_max.max(pending);
    }
    simulation.totals
}

struct Simulation<'a> {
    experiment: &'a Experiment,
    score: &'a dyn Fn(Site, &Due) -> Option<f32>,
    record: &'a mut dyn FnMut(&Record),
    /// Whatever the network and the model do, they are the same.
    requests: Timetable<'a>,
    /// Of what else takes time, one number for each request.
    rng: ChaCha8Rng,
    base: Instant,
    events: BinaryHeap<Reverse<Event>>,
    next_event: u64,
    /// The edge, and the cloud of a hybrid.
    places: Vec<Place<'a>>,
    /// Where they meet.
    meeting: Option<Meeting>,
    totals: Totals,
}

/// What can happen next.
#[derive(Clone, Copy)]
enum Next {
    Event,
    /// A deadline passes at a site.
    Expiry(Site),
    /// A hybrid looks at what has not ended.
    Look,
    Request,
}

impl<'a> Simulation<'a> {
    fn new(
        experiment: &'a Experiment,
        score: &'a dyn Fn(Site, &Due) -> Option<f32>,
        record: &'a mut dyn FnMut(&Record),
    ) -> Self {
        let Experiment { groups, arrivals, duration, seed, .. } = experiment;
        let mut rng = ChaCha8Rng::seed_from_u64(*seed);
        // A stream of its own, so that arrivals are the same whether the way takes time or not: placements
        // are compared over the same requests (common random numbers).
        rng.set_stream(PATH_STREAM);
        let edge = Place::new(&experiment.network, experiment.worker, &experiment.path);
        let cloud = |hybrid: &'a Hybrid| Place::new(&hybrid.network, hybrid.worker, &hybrid.path);
        let base = Instant::now();
        Self {
            experiment,
            score,
            record,
            requests: Timetable::new(groups, *arrivals, *duration, *seed),
            rng,
            base,
            events: BinaryHeap::new(),
            next_event: 0,
            places: [edge].into_iter().chain(experiment.hybrid.as_ref().map(cloud)).collect(),
            meeting: experiment.hybrid.as_ref().map(|hybrid| Meeting::new(hybrid, base)),
            totals: Totals::default(),
        }
    }

    /// Lets the next thing happen; false when there is none.
    fn step(&mut self) -> bool {
        let deadline = |site: Site| self.places.get(site as usize)?.next_deadline();
        // What is under way comes before what begins at the same time.
        let moments = [
            (self.events.peek().map(|Reverse(event)| event.at), Next::Event),
            (deadline(Site::Edge), Next::Expiry(Site::Edge)),
            (deadline(Site::Cloud), Next::Expiry(Site::Cloud)),
            (self.meeting.as_ref().and_then(Meeting::next_due), Next::Look),
            (self.requests.peek(), Next::Request),
        ];
        let known = moments.into_iter().filter_map(|(at, next)| Some((at?, next)));
        // Of equal times the first in this list goes first, which is a part of what makes two runs equal byte
        // for byte.
        let Some((now, next)) = known.min_by_key(|(at, _)| *at) else { return false };
        match next {
            Next::Event => {
                let Some(Reverse(event)) = self.events.pop() else { return false };
                self.happen(now, event.kind);
            }
            Next::Expiry(site) => self.expire(now, site),
            Next::Look => self.meeting.iter_mut().for_each(|meeting| meeting.look(now)),
            Next::Request => {
                let Some(due) = self.requests.next() else { return false };
                self.send(due);
            }
        }
        self.settle(now);
        true
    }

    fn happen(&mut self, now: Duration, kind: Kind) {
        match kind {
            Kind::Arrive(leg) => {
                let (site, mut ended) = (leg.site, Vec::new());
                self.places[site as usize].arrive(now, leg, &mut ended);
                ended.into_iter().for_each(|leg| self.send_back(now, leg));
                self.work(now, site);
            }
            Kind::Done(site, legs, mut held) => {
                self.places[site as usize].end_pass(&mut held);
                legs.into_iter().for_each(|leg| self.send_back(now, leg));
                self.work(now, site);
            }
            Kind::Back(leg) => self.meeting.iter_mut().for_each(|meeting| meeting.hear(now, leg)),
        }
    }

    fn schedule(&mut self, at: Duration, kind: Kind) {
        self.next_event += 1;
        self.events.push(Reverse(Event { at, number: self.next_event, kind }));
    }

    /// A new request, to the one site or to those that the hybrid chooses.
    fn send(&mut self, due: Due) {
        let allowed = self.experiment.hybrid.as_ref().and_then(|hybrid| hybrid.deadline);
        let asked = Asked {
            number: self.totals.sent,
            due,
            // One number serves both sites, so that a request which is slow on one way is so on the other:
            // what is compared then differs by the sites, and less by chance.
            path_share: self.rng.random(),
            base: self.base,
            deadline: allowed.map(|allowed| due.at + allowed),
        };
        self.totals.sent += 1;
        match &mut self.meeting {
            None => self.send_up(due.at, asked.at(Site::Edge, asked.deadline)),
            Some(meeting) => {
                let legs = meeting.begin(due.at, asked);
                legs.into_array().into_iter().flatten().for_each(|leg| self.send_up(due.at, leg));
            }
        }
    }

    /// Sends the legs of a hybrid that follow from what has happened, and hands out the
    /// requests that have ended.
    fn settle(&mut self, now: Duration) {
        while let Some(meeting) = &mut self.meeting {
            let ((answered, lost), outgoing) = (meeting.take_ends(), meeting.take_outgoing().into_array());
            if answered.is_empty() && lost.is_empty() && outgoing.iter().all(Vec::is_empty) {
                return;
            }
            for (leg, made) in answered {
                let path = self.places[made.site as usize].path_of(&leg);
                // Whichever of a leg and its copy was first.
                self.end(Leg { is_copy: false, ..leg }.record(Some(made), now, path));
            }
            for asked in lost {
                let end = End::Lost(Lost::Silence);
                self.end(Leg { end, ..asked.at(Site::Edge, None) }.record(None, now, Duration::ZERO));
            }
            outgoing.into_iter().flatten().for_each(|leg| self.send_up(now, leg));
        }
    }

    /// A leg onto its site's uplink.
    fn send_up(&mut self, now: Duration, leg: Leg) {
        let place = &self.places[leg.site as usize];
        let verdict = place.decide(Direction::Uplink, &leg, self.experiment.request_bytes, now);
        if let Some(second) = verdict.duplicate {
            self.count_copy(&leg);
            self.go_up(now, Leg { is_copy: true, uplink: second, ..leg });
        }
        let leg = Leg { uplink: verdict.delay, ..leg };
        match verdict.lost {
            Some(lost) => self.come_back(now, now + leg.uplink, Leg { end: End::Lost(lost), ..leg }),
            None => self.go_up(now, leg),
        }
    }

    /// A leg that arrives, or whose deadline passes before that.
    fn go_up(&mut self, now: Duration, leg: Leg) {
        let arrives_at = now + leg.uplink;
        match leg.deadline {
            Some(deadline) if deadline <= arrives_at => {
                self.come_back(now, deadline.max(now), Leg { end: End::Expired, ..leg });
            }
            _ => self.schedule(arrives_at, Kind::Arrive(leg)),
        }
    }

    fn expire(&mut self, now: Duration, site: Site) {
        let mut expired = Vec::new();
        self.places[site as usize].expire(now, &mut expired);
        expired.into_iter().for_each(|leg| self.send_back(now, leg));
    }

    /// Idle workers take what waits.
    fn work(&mut self, now: Duration, site: Site) {
        self.expire(now, site);
        while let Some(pass) = self.places[site as usize].begin_pass(now) {
            self.totals.batches += 1;
            let answered = pass.legs.into_iter().map(|leg| {
                let score = (self.score)(site, &leg.asked.due);
                let end = if score.is_some() { End::Answered } else { End::NonFinite };
                Leg { score, end, ..leg }
            });
            let done = Kind::Done(site, answered.collect(), pass.held);
            self.schedule(now + pass.takes, done);
        }
    }

    /// An answer onto the downlink. Word of a deadline that has passed has no way to go:
    /// that is kept where requests come in.
    fn send_back(&mut self, now: Duration, leg: Leg) {
        if leg.end == End::Expired {
            return self.come_back(now, now, leg);
        }
        let place = &self.places[leg.site as usize];
        let verdict = place.decide(Direction::Downlink, &leg, self.experiment.answer_bytes, now);
        if let Some(second) = verdict.duplicate {
            self.count_copy(&leg);
            self.come_back(now, now + second, Leg { is_copy: true, downlink: second, ..leg });
        }
        let end = verdict.lost.map_or(leg.end, End::Lost);
        self.come_back(now, now + verdict.delay, Leg { downlink: verdict.delay, end, ..leg });
    }

    /// A leg will have ended at `at`. At one site that is the request's end, and known at once.
    fn come_back(&mut self, now: Duration, at: Duration, leg: Leg) {
        let silence = End::Lost(Lost::Silence);
        match &mut self.meeting {
            None => {
                let path = self.places[leg.site as usize].path_of(&leg);
                self.end(leg.record(None, at, path));
            }
            Some(meeting) if leg.end == silence => meeting.miss(now, leg),
            Some(_) => self.schedule(at, Kind::Back(leg)),
        }
    }

    /// A copy that the network has made is a request of its own, unless it is a leg's.
    fn count_copy(&mut self, leg: &Leg) {
        match &mut self.meeting {
            None => self.totals.copies += 1,
            Some(meeting) => meeting.copied(leg),
        }
    }

    fn end(&mut self, record: Record) {
        let count = match record.end {
            End::Answered => &mut self.totals.answered,
            End::Overloaded => &mut self.totals.overloaded,
            End::Superseded => &mut self.totals.superseded,
            End::Expired => &mut self.totals.expired,
            End::NonFinite => &mut self.totals.non_finite,
            End::Lost(_) => &mut self.totals.lost,
        };
        *count += 1;
        (self.record)(&record);
    }
}

/// Which stream of the seed's numbers the path is drawn from; arrivals and orders have others.
const PATH_STREAM: u64 = 2;
