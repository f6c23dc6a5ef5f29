//! Figures over all devices, with intervals.

use super::ranking::Ranking;
use super::tally::Tally;
use crate::statistics::{Bootstrap, Interval, per_unit_at_most, share_at_least};

/// A value that has an interval where there are devices enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// By drawing devices anew; nothing for one device.
    pub interval: Option<Interval>,
}

/// How many of how many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Those that are counted.
    pub cases: usize,
    /// All there are.
    pub all: usize,
    /// Of the share, by drawing devices anew.
    pub interval: Option<Interval>,
}

impl Share {
    /// Between 0 and 1; nothing where there are none.
    pub fn share(self) -> Option<f64> {
        (self.all > 0).then(|| self.cases as f64 / self.all as f64)
    }
}

/// Episodes in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many.
    pub episodes: usize,
    /// In how many units, of all devices together.
    pub exposure: f64,
    /// Of the episodes a unit. Where there were none it is 0 to at most 3 / exposure.
    pub interval: Option<Interval>,
    /// How many the budget allows in that time; nothing where it cannot be told.
    pub allowed: Option<f64>,
}

impl Rate {
    /// Episodes a unit; nothing where there was no time.
    pub fn per_unit(self) -> Option<f64> {
        (self.exposure > 0.0).then(|| self.episodes as f64 / self.exposure)
    }

    /// Episodes over those that the budget allows.
    pub fn of_budget(self) -> Option<f64> {
        self.allowed.filter(|allowed| *allowed > 0.0).map(|allowed| self.episodes as f64 / allowed)
    }
}

/// Times of several events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// How many events have one.
    pub events: usize,
    /// The median with its interval.
    pub median: Estimate,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

/// All figures of a detector or a control. What has no meaning, such as a lead where nothing was found, is
/// nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Events in which an alarm was on.
    pub found: Share,
    /// Alarms that began where nothing was wrong, a device and unit of such time.
    pub false_episodes: Rate,
    /// From an event's onset to the first row in it with an alarm.
    pub delay: Option<Spread>,
    /// From that row to the event's last.
    pub lead: Option<Spread>,
    /// From where the alarm began that is on at an event's last row to that row.
    pub lasting_lead: Option<Spread>,
    /// Rows with an alarm of those in which nothing was wrong.
    pub false_alarm_rate: Share,
    /// Rows without one of those in which something was.
    pub missed_rate: Share,
    /// The share of time in alarm.
    pub time_in_alarm: Option<Estimate>,
    /// Means over the devices that have one.
    pub vus_pr: Option<Estimate>,
    /// As above.
    pub vus_roc: Option<Estimate>,
    /// As above.
    pub auc_pr: Option<Estimate>,
    /// As above.
    pub roc_auc: Option<Estimate>,
    /// As above.
    pub healthy_drift: Option<Estimate>,
    /// As above.
    pub affiliation_precision: Option<Estimate>,
    /// As above.
    pub affiliation_recall: Option<Estimate>,
}

impl Figures {
    /// Those of what alarms and scores of each device came to.
    pub(crate) fn of(
        tallies: &[Tally],
        rankings: &[Ranking],
        allowed: Option<f64>,
        bootstrap: &Bootstrap,
    ) -> Self {
        let mean = |of: fn(&Ranking) -> Option<f64>| {
            let values: Vec<Option<f64>> = rankings.iter().map(of).collect();
            mean(&values, bootstrap)
        };
        let spread = |of: fn(&Tally) -> &[f64]| {
            let times: Vec<&[f64]> = tallies.iter().map(of).collect();
            spread(&times, bootstrap)
        };
        Self {
            found: found(tallies, bootstrap),
            false_episodes: false_episodes(tallies, allowed, bootstrap),
            delay: spread(|tally| &tally.delays),
            lead: spread(|tally| &tally.leads),
            lasting_lead: spread(|tally| &tally.lasting_leads),
            false_alarm_rate: false_alarm_rate(tallies, bootstrap),
            missed_rate: missed_rate(tallies, bootstrap),
            time_in_alarm: time_in_alarm(tallies, bootstrap),
            vus_pr: mean(|ranking| ranking.vus_pr),
            vus_roc: mean(|ranking| ranking.vus_roc),
            auc_pr: mean(|ranking| ranking.auc_pr),
            roc_auc: mean(|ranking| ranking.roc_auc),
            healthy_drift: mean(|ranking| ranking.healthy_drift),
            affiliation_precision: mean(|ranking| ranking.affiliation_precision),
            affiliation_recall: mean(|ranking| ranking.affiliation_recall),
        }
    }
}

