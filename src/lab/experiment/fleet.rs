//! The devices of a scenario: their ids, and how often each of them asks.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::recording::RecordedRow;
use super::timetable::{Group, Pace};
use crate::inference::DeviceId;
use crate::lab::scenario::{Arrivals, Scenario, Sensor, Source};

/// The devices of a scenario, sensor after sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// The ids of all devices.
    pub devices: Vec<Arc<str>>,
    /// One for each sensor of the scenario.
    pub groups: Vec<Group>,
    /// How the requests of a device follow one another.
    pub arrivals: Arrivals,
}

/// Sensors that cannot be had together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum FleetError {
    /// There is none.
    #[error("sensors: there are none, expected at least one that is simulated or recorded")]
    NoSensors,
    /// A sensor's id is no device id.
    #[error("sensor {id:?}: {problem}")]
    DeviceId { id: String, problem: String },
    /// Two devices have one id.
    #[error("sensors: there are two devices called {0:?}, expected ids that differ")]
    Twice(String),
    /// A recording has no times, and nothing else says when its rows are due.
    #[error(
        "sensor {0:?}: its recording has no times, expected them in a column time_s (seconds), timestamp_us (microseconds), or of ISO 8601 \
         (timestamp, datetime, date_time, time or date), or a load in the scenario"
    )]
    NoTimes(String),
}

impl Fleet {
    /// The devices of `scenario`; `recordings` has the rows of every recorded sensor, in the order
    /// of all sensors. Where the scenario has a load, every device has an equal share of it.
    ///
    /// # Errors
    /// [`FleetError`] when there is no sensor, an id cannot be one or is there twice, or rows have no times.
    pub fn of(scenario: &Scenario, recordings: &[Option<Arc<[RecordedRow]>>]) -> Result<Self, FleetError> {
        let count: u32 = scenario.sensors.iter().map(|sensor| sensor.count).sum();
        if count == 0 {
            return Err(FleetError::NoSensors);
        }
        let share_hz = scenario.load.map(|load| load.requests_per_s / f64::from(count));
        let mut groups = Vec::with_capacity(scenario.sensors.len());
        for (at, sensor) in scenario.sensors.iter().enumerate() {
            let rows = recordings.get(at).and_then(Option::as_deref).unwrap_or_default();
            groups.push(Group { devices: sensor.count, pace: pace(sensor, rows, share_hz)? });
        }
        let arrivals = scenario.load.map(|load| load.arrivals).unwrap_or_default();
        Ok(Self { devices: device_ids(&scenario.sensors)?, groups, arrivals })
    }
}

fn pace(sensor: &Sensor, rows: &[RecordedRow], share_hz: Option<f64>) -> Result<Pace, FleetError> {
    match (&sensor.source, share_hz) {
        (_, Some(rate_hz)) => Ok(Pace::Every { rate_hz }),
        (Source::Bearing { rate_hz, .. }, None) => Ok(Pace::Every { rate_hz: *rate_hz }),
        (Source::Recorded { .. }, None) => {
            let times = rows.iter().map(|row| row.at).collect::<Option<Arc<[Duration]>>>();
            times.map(Pace::At).ok_or_else(|| FleetError::NoTimes(sensor.id.clone()))
        }
    }
}

fn device_ids(sensors: &[Sensor]) -> Result<Vec<Arc<str>>, FleetError> {
    let mut ids: Vec<Arc<str>> = Vec::new();
    for sensor in sensors {
        match sensor.count {
            0 => {}
            1 => ids.push(sensor.id.as_str().into()),
            count => ids.extend((1..=count).map(|number| Arc::from(format!("{}-{number}", sensor.id)))),
        }
    }
    let mut known = HashSet::with_capacity(ids.len());
    for id in &ids {
        DeviceId::new(&**id)
            .map_err(|refusal| FleetError::DeviceId { id: id.to_string(), problem: refusal.message })?;
        if !known.insert(Arc::clone(id)) {
            return Err(FleetError::Twice(id.to_string()));
        }
    }
    Ok(ids)
}

/// Makes sensors `devices` in all, in the shares that they have now; one
/// whose share is less than a device may have none.
pub fn with_devices(sensors: &[Sensor], devices: u32) -> Vec<Sensor> {
    let all: u64 = sensors.iter().map(|sensor| u64::from(sensor.count)).sum();
    let (mut before, mut given) = (0, 0);
    let scaled = sensors.iter().map(|sensor| {
        before += u64::from(sensor.count);
        let up_to = (before * u64::from(devices)).checked_div(all).unwrap_or_default();
        let count = up_to - given;
        given = up_to;
        Sensor { count: u32::try_from(count).unwrap_or(u32::MAX), ..sensor.clone() }
    });
    scaled.collect()
}
