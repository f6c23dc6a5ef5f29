//! What a trial does: a scenario, with what is said in place of what its file says,
//! at every point of its sweeps.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::TrialError;
use super::hybrids;
use super::paths::Paths;
use crate::lab::experiment::with_devices;
use crate::lab::scenario::{Document, Load, Placement, Scenario, Sensor, Source};
use crate::text;

/// A scenario and its variations.
pub struct Plan {
    file: String,
    text: String,
    pub(crate) paths: Paths,
    /// The files that networks name.
    network_files: Vec<PathBuf>,
    scenario: Scenario,
    points: Vec<Vec<(String, f64)>>,
    document: Document,
    changes: Changes,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("file", &self.file)
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

/// What is said in place of what a scenario says; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// What everything is drawn from.
    pub seed: Option<u64>,
    /// How often the experiment is repeated, each time with the next seed.
    pub repeats: Option<u32>,
    /// How many devices there are in all, in the shares that the scenario's sensors have.
    pub devices: Option<u32>,
    /// The answer time from which a request is late.
    pub deadline: Option<Duration>,
}

impl Plan {
    /// Reads the scenario in `file`. Files that it names are looked for beside it, and then in the current
    /// directory.
    ///
    /// # Errors
    /// When the file cannot be read or is no scenario, at any point of its sweeps.
    pub fn read(file: &Path, changes: Changes) -> Result<Self, TrialError> {
        let name = file.display().to_string();
        let text = text::read_file(file, text::TEXT_BYTES_MAX)
            .map_err(|cause| TrialError::Unreadable { file: name.clone(), cause })?;
        Self::parse(&name, text, changes)
    }

    /// Reads the scenario in `text`, which came from `file`: errors begin with that, and files
    /// that the scenario names are looked for beside it, and then in the current directory.
    ///
    /// # Errors
    /// When it is no scenario, at any point of its sweeps.
    pub fn parse(file: &str, text: impl Into<String>, changes: Changes) -> Result<Self, TrialError> {
        let (text, paths) = (text.into(), Paths::of(Path::new(file)));
        let mut document = Document::parse(file, &text)?;
        if let Some(seed) = changes.seed {
            document = document.with_seed(seed)?;
        }
        let named = RefCell::new(Vec::new());
        let scenario = document.scenario(&|file| {
            named.borrow_mut().extend(paths.find(Path::new(file)));
            paths.read(file)
        })?;
        let (network_files, points) = (named.into_inner(), document.points(&scenario.sweeps)?);
        let file = file.to_owned();
        let mut plan = Self { file, text, paths, network_files, scenario, points, document, changes };
        for point in 0..plan.points.len() {
            if plan.scenario_at(point, 0)?.placements.is_empty() {
                return Err(TrialError::NoPlacements { file: plan.file });
            }
        }
        plan.scenario = plan.scenario_at(0, 0)?;
        Ok(plan)
    }

    /// The scenario's file, as it was spelled.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The text of that file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The files that it reads: the scenario's, recordings, and what networks name.
    pub(crate) fn inputs(&self) -> Vec<PathBuf> {
        let recording = |sensor: &Sensor| match &sensor.source {
            Source::Recorded { file, .. } => self.paths.find(file),
            Source::Bearing { .. } => None,
        };
        let recordings = self.scenario.sensors.iter().filter_map(recording);
        recordings.chain(self.network_files.iter().cloned()).chain([PathBuf::from(&self.file)]).collect()
    }

    /// The scenario, at the first point of its sweeps.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// What each point of the sweeps sets: keys with their values. One point that sets
    /// nothing without sweeps.
    pub fn points(&self) -> &[Vec<(String, f64)>] {
        &self.points
    }

    /// The scenario at a point of the sweeps and of a repeat, which has a seed of its own.
    ///
    /// # Errors
    /// When the point's numbers make no scenario.
    pub fn scenario_at(&self, point: usize, repeat: u32) -> Result<Scenario, TrialError> {
        let read = |file: &str| self.paths.read(file);
        let settings = &self.points[point];
        let document = self.document.with(settings)?;
        let mut scenario = document.scenario(&read).map_err(|fault| match settings.is_empty() {
            true => fault.into(),
            false => TrialError::AtPoint { fault: Box::new(fault), point: in_words(settings) },
        })?;
        if repeat > 0 {
            let seed = scenario.seed.wrapping_add(repeat.into());
            scenario = document.with_seed(seed)?.scenario(&read)?;
        }
        scenario.repeats = self.changes.repeats.unwrap_or(scenario.repeats);
        scenario.deadline = self.changes.deadline.or(scenario.deadline);
        if let Some(devices) = self.changes.devices {
            scenario.sensors = with_devices(&scenario.sensors, devices);
        }
        Ok(scenario)
    }

    /// What of the scenario does not mean what one may think, in sentences.
    pub fn remarks(&self) -> Vec<String> {
        let of_file = self.scenario.remarks.iter().map(|remark| {
            format!("{}, line {}: {}: {}", self.file, remark.line, remark.subject, remark.remark)
        });
        of_file
            .chain(self.scenario.placements.iter().flat_map(|placement| self.remarks_on(placement)))
            .collect()
    }

    fn remarks_on(&self, placement: &Placement) -> Vec<String> {
        let cloud = placement.hybrid.as_ref().and_then(|hybrid| hybrid.model.as_ref());
        let cloud = cloud.filter(|model| **model != placement.model);
        let models = [Some(&placement.model), cloud].into_iter().flatten();
        let notes = models.filter_map(|model| self.paths.model(model).ok()?.note);
        let all = notes.chain(hybrids::remarks(placement, self.scenario.deadline));
        all.map(|remark| format!("placement {}: {remark}", placement.name)).collect()
    }

    /// The scenario for a short while, with at most `devices_max`, at its own pace or, where
    /// there is one, at `another_pace` in requests a second.
    pub(crate) fn shortened(
        &self,
        duration: Duration,
        devices_max: u32,
        another_pace: Option<f64>,
    ) -> Scenario {
        let mut scenario = self.scenario.clone();
        let devices = scenario.sensors.iter().map(|sensor| sensor.count).sum::<u32>();
        scenario.sensors = with_devices(&scenario.sensors, devices.min(devices_max));
        if let Some(requests_per_s) = another_pace {
            let arrivals = scenario.load.map(|load| load.arrivals).unwrap_or_default();
            scenario.load = Some(Load { requests_per_s, arrivals });
        }
        Scenario { duration, warm_up: Duration::ZERO, ..scenario }
    }

    /// How many times the clock runs.
    pub fn runs(&self) -> usize {
        self.points.len() * self.scenario.repeats as usize
    }
}

/// A point of the sweeps in words.
pub fn in_words(point: &[(String, f64)]) -> String {
    let setting = |(key, value): &(String, f64)| format!("{key} = {value}");
    point.iter().map(setting).collect::<Vec<_>>().join(", ")
}
