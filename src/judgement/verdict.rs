//! The detector against each control: whether it is better than what needs none.

use super::decisions::Who;
use super::figures::{self, Estimate};
use super::tally::Tally;
use super::{Options, Part};
use crate::statistics::Interval;

/// The detector against one control.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The control.
    pub control: Who,
    /// Whether the control finds at least as many events with no more false episodes and no more false rows:
    /// then its alarms are at least as good.
    pub is_matched: bool,
    /// By how much the control's false alarm rate and missed rate of rows, added, are larger. Both are 1 in
    /// all for alarms that do not look at the data.
    pub rows: Option<Against>,
    /// By how much the detector's VUS-PR is larger, in the mean over devices.
    pub ranking: Option<Against>,
}

/// By how much the detector is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Against {
    /// More than 0 is better.
    pub by: Estimate,
}

/// What that says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of the interval is.
    Better,
    /// The value is, and some of the interval is not; or there is no interval, for one device.
    NotShown,
    /// The value is not.
    NotBetter,
}

impl Outcome {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::NotShown => "not shown",
            Self::NotBetter => "not better",
        }
    }
}

impl Against {
    /// Whether that is more than chance.
    pub fn outcome(self) -> Outcome {
        match self.by {
            Estimate { value, .. } if value <= 0.0 => Outcome::NotBetter,
            Estimate { interval: Some(Interval { low, .. }), .. } if low > 0.0 => Outcome::Better,
            _ => Outcome::NotShown,
        }
    }
}

impl Verdict {
    /// Whether it is better in every way that can be told.
    pub fn is_better(&self) -> bool {
        let against = [self.rows, self.ranking];
        !self.is_matched && against.into_iter().flatten().all(|against| against.outcome() == Outcome::Better)
    }
}

pub fn of(detector: &Part, control: &Part, options: &Options) -> Verdict {
    Verdict {
        control: control.who,
        is_matched: is_matched(detector, control),
        rows: rows(detector, control, options),
        ranking: ranking(detector, control, options),
    }
}

fn is_matched(detector: &Part, control: &Part) -> bool {
    let (ours, theirs) = (&detector.figures, &control.figures);
    // Without an event nobody can be better than never.
    ours.found.all > 0
        && theirs.found.cases >= ours.found.cases
        && theirs.false_episodes.episodes <= ours.false_episodes.episodes
        && theirs.false_alarm_rate.cases <= ours.false_alarm_rate.cases
}

fn rows(detector: &Part, control: &Part, options: &Options) -> Option<Against> {
    let devices = detector.tallies.len();
    let figure = |drawn: &[usize]| Some(wrong(&control.tallies, drawn)? - wrong(&detector.tallies, drawn)?);
    let all: Vec<usize> = (0..devices).collect();
    let value = figure(&all)?;
    Some(Against { by: Estimate { value, interval: options.bootstrap.of_clusters(devices, figure) } })
}

/// False alarm rate and missed rate, added.
fn wrong(tallies: &[Tally], drawn: &[usize]) -> Option<f64> {
    let sum = |of: fn(&Tally) -> usize| drawn.iter().map(|at| of(&tallies[*at])).sum::<usize>() as f64;
    let (healthy, in_event) = (sum(|tally| tally.healthy_rows), sum(|tally| tally.event_rows));
    let has_both = healthy > 0.0 && in_event > 0.0;
    has_both.then(|| sum(|tally| tally.false_rows) / healthy + sum(|tally| tally.missed_rows) / in_event)
}

fn ranking(detector: &Part, control: &Part, options: &Options) -> Option<Against> {
    let pairs = detector.rankings.iter().zip(&control.rankings);
    let differences: Vec<Option<f64>> =
        pairs.map(|(ours, theirs)| Some(ours.vus_pr? - theirs.vus_pr?)).collect();
    figures::mean(&differences, &options.bootstrap).map(|by| Against { by })
}