/// Events found. Where all were, or none, drawing them anew shows nothing: the interval is the exact one,
/// which takes events for independent.
pub fn found(tallies: &[Tally], bootstrap: &Bootstrap) -> Share {
    let share = share(tallies, bootstrap, |tally| (tally.found, tally.events));
    let least = share_at_least(share.all);
    let interval = match share {
        Share { all: 0, .. } => None,
        Share { cases, all, .. } if cases == all => Some(Interval { low: least, high: 1.0 }),
        Share { cases: 0, .. } => Some(Interval { low: 0.0, high: 1.0 - least }),
        some => some.interval,
    };
    Share { interval, ..share }
}

/// False episodes; where there were none their rate is at most 3 in the time that was looked at.
pub fn false_episodes(tallies: &[Tally], allowed: Option<f64>, bootstrap: &Bootstrap) -> Rate {
    let episodes = tallies.iter().map(|tally| tally.false_episodes).sum();
    let exposure: f64 = tallies.iter().map(|tally| tally.healthy_exposure).sum();
    let interval = if episodes == 0 {
        (exposure > 0.0).then(|| Interval { low: 0.0, high: per_unit_at_most(exposure) })
    } else {
        let of = |tally: &Tally| (tally.false_episodes as f64, tally.healthy_exposure);
        bootstrap.of_clusters(tallies.len(), |drawn| ratio(tallies, drawn, of))
    };
    Rate { episodes, exposure, interval, allowed }
}

pub fn false_alarm_rate(tallies: &[Tally], bootstrap: &Bootstrap) -> Share {
    without_certainty(share(tallies, bootstrap, |tally| (tally.false_rows, tally.healthy_rows)))
}

pub fn missed_rate(tallies: &[Tally], bootstrap: &Bootstrap) -> Share {
    without_certainty(share(tallies, bootstrap, |tally| (tally.missed_rows, tally.event_rows)))
}

/// Where no row or all of them count, drawing devices anew shows nothing, and rows are not independent, so
/// that nothing exact can be said either.
fn without_certainty(share: Share) -> Share {
    let is_certain = share.cases == 0 || share.cases == share.all;
    Share { interval: share.interval.filter(|_| !is_certain), ..share }
}

fn time_in_alarm(tallies: &[Tally], bootstrap: &Bootstrap) -> Option<Estimate> {
    let of = |tally: &Tally| (tally.alarm_exposure, tally.exposure);
    let figure = |drawn: &[usize]| ratio(tallies, drawn, of);
    let all: Vec<usize> = (0..tallies.len()).collect();
    Some(Estimate { value: figure(&all)?, interval: bootstrap.of_clusters(tallies.len(), figure) })
}

fn share(tallies: &[Tally], bootstrap: &Bootstrap, of: fn(&Tally) -> (usize, usize)) -> Share {
    let (cases, all) = tallies.iter().map(of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let of = |tally: &Tally| {
        let (cases, all) = of(tally);
        (cases as f64, all as f64)
    };
    let interval = bootstrap.of_clusters(tallies.len(), |drawn| ratio(tallies, drawn, of));
    Share { cases, all, interval }
}

/// A sum over another, of the devices that were drawn.
fn ratio(tallies: &[Tally], drawn: &[usize], of: impl Fn(&Tally) -> (f64, f64)) -> Option<f64> {
    let parts = drawn.iter().map(|at| of(&tallies[*at]));
    let (part, whole) = parts.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    (whole > 0.0).then(|| part / whole)
}

/// The mean of the devices that have a value.
pub fn mean(values: &[Option<f64>], bootstrap: &Bootstrap) -> Option<Estimate> {
    let known: Vec<f64> = values.iter().copied().flatten().collect();
    let mean = |drawn: &[usize]| {
        (!drawn.is_empty()).then(|| drawn.iter().map(|at| known[*at]).sum::<f64>() / drawn.len() as f64)
    };
    let all: Vec<usize> = (0..known.len()).collect();
    Some(Estimate { value: mean(&all)?, interval: bootstrap.of_clusters(known.len(), mean) })
}

fn spread(times: &[&[f64]], bootstrap: &Bootstrap) -> Option<Spread> {
    let figure = |drawn: &[usize]| median(drawn.iter().flat_map(|at| times[*at]).copied().collect());
    let all: Vec<usize> = (0..times.len()).collect();
    let every = || times.iter().copied().flatten().copied();
    Some(Spread {
        events: every().count(),
        median: Estimate { value: figure(&all)?, interval: bootstrap.of_clusters(times.len(), figure) },
        least: every().fold(f64::INFINITY, f64::min),
        most: every().fold(f64::NEG_INFINITY, f64::max),
    })
}

fn median(mut times: Vec<f64>) -> Option<f64> {
    if times.is_empty() {
        return None;
    }
    let (at, is_between) = (times.len() / 2, times.len().is_multiple_of(2));
    let (below, upper, _) = times.select_nth_unstable_by(at, f64::total_cmp);
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(if is_between { f64::midpoint(lower, *upper) } else { *upper })
}
