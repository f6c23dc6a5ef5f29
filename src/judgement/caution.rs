//! What has to be kept in mind with the figures.

use super::device::{Counted, Device, Unit};
use super::figures::Figures;

/// Something about the data, or about a figure, that a reader must know.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Caution {
    /// Nothing was wrong anywhere: only false alarms can be judged.
    NoEvents,
    /// Something was wrong everywhere: nothing is known of false alarms.
    NothingHealthy,
    /// There is one device, so that nothing is known of how much devices differ.
    OneDevice,
    /// There are few devices, for which intervals by drawing anew are too narrow.
    FewDevices {
        /// How many.
        devices: usize,
    },
    /// Events lie in the warm-up alone.
    EventsLeftOut {
        /// How many.
        events: usize,
    },
    /// Rows without a truth.
    Unlabelled {
        /// How many.
        rows: usize,
    },
    /// Devices of which no row counts.
    NothingOf {
        /// How many.
        devices: usize,
    },
    /// The time in which nothing was wrong is too short for the budget to allow one episode.
    BudgetNotSeen {
        /// How many it allows.
        allowed: f64,
    },
    /// Some row has no time.
    NoTime,
    /// In every device the one event is its end: the row number ranks rows without a mistake.
    RunsToFailure,
    /// Scores rise with age though nothing is wrong.
    Drift {
        /// The healthy drift.
        area: f64,
    },
    /// Rows that count as quiet because the machine is said to be stopped.
    Stopped {
        /// How many.
        rows: usize,
        /// Out of how many.
        all: usize,
    },
    /// Scores that are not a number.
    WithoutScore {
        /// How many.
        rows: usize,
    },
}

/// From how many devices on intervals by drawing anew are about as wide as they should be.
pub const DEVICES_ENOUGH: usize = 10;
/// From which drift on it is said.
pub const DRIFT_SAID_FROM: f64 = 0.8;

impl Caution {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoEvents => "no_events",
            Self::NothingHealthy => "nothing_healthy",
            Self::OneDevice => "one_device",
            Self::FewDevices { .. } => "few_devices",
            Self::EventsLeftOut { .. } => "events_left_out",
            Self::Unlabelled { .. } => "unlabelled",
            Self::NothingOf { .. } => "nothing_of_devices",
            Self::BudgetNotSeen { .. } => "budget_not_seen",
            Self::NoTime => "no_time",
            Self::RunsToFailure => "runs_to_failure",
            Self::Drift { .. } => "drift",
            Self::Stopped { .. } => "stopped",
            Self::WithoutScore { .. } => "without_score",
        }
    }
}

pub fn of(devices: &[Device<'_>], counted: Counted, figures: &Figures, unit: Unit) -> Vec<Caution> {
    let with_rows = devices.iter().filter(|device| !device.rows.is_empty()).count();
    let runs_to_failure = counted.events > 0
        && devices.iter().filter(|device| !device.events.is_empty()).all(|device| {
            device.events.len() == 1 && device.ends_in_event && device.events[0].rows.start > 0
        });
    let allowed = figures.false_episodes.allowed.filter(|allowed| *allowed < 1.0);
    let drift = figures.healthy_drift.map(|drift| drift.value).filter(|area| *area >= DRIFT_SAID_FROM);
    let all = [
        (counted.events == 0).then_some(Caution::NoEvents),
        (figures.false_alarm_rate.all == 0).then_some(Caution::NothingHealthy),
        (with_rows == 1).then_some(Caution::OneDevice),
        (2..DEVICES_ENOUGH).contains(&with_rows).then_some(Caution::FewDevices { devices: with_rows }),
        runs_to_failure.then_some(Caution::RunsToFailure),
        drift.map(|area| Caution::Drift { area }),
        allowed.map(|allowed| Caution::BudgetNotSeen { allowed }),
        some(counted.events_left_out).map(|events| Caution::EventsLeftOut { events }),
        some(devices.len() - with_rows).map(|devices| Caution::NothingOf { devices }),
        some(counted.unlabelled).map(|rows| Caution::Unlabelled { rows }),
        some(counted.stopped).map(|rows| Caution::Stopped { rows, all: counted.judged }),
        some(counted.without_score).map(|rows| Caution::WithoutScore { rows }),
        (unit == Unit::ThousandRows).then_some(Caution::NoTime),
    ];
    all.into_iter().flatten().collect()
}

fn some(count: usize) -> Option<usize> {
    (count > 0).then_some(count)
}
