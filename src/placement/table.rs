//! The requests of a hybrid that are in flight: their courses, what their legs have said, and when to look at
//! them again.
//!
//! A leg is a request as one site sees it. What a request, a leg and an answer are
//! is for whoever sends them to say: a node, or an experiment on a simulated clock.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use super::chooser::{Asked, Chooser, Sites};
use super::course::{Course, LegEnd, Step};
use crate::inference::{Decision, PerSite, Site, Urgency};

/// A request that a [`Table`] can hold.
pub trait Request: Sized {
    /// What is sent to a site.
    type Leg;
    /// What a site has said.
    type Said;
    /// The request with what one site has said.
    type Answer;

    /// Its number, which no other request under way has.
    fn number(&self) -> u64;

    /// When it is too late to start; `None` for never.
    fn deadline(&self) -> Option<Instant>;

    /// How urgent it says it is.
    fn urgency(&self) -> Option<Urgency>;

    /// The request as `site` sees it, which is sent at `now` and not to be started from `deadline` on.
    fn leg(&self, site: Site, deadline: Option<Instant>, now: Instant) -> Self::Leg;

    /// Makes the answer to the request of what a site has said, and of why it was that one.
    fn answer(self, said: Self::Said, decision: Decision) -> Self::Answer;
}

/// What has ended, and is to be published or forgotten.
pub struct Ends<R: Request> {
    /// Answered, with a result or an error.
    pub answers: Vec<R::Answer>,
    /// Lost by every site, and nobody will hear of it.
    pub lost: Vec<R>,
}

impl<R: Request> std::fmt::Debug for Ends<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends")
            .field("answers", &self.answers.len())
            .field("lost", &self.lost.len())
            .finish_non_exhaustive()
    }
}

impl<R: Request> Default for Ends<R> {
    fn default() -> Self {
        Self { answers: Vec::new(), lost: Vec::new() }
    }
}

impl<R: Request> Ends<R> {
    /// Whether nothing has ended.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.lost.is_empty()
    }
}

/// The requests under way.
pub struct Table<R: Request> {
    chooser: Chooser,
    /// At most this many copies and late legs are waited for, beside as many requests.
    in_flight_max: usize,
    held: HashMap<u64, Held<R>>,
    /// When to look at which request again; at most one entry for each.
    due: BTreeSet<(Instant, u64)>,
    /// Legs that follow from others, of requests that are held.
    outgoing: PerSite<Vec<R::Leg>>,
    /// Legs under way, copies by the simulated network included.
    legs_open: PerSite<usize>,
}

impl<R: Request> std::fmt::Debug for Table<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("under_way", &self.held.len()).finish_non_exhaustive()
    }
}

/// A request under way.
struct Held<R: Request> {
    course: Course,
    /// The request itself, until it is answered.
    request: Option<R>,
    said: PerSite<Option<R::Said>>,
    due: Option<Instant>,
}

impl<R: Request> Table<R> {
    /// One without requests. Copies are made while fewer than `in_flight_max` requests are held.
    pub fn new(chooser: Chooser, in_flight_max: usize) -> Self {
        Self {
            chooser,
            in_flight_max,
            held: HashMap::new(),
            due: BTreeSet::new(),
            outgoing: PerSite::of(|_| Vec::new()),
            legs_open: PerSite::default(),
        }
    }

    /// Takes a request, and adds its first legs to those of edge and cloud.
    pub fn begin(&mut self, request: R, now: Instant, legs: &mut PerSite<Vec<R::Leg>>) {
        let asked = Asked {
            deadline: request.deadline(),
            urgency: request.urgency(),
            may_copy: self.held.len() < self.in_flight_max,
        };
        let (course, sites) = self.chooser.begin(asked, now);
        let number = request.number();
        let mut held =
            Held { course, request: Some(request), said: PerSite { edge: None, cloud: None }, due: None };
        let sites = match &sites {
            Sites::One(site) => std::slice::from_ref(site),
            Sites::Both => &Site::ALL,
        };
        for &site in sites {
            self.legs_open[site] += 1;
            legs[site].extend(held.leg(site, now));
        }
        self.look_again(number, &mut held);
        self.held.insert(number, held);
    }

    /// A leg of request `number` has ended, or a copy of it that the network made. The
    /// first word of a site counts.
    pub fn leg_ended(
        &mut self,
        site: Site,
        number: u64,
        (end, said): (LegEnd, R::Said),
        now: Instant,
        ends: &mut Ends<R>,
    ) {
        self.legs_open[site] = self.legs_open[site].saturating_sub(1);
        let Some(mut held) = self.held.remove(&number) else { return self.chooser.dropped(site) };
        held.said[site].get_or_insert(said);
        let step = self.chooser.ended(&mut held.course, site, end, now);
        self.follow(number, held, step, now, ends);
    }

