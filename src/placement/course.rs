//! One request's course, a state machine, hedged requests included: which sites were asked, how each leg
//! ended, and what is to be done next.

use std::time::{Duration, Instant};

use super::breaker::Permit;
use crate::inference::{Decision, ErrorCode, PerSite, Reason, Site};

/// What a site's model has said, and its own threshold: the model may be another one by the next request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The score that the site's model has given.
    pub value: f32,
    /// At or above it the prediction is an anomaly.
    pub threshold: f32,
}

impl Score {
    /// Whether it is at or above its threshold.
    pub fn is_anomaly(self) -> bool {
        self.value >= self.threshold
    }

    /// How far it is from its threshold.
    fn distance(self) -> f32 {
        (self.value - self.threshold).abs()
    }
}

/// How a site's leg of a request has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LegEnd {
    /// With a score.
    Answered(Score),
    /// With an error.
    Refused {
        /// Whether the site is to blame, and not the request.
        blames_site: bool,
    },
    /// Its deadline passed before the model began with it.
    Expired,
    /// Lost, and known to be.
    Lost {
        /// Whether the requester is to be told, if nothing better comes of it.
        is_told: bool,
    },
}

impl LegEnd {
    /// The end of a leg that a site has answered with an error.
    pub fn of_error(code: ErrorCode) -> Self {
        match code {
            ErrorCode::DeadlineExceeded => Self::Expired,
            ErrorCode::NetworkLost => Self::Lost { is_told: true },
            // The request's own fault: another one may do well.
            ErrorCode::Superseded | ErrorCode::NonFinite => Self::Refused { blames_site: false },
            _ => Self::Refused { blames_site: true },
        }
    }
}

/// What is to be done for a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Nothing is to be done now.
    Wait,
    /// This site is to be asked too.
    Ask(Site),
    /// This site's answer, or its refusal, is the request's.
    Answer(Decision),
    /// Every trace of it is lost, and nobody will hear of it.
    Lose,
}

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// By one site; by the edge, should that be the cloud and fail.
    One(Site),
    /// By the edge, while the cloud is asked for what its answer tells.
    Copied,
    /// By the edge, unless its score is within `band` of its threshold.
    Escalating { band: f32 },
    /// By whichever is first.
    Race { first: Site },
}

/// One site's leg.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Leg {
    Unasked,
    /// It was asked at this time, and has said nothing yet.
    Asked(Instant),
    /// It did not end in time; it may still end.
    Silent(Instant),
    Ended(LegEnd),
}

impl Leg {
    /// Whether nothing more is to be hoped for.
    fn has_failed(self) -> bool {
        matches!(
            self,
            Self::Silent(_) | Self::Ended(LegEnd::Refused { .. } | LegEnd::Expired | LegEnd::Lost { .. })
        )
    }

    pub fn score(self) -> Option<Score> {
        match self {
            Self::Ended(LegEnd::Answered(score)) => Some(score),
            _ => None,
        }
    }
}

/// One request's course.
#[derive(Debug)]
pub struct Course {
    pub(crate) mode: Mode,
    /// Why it is so, unless something happens.
    pub(crate) reason: Reason,
    pub(crate) legs: PerSite<Leg>,
    /// What the breaker let through.
    pub(crate) permit: Option<Permit>,
    /// When the request is to be in time, where that bounds how long an escalation may take.
    pub(crate) deadline: Option<Instant>,
    /// When the other site is asked, in a race where it has not been.
    pub(crate) hedge_at: Option<Instant>,
    pub(crate) is_answered: bool,
    /// Whether a shadow has been compared.
    pub(crate) is_compared: bool,
}

impl Course {
    pub(crate) fn new(mode: Mode, reason: Reason) -> Self {
        Self {
            mode,
            reason,
            legs: PerSite::of(|_| Leg::Unasked),
            permit: None,
            deadline: None,
            hedge_at: None,
            is_answered: false,
            is_compared: false,
        }
    }

    pub(crate) fn leg(&self, site: Site) -> Leg {
        self.legs[site]
    }

    /// Whether the cloud's leg is not there to answer the request: it has no deadline,
    /// so that its time can be measured.
    pub fn is_copy(&self) -> bool {
        self.mode == Mode::Copied
    }

    /// Whether the request has its answer.
    pub fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Whether there is nothing more to learn either: the cloud's answer is measured
    /// also when it comes too late.
    pub fn is_over(&self) -> bool {
        self.is_answered && !matches!(self.leg(Site::Cloud), Leg::Asked(_))
    }

    /// When [`Chooser::timed_out`](super::Chooser::timed_out) must be called, unless
    /// something happens before.
    pub fn next_due(&self, cloud_timeout: Duration) -> Option<Instant> {
        let timeout = match self.leg(Site::Cloud) {
            Leg::Asked(since) => Some(self.give_up_at(since, cloud_timeout)),
            _ => None,
        };
        self.hedge_at.into_iter().chain(timeout).min()
    }

