//! Found against false alarms as the budget varies.

use super::figures::{self, Rate, Share};
use super::tally::Tally;
use crate::detection::Budget;
use crate::statistics::Bootstrap;

/// What came of one budget. Everything else stays as it was: it is the detection that was run again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// The budget.
    pub budget: Budget,
    /// Events in which an alarm was on.
    pub found: Share,
    /// Alarms that began where nothing was wrong.
    pub false_episodes: Rate,
    /// Rows with an alarm of those in which nothing was wrong.
    pub false_alarm_rate: Share,
    /// Rows without one of those in which something was.
    pub missed_rate: Share,
}

impl CurvePoint {
    /// That of what each device's alarms came to.
    pub(crate) fn of(budget: Budget, tallies: &[Tally], allowed: Option<f64>, bootstrap: &Bootstrap) -> Self {
        Self {
            budget,
            found: figures::found(tallies, bootstrap),
            false_episodes: figures::false_episodes(tallies, allowed, bootstrap),
            false_alarm_rate: figures::false_alarm_rate(tallies, bootstrap),
            missed_rate: figures::missed_rate(tallies, bootstrap),
        }
    }
}
