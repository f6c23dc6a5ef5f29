//! The requests of a hybrid that are under way: their courses, what their legs have said, and when to look at them again.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::deployment::flow::{COPY, Ticket};
use crate::deployment::outbox::{Answer, ReplyTo};
use crate::inference::{ErrorCode, Made, Outcome, Refusal, Site, Stages};
use crate::metrics::HybridStatistics;
use crate::placement::{Asked, BreakerChange, Chooser, Course, LegEnd, Sites, Step};

/// A leg that sets out, with its features.
pub type Leg = (Box<Ticket>, Result<Vec<f32>, Refusal>);

/// What has ended, and is to be published or forgotten.
#[derive(Default)]
pub struct Ends {
    pub answers: Vec<Answer>,
    pub lost: Vec<Box<Ticket>>,
}

/// The requests under way.
pub struct Table {
    chooser: Chooser,
    /// At most this many copies and late legs are waited for, beside as many requests.
    in_flight_max: usize,
    held: HashMap<u64, Held>,
    /// When to look at which request again; at most one entry for each.
    due: BTreeSet<(Instant, u64)>,
    /// Legs that the dispatcher is to send, of requests that are held.
    outgoing: [Vec<Leg>; 2],
    /// Legs under way, copies by the simulated network included.
    pub legs_open: [usize; 2],
    pub is_closed: bool,
    /// When the dispatcher looks next; `None` while it is awake.
    pub dispatcher_wakes_at: Option<Instant>,
}

/// A request under way.
struct Held {
    course: Course,
    /// The request itself, until it is answered.
    ticket: Option<Box<Ticket>>,
    features: Vec<f32>,
    said: [Option<Said>; 2],
    due: Option<Instant>,
}

/// What a leg has said.
struct Said {
    outcome: Outcome,
    network: Duration,
    stages: Stages,
}

impl Table {
    pub fn new(chooser: Chooser, in_flight_max: usize) -> Self {
        Self {
            chooser,
            in_flight_max,
            held: HashMap::new(),
            due: BTreeSet::new(),
            outgoing: [Vec::new(), Vec::new()],
            legs_open: [0; 2],
            is_closed: false,
            dispatcher_wakes_at: None,
        }
    }

    /// Takes a request, and adds its first legs to those of edge and cloud.
    pub fn begin(&mut self, ticket: Box<Ticket>, features: Vec<f32>, now: Instant, legs: &mut [Vec<Leg>; 2]) {
        let asked = Asked {
            deadline: ticket.deadline,
            urgency: ticket.urgency,
            may_copy: self.held.len() < self.in_flight_max,
        };
        let (course, sites) = self.chooser.begin(asked, now);
        let number = ticket.sequence;
        let mut held = Held { course, ticket: Some(ticket), features, said: [None, None], due: None };
        let sites = match &sites {
            Sites::One(site) => std::slice::from_ref(site),
            Sites::Both => &Site::ALL,
        };
        for &site in sites {
            self.legs_open[site as usize] += 1;
            legs[site as usize].extend(held.leg(site, now));
        }
        self.look_again(number, &mut held);
        self.held.insert(number, held);
    }

    /// A leg has ended.
    pub fn leg_ended(&mut self, site: Site, leg: Answer, now: Instant, ends: &mut Ends) {
        self.legs_open[site as usize] -= 1;
        let Answer { ticket, outcome } = leg;
        let Ticket { sequence, network, stages, .. } = *ticket;
        let number = sequence & !COPY;
        let Some(mut held) = self.held.remove(&number) else { return self.chooser.dropped(site) };
        let end = end_of(&outcome);
        held.said[site as usize].get_or_insert(Said { outcome, network, stages });
        let step = self.chooser.ended(&mut held.course, site, end, now);
        self.follow(number, held, step, now, ends);
    }

    /// A leg has vanished. Of the cloud's nobody hears: it is silent until it has been so for too long.
    pub fn leg_lost(&mut self, site: Site, leg: &Ticket, now: Instant, ends: &mut Ends) {
        self.legs_open[site as usize] -= 1;
        let number = leg.sequence & !COPY;
        if site == Site::Cloud || leg.sequence != number {
            return;
        }
        let Some(mut held) = self.held.remove(&number) else { return };
        let step = self.chooser.ended(&mut held.course, site, LegEnd::Lost { is_told: false }, now);
        self.follow(number, held, step, now, ends);
    }

    pub fn leg_copied(&mut self, site: Site) {
        self.legs_open[site as usize] += 1;
    }