    /// When the cloud counts as silent. An escalation ends at the request's deadline
    /// too: the edge's answer is at hand.
    pub(crate) fn give_up_at(&self, since: Instant, cloud_timeout: Duration) -> Instant {
        let at = since + cloud_timeout;
        match (self.mode, self.deadline) {
            (Mode::Escalating { .. }, Some(deadline)) => at.min(deadline.max(since)),
            _ => at,
        }
    }

    /// What is to be done now. `may_ask_cloud` tells whether the breaker lets something
    /// through, and is asked at most once.
    pub(crate) fn decide(&mut self, may_ask_cloud: impl FnOnce() -> bool) -> Step {
        if self.is_answered {
            return Step::Wait;
        }
        let step = match self.mode {
            Mode::One(Site::Edge) | Mode::Copied => self.by_edge(self.reason),
            Mode::One(Site::Cloud) => self.by_cloud(),
            Mode::Escalating { band } => self.by_confidence(band, may_ask_cloud),
            Mode::Race { first } => self.by_race(first, may_ask_cloud),
        };
        if matches!(step, Step::Answer(_) | Step::Lose) {
            self.is_answered = true;
            self.hedge_at = None;
        }
        step
    }

    fn by_edge(&self, reason: Reason) -> Step {
        match self.leg(Site::Edge) {
            Leg::Ended(LegEnd::Lost { is_told: false }) => Step::Lose,
            Leg::Ended(_) => answer(Site::Edge, reason),
            Leg::Unasked | Leg::Asked(_) | Leg::Silent(_) => Step::Wait,
        }
    }

    fn by_cloud(&mut self) -> Step {
        match self.leg(Site::Cloud) {
            // Late or not: it is the first.
            Leg::Ended(LegEnd::Answered(_)) => answer(Site::Cloud, self.reason),
            // The deadline is the request's own, and the edge would say the same.
            Leg::Ended(LegEnd::Expired) if self.leg(Site::Edge) == Leg::Unasked => {
                answer(Site::Cloud, self.reason)
            }
            cloud if cloud.has_failed() => match self.leg(Site::Edge) {
                Leg::Unasked => Step::Ask(Site::Edge),
                _ => self.by_edge(failure(cloud)),
            },
            _ => Step::Wait,
        }
    }

    fn by_confidence(&mut self, band: f32, may_ask_cloud: impl FnOnce() -> bool) -> Step {
        let Some(score) = self.leg(Site::Edge).score() else { return self.by_edge(Reason::Confident) };
        match self.leg(Site::Cloud) {
            Leg::Unasked if score.distance() > band => answer(Site::Edge, Reason::Confident),
            Leg::Unasked if may_ask_cloud() => Step::Ask(Site::Cloud),
            Leg::Unasked => answer(Site::Edge, Reason::BreakerOpen),
            Leg::Asked(_) => Step::Wait,
            Leg::Ended(LegEnd::Answered(_)) => answer(Site::Cloud, Reason::Escalated),
            // The edge's answer is at hand: an escalation that fails costs time, and no answer.
            cloud => answer(Site::Edge, failure(cloud)),
        }
    }

    fn by_race(&mut self, first: Site, may_ask_cloud: impl FnOnce() -> bool) -> Step {
        let [one, other] = [self.leg(first), self.leg(first.other())];
        let reason = if other == Leg::Unasked { Reason::InTime } else { Reason::Hedge };
        if let Some(site) = Site::ALL.into_iter().find(|site| self.leg(*site).score().is_some()) {
            return answer(site, reason);
        }
        if other == Leg::Unasked {
            let is_due = self.hedge_at.is_none();
            // A deadline that has passed for one has passed for both.
            let is_expired = one == Leg::Ended(LegEnd::Expired);
            if !is_expired && (is_due || one.has_failed()) && (first == Site::Cloud || may_ask_cloud()) {
                self.hedge_at = None;
                return Step::Ask(first.other());
            }
            return if one.has_failed() { self.without_answer(first) } else { Step::Wait };
        }
        if one.has_failed() && other.has_failed() { self.without_answer(first) } else { Step::Wait }
    }

    /// The word of whichever site has said one.
    fn without_answer(&self, first: Site) -> Step {
        let has_word = |site: &Site| {
            let leg = self.leg(*site);
            leg.has_failed() && !matches!(leg, Leg::Silent(_) | Leg::Ended(LegEnd::Lost { is_told: false }))
        };
        match [first, first.other()].into_iter().find(has_word) {
            Some(site) => answer(site, self.reason),
            None => Step::Lose,
        }
    }
}

fn answer(site: Site, reason: Reason) -> Step {
    Step::Answer(Decision { site, reason })
}

/// Why the edge answers in the place of a cloud whose leg is like this.
fn failure(cloud: Leg) -> Reason {
    match cloud {
        Leg::Ended(LegEnd::Refused { .. }) => Reason::CloudRefused,
        _ => Reason::CloudSilent,
    }
}