    /// A leg has vanished. Of the cloud's nobody hears: it is silent until it has been so for too long.
    pub fn leg_lost(&mut self, site: Site, number: u64, is_copy: bool, now: Instant, ends: &mut Ends<R>) {
        self.legs_open[site] = self.legs_open[site].saturating_sub(1);
        // A node knows of a simulated loss at once, which no node could of a real one: the cloud's is noticed
        // as silence, after as long as that takes.
        if site == Site::Cloud || is_copy {
            return;
        }
        let Some(mut held) = self.held.remove(&number) else { return };
        let step = self.chooser.ended(&mut held.course, site, LegEnd::Lost { is_told: false }, now);
        self.follow(number, held, step, now, ends);
    }

    /// The network has made a copy of a leg.
    pub fn leg_copied(&mut self, site: Site) {
        self.legs_open[site] += 1;
    }

    /// Whether legs are under way at `site`, those of requests that have their answer included.
    pub fn has_legs(&self, site: Site) -> bool {
        self.legs_open[site] > 0
    }

    /// Looks at the requests that are due at `now`.
    pub fn look(&mut self, now: Instant, ends: &mut Ends<R>) {
        while let Some(&(due, number)) = self.due.first()
            && due <= now
        {
            self.due.pop_first();
            let Some(mut held) = self.held.remove(&number) else { continue };
            held.due = None;
            let step = self.chooser.timed_out(&mut held.course, now);
            self.follow(number, held, step, now, ends);
        }
    }

    /// When to look again.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The legs to edge and cloud that are to be sent now.
    pub fn take_outgoing(&mut self) -> PerSite<Vec<R::Leg>> {
        std::mem::replace(&mut self.outgoing, PerSite::of(|_| Vec::new()))
    }

    /// Whether there are such legs.
    pub fn has_outgoing(&self) -> bool {
        self.outgoing.iter().any(|(_, legs)| !legs.is_empty())
    }

    /// How many requests are held, those included that have their answer and wait for the cloud's.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether no request is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Who chooses between the sites.
    pub fn chooser(&self) -> &Chooser {
        &self.chooser
    }

    /// Who chooses, to be asked what changes by being asked.
    pub fn chooser_mut(&mut self) -> &mut Chooser {
        &mut self.chooser
    }

    /// Does what is to be done, and holds the request for as long as something may come of it.
    fn follow(&mut self, number: u64, mut held: Held<R>, step: Step, now: Instant, ends: &mut Ends<R>) {
        match step {
            Step::Wait => {}
            Step::Ask(site) => {
                self.legs_open[site] += 1;
                self.outgoing[site].extend(held.leg(site, now));
            }
            Step::Answer(decision) => ends.answers.extend(held.answer(decision)),
            Step::Lose => ends.lost.extend(held.request.take()),
        }
        self.look_again(number, &mut held);
        if held.is_needed(self.held.len() < 2 * self.in_flight_max) {
            self.held.insert(number, held);
        } else if let Some(due) = held.due {
            self.due.remove(&(due, number));
        }
    }

    /// Notes when to look at the request again.
    fn look_again(&mut self, number: u64, held: &mut Held<R>) {
        let due = self.chooser.next_due(&held.course);
        if due == held.due {
            return;
        }
        if let Some(before) = held.due {
            self.due.remove(&(before, number));
        }
        held.due = due;
        self.due.extend(due.map(|due| (due, number)));
    }
}

impl<R: Request> Held<R> {
    /// The request as `site` sees it, sent at `now`. None once it has been answered.
    /// What is sent to measure the cloud has no deadline.
    fn leg(&self, site: Site, now: Instant) -> Option<R::Leg> {
        let request = self.request.as_ref()?;
        let is_measured = site == Site::Cloud && self.course.is_copy();
        // Refused at its deadline, a leg that is to measure the cloud would only say that it took longer than
        // that.
        let deadline = if is_measured { None } else { request.deadline() };
        Some(request.leg(site, deadline, now))
    }

    /// The request with the answer that one of its legs has got.
    fn answer(&mut self, decision: Decision) -> Option<R::Answer> {
        let said = self.said[decision.site].take()?;
        Some(self.request.take()?.answer(said, decision))
    }

    fn is_needed(&self, has_room: bool) -> bool {
        self.request.is_some() || (has_room && !self.course.is_over())
    }
}
