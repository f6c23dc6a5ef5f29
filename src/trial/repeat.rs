//! One repeat of an experiment: everything that is decided before its clock starts,
//! and what became of each input.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::Plan;
use super::error::{SensorFault, TrialError};
use super::models::{self, Placed, Thresholds};
use crate::inference::Site;
use crate::lab::experiment::{
    Due, Fleet, Inputs, RecordedRow, RecordedRows, Timetable, read_recording, requests_expected,
};
use crate::lab::observation::{Choice, End, Mark, OBSERVATIONS_MAX, Observation, Stages, Usage};
use crate::lab::scenario::{Scenario, Sensor, Source};
use crate::model::Detector;
use crate::network::{Direction, Profile};
use crate::sensors::recorded::Labels;

/// A repeat that can be run.
pub struct Repeat {
    pub point: u16,
    pub number: u16,
    pub scenario: Scenario,
    pub fleet: Fleet,
    /// The fleet's devices among those of all points.
    pub devices: Vec<u32>,
    pub inputs: Arc<Inputs>,
    /// Every request, in order.
    pub due: Vec<Due>,
    /// The thresholds of edge and cloud, by placement.
    pub thresholds: Vec<Thresholds>,
}

/// What became of one input at one placement.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub sent_late: Duration,
    pub total: Option<Duration>,
    pub end: End,
    pub stages: Stages,
    pub prediction: Option<f32>,
    pub request_bytes: u32,
    pub answer_bytes: u32,
    /// Where a hybrid had the result made, and why.
    pub choice: Option<Arc<Choice>>,
}

/// What a repeat leaves behind.
pub struct Measured {
    pub observations: Vec<Observation>,
    pub usages: Vec<Usage>,
    pub marks: Vec<Mark>,
    /// When its clock began, in microseconds since 1970; on a simulated clock, since the first one's.
    pub began_us: i64,
}

impl Repeat {
    pub fn observation(&self, placement: usize, input: usize, outcome: Outcome) -> Observation {
        let due = self.due[input];
        let index = self.inputs.index(due.device, due.row);
        Observation {
            point: self.point,
            repeat: self.number,
            placement: placement as u16,
            device: self.devices[due.device as usize],
            input: input as u32,
            due: due.at,
            sent_late: outcome.sent_late,
            total: outcome.total,
            end: outcome.end,
            stages: outcome.stages,
            is_anomaly: outcome.prediction.map(|score| score >= self.threshold(placement, &outcome)),
            prediction: outcome.prediction,
            truth: self.inputs.truth(index),
            request_bytes: outcome.request_bytes,
            answer_bytes: outcome.answer_bytes,
            choice: outcome.choice,
        }
    }

    /// The threshold of the model that has made a result.
    fn threshold(&self, placement: usize, outcome: &Outcome) -> f32 {
        let Thresholds { model, cloud } = self.thresholds[placement];
        match (&outcome.choice, cloud) {
            (Some(choice), Some(cloud)) if choice.made_by == Site::Cloud.as_str() => cloud,
            _ => model,
        }
    }

    /// When the links are down while requests are sent; `link_ahead` is how long before
    /// the repeat's clock the links' began.
    pub fn outages(&self, link_ahead: Duration) -> Vec<Mark> {
        let mut marks = Vec::new();
        for (at, placement) in self.scenario.placements.iter().enumerate() {
            match &placement.hybrid {
                None => marks.extend(self.outages_of(at, &placement.network, "", link_ahead)),
                Some(hybrid) => {
                    marks.extend(self.outages_of(at, &placement.network, "edge's ", link_ahead));
                    marks.extend(self.outages_of(at, &hybrid.network, "cloud's ", link_ahead));
                }
            }
        }
        marks
    }

    fn outages_of(
        &self,
        placement: usize,
        network: &Profile,
        whose: &str,
        link_ahead: Duration,
    ) -> Vec<Mark> {
        let Some(shape) = network.shape() else { return Vec::new() };
        let mut marks = Vec::new();
        for (direction, name) in [(Direction::Uplink, "uplink"), (Direction::Downlink, "downlink")] {
            let spells = shape.outages(direction, self.scenario.duration + link_ahead);
            let seen = spells.into_iter().filter(|(_, until)| *until > link_ahead);
            marks.extend(seen.map(|(from, until)| Mark {
                point: self.point,
                repeat: self.number,
                placement: placement as u16,
                from: from.saturating_sub(link_ahead),
                until: until - link_ahead,
                what: format!("outage of the {whose}{name}"),
            }));
        }
        marks
    }
}

/// Prepares repeats, and keeps what several of them need.
#[derive(Default)]
pub struct Preparation {
    /// The devices of all points.
    pub devices: Vec<Arc<str>>,
    /// What of recordings does not mean what one may think.
    pub remarks: BTreeSet<String>,
    known: HashMap<Arc<str>, u32>,
    recordings: HashMap<String, Arc<[RecordedRow]>>,
    inputs: Option<(String, Arc<Inputs>)>,
}

