//! The chooser, a router between edge and cloud: begins each request's course by the policy, and learns of
//! the cloud from how its legs end.

use std::time::{Duration, Instant};

use super::breaker::{Breaker, BreakerChange, BreakerState, Pass};
use super::course::{Course, Leg, LegEnd, Mode, Step};
use super::recent::Recent;
use super::{Config, Policy, Probing};
use crate::inference::{PerSite, Reason, Site, Urgency};

/// What is known of a request when it comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    /// When it is too late to start.
    pub deadline: Option<Instant>,
    /// How urgent it says it is.
    pub urgency: Option<Urgency>,
    /// Whether the cloud may be asked beside the edge, only to learn from its answer.
    pub may_copy: bool,
}

/// Which sites are asked at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sites {
    /// One site is asked.
    One(Site),
    /// Edge and cloud are asked at once.
    Both,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Legs sent to a site.
    pub asked: PerSite<u64>,
    /// Answers and errors of a site that came when the request had its answer
    /// already, or not for it: copies not counted.
    pub dropped: PerSite<u64>,
    /// Legs of the cloud that failed: lost, refused, or silent for too long.
    pub cloud_failures: u64,
    /// Requests of which the cloud got a copy to see how it is.
    pub probes: u64,
    /// Scores of the edge that were escalated.
    pub escalations: u64,
    /// Races in which both sites were asked, and the one asked second was first.
    pub hedges_won: u64,
    /// Races in which both sites were asked, and the one asked first was first.
    pub hedges_lost: u64,
    /// Shadow answers on the same side of their threshold as the edge's.
    pub shadow_agreed: u64,
    /// Shadow answers on the other side.
    pub shadow_disagreed: u64,
    /// Shadows without an answer to compare, of either site.
    pub shadow_unanswered: u64,
    /// Requests that the cloud would have got but for the circuit breaker.
    pub kept_back: u64,
}

/// Begins courses, and knows the cloud.
#[derive(Debug)]
pub struct Chooser {
    config: Config,
    /// The time that the cloud must have had at least to be to blame for a deadline that
    /// passed: half of what a request has, for an escalation comes to it late, and a
    /// sender's own message expiry may be too short for any cloud.
    patience: Duration,
    recent: Recent,
    breaker: Breaker,
    /// How many requests the edge has had since the last probe.
    since_probe: u64,
    last_probe: Option<Instant>,
    counts: Counts,
}