    /// Looks at the requests that are due at `now`.
    pub fn look(&mut self, now: Instant, ends: &mut Ends) {
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

    /// The legs to edge and cloud that the dispatcher is to send.
    pub fn take_outgoing(&mut self) -> [Vec<Leg>; 2] {
        std::mem::take(&mut self.outgoing)
    }

    pub fn has_outgoing(&self) -> bool {
        self.outgoing.iter().any(|legs| !legs.is_empty())
    }

    /// Whether the dispatcher sleeps and should not.
    pub fn has_news(&self) -> bool {
        let Some(wakes_at) = self.dispatcher_wakes_at else { return false };
        self.has_outgoing() || self.next_due().is_some_and(|due| due < wakes_at)
    }

    pub fn has_breaker_change(&self) -> bool {
        self.chooser.has_breaker_change()
    }

    pub fn take_breaker_change(&mut self) -> Option<BreakerChange> {
        self.chooser.take_breaker_change()
    }

    pub fn add_to(&mut self, statistics: &mut HybridStatistics, now: Instant) {
        let counts = self.chooser.counts();
        let (breaker, breaker_openings) = self.chooser.breaker();
        *statistics = HybridStatistics {
            results: statistics.results,
            asked: counts.asked,
            dropped: counts.dropped,
            cloud_failures: counts.cloud_failures,
            probes: counts.probes,
            escalations: counts.escalations,
            hedges_won: counts.hedges_won,
            hedges_lost: counts.hedges_lost,
            shadow_agreed: counts.shadow_agreed,
            shadow_disagreed: counts.shadow_disagreed,
            shadow_unanswered: counts.shadow_unanswered,
            kept_back: counts.kept_back,
            breaker: breaker.as_str(),
            breaker_openings,
            cloud_p95: self.chooser.cloud_p95(now),
        };
    }

    /// Does what is to be done, and holds the request for as long as something may come of it.
    fn follow(&mut self, number: u64, mut held: Held, step: Step, now: Instant, ends: &mut Ends) {
        match step {
            Step::Wait => {}
            Step::Ask(site) => {
                self.legs_open[site as usize] += 1;
                self.outgoing[site as usize].extend(held.leg(site, now));
            }
            Step::Answer(made) => ends.answers.extend(held.answer(made)),
            Step::Lose => ends.lost.extend(held.ticket.take()),
        }
        self.look_again(number, &mut held);
        if held.is_needed(self.held.len() < 2 * self.in_flight_max) {
            self.held.insert(number, held);
        } else if let Some(due) = held.due {
            self.due.remove(&(due, number));
        }
    }

    /// Notes when to look at the request again.
    fn look_again(&mut self, number: u64, held: &mut Held) {
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

impl Held {
    /// The request as `site` sees it, sent at `now`. None once it has been answered.
    fn leg(&self, site: Site, now: Instant) -> Option<Leg> {
        let ticket = self.ticket.as_ref()?;
        let is_measured = site == Site::Cloud && self.course.is_copy();
        let deadline = if is_measured { None } else { ticket.deadline };
        let leg = Ticket::new(ticket.caller.clone(), ReplyTo::default(), now, deadline, ticket.sequence);
        Some((Box::new(Ticket { bytes: ticket.bytes, ..leg }), Ok(self.features.clone())))
    }

    /// The request with the answer that one of its legs has got.
    fn answer(&mut self, made: Made) -> Option<Answer> {
        let Said { outcome, network, stages } = self.said[made.site as usize].take()?;
        let mut ticket = self.ticket.take()?;
        (ticket.network, ticket.stages, ticket.made) = (network, stages, Some(made));
        Some(Answer { ticket, outcome })
    }

    fn is_needed(&self, has_room: bool) -> bool {
        self.ticket.is_some() || (has_room && !self.course.is_over())
    }
}

/// How a leg has ended, as far as choosing depends on it.
fn end_of(outcome: &Outcome) -> LegEnd {
    match outcome {
        Ok(score) => LegEnd::Answered(*score),
        Err(refusal) => match refusal.code {
            ErrorCode::DeadlineExceeded => LegEnd::Expired,
            ErrorCode::NetworkLost => LegEnd::Lost { is_told: true },
            // The request's own fault: another one may do well.
            ErrorCode::Superseded | ErrorCode::NonFinite => LegEnd::Refused { blames_site: false },
            _ => LegEnd::Refused { blames_site: true },
        },
    }
}