impl Preparation {
    /// Everything for repeat `number` of a point, and the placements' models.
    ///
    /// # Errors
    /// When a model, a recording or the sensors cannot be used.
    pub fn repeat(
        &mut self,
        plan: &Plan,
        point: usize,
        number: u32,
    ) -> Result<(Repeat, Vec<Placed>), TrialError> {
        let scenario = plan.scenario_at(point, number)?;
        self.of(plan, scenario, point as u16, number as u16)
    }

    /// Everything for one run of `scenario`, which need not be one of the plan's, and the placements' models.
    ///
    /// # Errors
    /// When a model, a recording or the sensors cannot be used.
    pub fn of(
        &mut self,
        plan: &Plan,
        scenario: Scenario,
        point: u16,
        number: u16,
    ) -> Result<(Repeat, Vec<Placed>), TrialError> {
        let placed = models::load(&plan.paths, &scenario)?;
        let recordings = self.recordings(plan, &scenario, &placed[0].detector)?;
        let fleet = Fleet::of(&scenario, &recordings)?;
        let expected = requests_expected(&fleet.groups, scenario.duration);
        check_size(expected, &scenario, plan.runs())?;
        let inputs = self.inputs(&scenario, &fleet, &recordings)?;
        let due = Timetable::new(&fleet.groups, fleet.arrivals, scenario.duration, scenario.seed).collect();
        let devices = fleet.devices.iter().map(|id| self.device(id)).collect();
        let thresholds = placed.iter().map(Placed::thresholds).collect();
        let repeat = Repeat { point, number, scenario, fleet, devices, inputs, due, thresholds };
        Ok((repeat, placed))
    }

    fn device(&mut self, id: &Arc<str>) -> u32 {
        if let Some(known) = self.known.get(id) {
            return *known;
        }
        let number = self.devices.len() as u32;
        self.devices.push(Arc::clone(id));
        self.known.insert(Arc::clone(id), number);
        number
    }

    fn recordings(
        &mut self,
        plan: &Plan,
        scenario: &Scenario,
        detector: &Detector,
    ) -> Result<Vec<Option<Arc<[RecordedRow]>>>, TrialError> {
        let mut recordings = Vec::with_capacity(scenario.sensors.len());
        for sensor in &scenario.sensors {
            let at_sensor = |fault| TrialError::Sensor { sensor: sensor.id.clone(), fault };
            recordings.push(self.recording(plan, scenario, sensor, detector).map_err(at_sensor)?);
        }
        Ok(recordings)
    }

    fn recording(
        &mut self,
        plan: &Plan,
        scenario: &Scenario,
        sensor: &Sensor,
        detector: &Detector,
    ) -> Result<Option<Arc<[RecordedRow]>>, SensorFault> {
        let Source::Recorded { file, speed, label, anomalies, columns, format } = &sensor.source else {
            return Ok(None);
        };
        let labels = Labels { anomalies: anomalies.clone(), model: Some(detector.info().labels.clone()) };
        let columns = models::columns(detector, label.as_deref(), columns)?.labels(labels).format(*format);
        let key = format!("{file:?} {speed} {columns:?} {:?}", scenario.duration);
        if let Some(known) = self.recordings.get(&key) {
            return Ok(Some(Arc::clone(known)));
        }
        let path = plan.paths.found(file)?;
        let RecordedRows { rows, remarks } = read_recording(&path, &columns, *speed, scenario.duration)?;
        let remarks = remarks.into_iter().map(|remark| format!("sensor {:?}: {remark}", sensor.id));
        self.remarks.extend(remarks);
        let rows: Arc<[RecordedRow]> = rows.into();
        self.recordings.insert(key, Arc::clone(&rows));
        Ok(Some(rows))
    }

    /// The inputs, or those of the last time where they are the same.
    fn inputs(
        &mut self,
        scenario: &Scenario,
        fleet: &Fleet,
        recordings: &[Option<Arc<[RecordedRow]>>],
    ) -> Result<Arc<Inputs>, TrialError> {
        let Scenario { seed, sensors, load, duration, .. } = scenario;
        let key = format!("{seed} {sensors:?} {load:?} {duration:?}");
        if let Some((known, inputs)) = &self.inputs
            && *known == key
        {
            return Ok(Arc::clone(inputs));
        }
        let inputs = Arc::new(Inputs::of(scenario, fleet, recordings)?);
        self.inputs = Some((key, Arc::clone(&inputs)));
        Ok(inputs)
    }
}

/// Whether all observations fit in memory, if every run has as many requests as this one.
fn check_size(requests: f64, scenario: &Scenario, runs: usize) -> Result<(), TrialError> {
    let observations = requests * scenario.placements.len() as f64 * runs as f64;
    if observations > OBSERVATIONS_MAX as f64 {
        return Err(TrialError::TooLarge { observations });
    }
    Ok(())
}