impl Chooser {
    /// One that knows nothing of the cloud yet. `deadline` is the one that every request has.
    pub fn new(config: Config, deadline: Option<Duration>) -> Self {
        let config = config.within_time();
        Self {
            config,
            patience: deadline.unwrap_or(config.cloud_timeout).min(config.cloud_timeout) / 2,
            recent: Recent::new(config.recent_window, config.recent_answers_max),
            breaker: Breaker::new(config.breaker),
            since_probe: 0,
            last_probe: None,
            counts: Counts::default(),
        }
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The circuit breaker's state, and how often it has opened.
    pub fn breaker(&self) -> (BreakerState, u64) {
        (self.breaker.state(), self.breaker.openings())
    }

    /// Whether the breaker's state has changed, and nobody has asked how.
    pub fn has_breaker_change(&self) -> bool {
        self.breaker.has_change()
    }

    /// The breaker's last change of state, once.
    pub fn take_breaker_change(&mut self) -> Option<BreakerChange> {
        self.breaker.take_change()
    }

    /// The 95th percentile of the cloud's recent answer times; [`Duration::MAX`] when too many did not come.
    pub fn cloud_p95(&mut self, now: Instant) -> Option<Duration> {
        self.recent.p95(now)
    }

    /// When to call [`timed_out`](Self::timed_out) for `course`.
    pub fn next_due(&self, course: &Course) -> Option<Instant> {
        course.next_due(self.config.cloud_timeout)
    }

    /// A request that came at `now`: its course, and whom to ask.
    pub fn begin(&mut self, asked: Asked, now: Instant) -> (Course, Sites) {
        let mut course = match self.config.policy {
            Policy::Deadline(probing) => self.by_deadline(probing, asked, now),
            Policy::Urgency { edge_from, default_site } => {
                let (site, reason) = match asked.urgency {
                    Some(urgency) if urgency >= edge_from => (Site::Edge, Reason::Urgent),
                    Some(_) => (Site::Cloud, Reason::NotUrgent),
                    None => (default_site, Reason::DefaultSite),
                };
                self.at(site, reason, asked, now)
            }
            Policy::Confidence { band } => Course::new(Mode::Escalating { band }, Reason::Confident),
            Policy::Hedged { first, after } => self.by_race(first, after, now),
            Policy::Shadow => self.copied(Reason::Shadow, asked, now),
        };
        course.deadline = asked.deadline;
        let sites = match course.mode {
            Mode::One(site) => Sites::One(site),
            Mode::Escalating { .. } => Sites::One(Site::Edge),
            Mode::Copied => Sites::Both,
            Mode::Race { first } if course.hedge_at.is_some() => Sites::One(first),
            Mode::Race { .. } => Sites::Both,
        };
        match sites {
            Sites::One(site) => self.ask(&mut course, site, now),
            Sites::Both => Site::ALL.into_iter().for_each(|site| self.ask(&mut course, site, now)),
        }
        (course, sites)
    }

    /// The leg of `course` at `site` has ended at `now`.
    pub fn ended(&mut self, course: &mut Course, site: Site, end: LegEnd, now: Instant) -> Step {
        if course.is_answered && !course.is_copy() {
            self.counts.dropped[site] += 1;
        }
        let leg = std::mem::replace(&mut course.legs[site], Leg::Ended(end));
        match leg {
            Leg::Asked(since) if site == Site::Cloud => self.learn(course, since, end, now),
            Leg::Ended(_) => course.legs[site] = leg,
            _ => {}
        }
        self.compare(course);
        self.proceed(course, now)
    }

    /// What [`next_due`](Self::next_due) named has come, at `now`.
    pub fn timed_out(&mut self, course: &mut Course, now: Instant) -> Step {
        if course.hedge_at.is_some_and(|at| at <= now) {
            course.hedge_at = None;
        }
        if let Leg::Asked(since) = course.leg(Site::Cloud)
            && course.give_up_at(since, self.config.cloud_timeout) <= now
        {
            course.legs[Site::Cloud] = Leg::Silent(since);
            self.missed(course, since, now);
            self.compare(course);
        }
        self.proceed(course, now)
    }

    /// An answer came for a request of which nothing is known any more.
    pub fn dropped(&mut self, site: Site) {
        self.counts.dropped[site] += 1;
    }

    /// The edge where the cloud would be late; with probes, so that it is seen when it no longer would be.
    fn by_deadline(&mut self, probing: Probing, asked: Asked, now: Instant) -> Course {
        let known = self.recent.len(now);
        let is_known = known >= probing.answers_min.min(self.config.recent_answers_max);
        let p95 = self.recent.p95(now).unwrap_or(Duration::MAX);
        // p95, not the mean: a deadline is missed in the tail.
        let is_in_time = asked.deadline.is_none_or(|deadline| p95 <= deadline.saturating_duration_since(now));
        if is_known && is_in_time {
            return self.at(Site::Cloud, Reason::InTime, asked, now);
        }
        self.since_probe += 1;
        let is_its_turn = self.since_probe >= (1.0 / probing.share).round() as u64;
        let has_waited =
            self.last_probe.is_none_or(|last| now.saturating_duration_since(last) >= probing.every);
        if (is_known && !has_waited && !is_its_turn) || !asked.may_copy {
            return Course::new(Mode::One(Site::Edge), Reason::Deadline);
        }
        let course = self.copied(Reason::Probe, asked, now);
        if course.is_copy() {
            self.since_probe = 0;
            self.last_probe = Some(now);
        }
        course
    }

    /// One site; the edge where the breaker keeps the cloud back. What the breaker lets
    /// through to try the cloud is a copy.
    fn at(&mut self, site: Site, reason: Reason, asked: Asked, now: Instant) -> Course {
        if site == Site::Edge {
            return Course::new(Mode::One(site), reason);
        }
        if self.breaker.state() == BreakerState::Closed {
            let mut course = Course::new(Mode::One(site), reason);
            self.let_through(&mut course, now);
            return course;
        }
        self.copied(Reason::Probe, asked, now)
    }

    /// The edge answers, and the cloud is asked for what its answer tells.
    fn copied(&mut self, reason: Reason, asked: Asked, now: Instant) -> Course {
        let mut course = Course::new(Mode::Copied, reason);
        if asked.may_copy && self.let_through(&mut course, now) {
            self.counts.probes += u64::from(reason == Reason::Probe);
            return course;
        }
        if reason == Reason::Shadow && self.breaker.would_pass(now) {
            // There is no room for a copy.
            return Course::new(Mode::One(Site::Edge), reason);
        }
        self.counts.kept_back += 1;
        Course::new(Mode::One(Site::Edge), Reason::BreakerOpen)
    }

    fn by_race(&mut self, first: Site, after: Duration, now: Instant) -> Course {
        let mut course = Course::new(Mode::Race { first }, Reason::Hedge);
        // J. Dean and L. A. Barroso, "The tail at scale", 2013: a second request that waits for the 95th
        // percentile of the first adds a twentieth of the load, and cuts the tail.
        course.hedge_at = if after.is_zero() { None } else { now.checked_add(after) };
        let asks_cloud = first == Site::Cloud || course.hedge_at.is_none();
        if asks_cloud && !self.let_through(&mut course, now) {
            self.counts.kept_back += 1;
            return Course::new(Mode::One(Site::Edge), Reason::BreakerOpen);
        }
        course
    }

    fn let_through(&mut self, course: &mut Course, now: Instant) -> bool {
        match self.breaker.pass(now) {
            Pass::Free(permit) | Pass::Probe(permit) => course.permit = Some(permit),
            Pass::No => {}
        }
        course.permit.is_some()
    }

    fn ask(&mut self, course: &mut Course, site: Site, now: Instant) {
        course.legs[site] = Leg::Asked(now);
        self.counts.asked[site] += 1;
    }

    fn proceed(&mut self, course: &mut Course, now: Instant) -> Step {
        let pass = self.breaker.would_pass(now);
        let mut is_kept_back = false;
        let step = course.decide(|| {
            is_kept_back = !pass;
            pass
        });
        self.counts.kept_back += u64::from(is_kept_back);
        if is_kept_back && step == Step::Wait {
            // It is kept back once, not at every step.
            course.mode = Mode::One(Site::Edge);
            course.reason = Reason::BreakerOpen;
        }
        match step {
            Step::Ask(site) => {
                if site == Site::Cloud {
                    self.let_through(course, now);
                    self.counts.escalations += u64::from(matches!(course.mode, Mode::Escalating { .. }));
                }
                self.ask(course, site, now);
            }
            Step::Answer(decision) => self.count_race(course, decision.site),
            Step::Wait | Step::Lose => {}
        }
        step
    }

    fn count_race(&mut self, course: &Course, winner: Site) {
        let Mode::Race { first } = course.mode else { return };
        if course.leg(first.other()) == Leg::Unasked || course.leg(winner).score().is_none() {
            return;
        }
        let won = if winner == first { &mut self.counts.hedges_lost } else { &mut self.counts.hedges_won };
        *won += 1;
    }

    /// The cloud's leg has ended in time.
    fn learn(&mut self, course: &mut Course, since: Instant, end: LegEnd, now: Instant) {
        match end {
            LegEnd::Answered(_) => {
                self.recent.add(now, Some(now.saturating_duration_since(since)));
                if let Some(permit) = course.permit {
                    self.breaker.succeeded(permit);
                }
            }
            LegEnd::Expired => self.missed(course, since, now),
            LegEnd::Refused { blames_site: true } | LegEnd::Lost { .. } => self.failed(course, now),
            // What the request itself is to blame for says nothing of the cloud, neither good nor bad.
            LegEnd::Refused { blames_site: false } => {}
        }
    }

    /// It has not answered within the request's time, which may have been too short for any cloud.
    fn missed(&mut self, course: &Course, since: Instant, now: Instant) {
        if now.saturating_duration_since(since) >= self.patience {
            self.failed(course, now);
        } else {
            self.recent.add(now, None);
        }
    }

    fn failed(&mut self, course: &Course, now: Instant) {
        self.recent.add(now, None);
        self.counts.cloud_failures += 1;
        if let Some(permit) = course.permit {
            self.breaker.failed(permit, now);
        }
    }

    /// Compares what edge and shadow say, once both have said it or will not.
    fn compare(&mut self, course: &mut Course) {
        if course.mode != Mode::Copied || course.reason != Reason::Shadow || course.is_compared {
            return;
        }
        if course.legs.iter().any(|(_, leg)| matches!(leg, Leg::Asked(_) | Leg::Unasked)) {
            return;
        }
        course.is_compared = true;
        let is_anomaly = |site: Site| Some(course.leg(site).score()?.is_anomaly());
        let count = match (is_anomaly(Site::Edge), is_anomaly(Site::Cloud)) {
            (Some(edge), Some(cloud)) if edge == cloud => &mut self.counts.shadow_agreed,
            (Some(_), Some(_)) => &mut self.counts.shadow_disagreed,
            _ => &mut self.counts.shadow_unanswered,
        };
        *count += 1;
    }
}
