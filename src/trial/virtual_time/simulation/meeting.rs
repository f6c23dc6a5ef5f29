//! Where a hybrid's two sites meet, as in a node: the node's own table of requests
//! under way, on a simulated clock.

use std::time::{Duration, Instant};

use super::leg::{Asked, Leg};
use crate::inference::{Decision, ErrorCode, PerSite};
use crate::network::Lost;
use crate::placement::{Chooser, Ends, LegEnd, Score, Table};
use crate::trial::virtual_time::{End, Hybrid};

/// The requests of a hybrid that are under way.
pub struct Meeting {
    table: Table<Asked>,
    thresholds: [f32; 2],
    /// What is simulated begins here: choosing goes by differences of times alone, so it
    /// does not matter when that is.
    base: Instant,
    ends: Ends<Asked>,
}

impl Meeting {
    pub fn new(hybrid: &Hybrid, base: Instant) -> Self {
        let chooser = Chooser::new(hybrid.placement, hybrid.deadline);
        Self {
            table: Table::new(chooser, hybrid.in_flight_max),
            thresholds: hybrid.thresholds,
            base,
            ends: Ends::default(),
        }
    }

    /// Takes a request; its first legs are those to edge and cloud.
    pub fn begin(&mut self, now: Duration, asked: Asked) -> PerSite<Vec<Leg>> {
        let mut legs = PerSite::of(|_| Vec::new());
        self.table.begin(asked, self.base + now, &mut legs);
        legs
    }

    /// A leg has ended, and word of it is there.
    pub fn hear(&mut self, now: Duration, leg: Leg) {
        let end = match (leg.end, leg.score) {
            (End::Answered, Some(value)) => {
                let threshold = self.thresholds[leg.site as usize];
                LegEnd::Answered(Score { value, threshold })
            }
            (End::Answered | End::NonFinite, _) => LegEnd::of_error(ErrorCode::NonFinite),
            (End::Overloaded, _) => LegEnd::of_error(ErrorCode::Overloaded),
            (End::Superseded, _) => LegEnd::of_error(ErrorCode::Superseded),
            (End::Expired, _) => LegEnd::of_error(ErrorCode::DeadlineExceeded),
            (End::Lost(Lost::Report), _) => LegEnd::of_error(ErrorCode::NetworkLost),
            (End::Lost(Lost::Silence), _) => return self.miss(now, leg),
        };
        let number = leg.asked.number;
        self.table.leg_ended(leg.site, number, (end, leg), self.base + now, &mut self.ends);
    }

    /// A leg has vanished without a word.
    pub fn miss(&mut self, now: Duration, leg: Leg) {
        self.table.leg_lost(leg.site, leg.asked.number, leg.is_copy, self.base + now, &mut self.ends);
    }

    /// The network has made a copy of a leg.
    pub fn copied(&mut self, leg: &Leg) {
        self.table.leg_copied(leg.site);
    }

    /// When to look at what has not ended.
    pub fn next_due(&self) -> Option<Duration> {
        Some(self.table.next_due()?.saturating_duration_since(self.base))
    }

    pub fn look(&mut self, now: Duration) {
        self.table.look(self.base + now, &mut self.ends);
    }

    /// The legs that follow from what has happened.
    pub fn take_outgoing(&mut self) -> PerSite<Vec<Leg>> {
        self.table.take_outgoing()
    }

    /// The requests that have ended: answered, and lost without a word.
    pub fn take_ends(&mut self) -> (Vec<(Leg, Decision)>, Vec<Asked>) {
        let Ends { answers, lost } = std::mem::take(&mut self.ends);
        (answers, lost)
    }
}
