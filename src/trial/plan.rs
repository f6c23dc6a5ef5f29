//! What the user asks for: the scenario, with what the flags say in its place.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::paths::Paths;
use crate::cli::compare::Args;
use crate::lab::experiment::with_devices;
use crate::lab::scenario::{Document, Load, Scenario};
use crate::text;

/// A scenario and its variations.
pub struct Asked {
    /// The scenario's file, as it was spelled, and its text.
    pub file: String,
    pub text: String,
    pub paths: Paths,
    /// The first point and repeat.
    pub scenario: Scenario,
    /// What each point of the sweeps sets.
    pub points: Vec<Vec<(String, f64)>>,
    document: Document,
    devices: Option<u32>,
    repeats: Option<u32>,
    deadline: Option<Duration>,
}

impl Asked {
    /// # Errors
    /// When the file cannot be read or is no scenario, at any point of its sweeps.
    pub fn read(args: &Args, file: &Path) -> anyhow::Result<Self> {
        let name = file.display().to_string();
        let text =
            text::read_file(file, text::TEXT_BYTES_MAX).with_context(|| format!("{name}: cannot be read"))?;
        let paths = Paths::of(file);
        let mut document = Document::parse(&name, &text)?;
        if let Some(seed) = args.seed {
            document = document.with_seed(seed)?;
        }
        let scenario = document.scenario(&|file| paths.read(file))?;
        let points = document.points(&scenario.sweeps)?;
        let (devices, repeats) = (args.running.devices, args.running.repeat);
        let deadline = args.deadline_ms.map(deadline).transpose()?;
        let mut asked =
            Self { file: name, text, paths, scenario, points, document, devices, repeats, deadline };
        for point in 0..asked.points.len() {
            let scenario = asked.scenario(point, 0)?;
            ensure!(
                !scenario.placements.is_empty(),
                "{}: there are no placements, expected at least one (placements, or ml_inference)",
                asked.file
            );
        }
        asked.scenario = asked.scenario(0, 0)?;
        Ok(asked)
    }

    /// The scenario at a point of the sweeps and of a repeat, which has a seed of its own.
    ///
    /// # Errors
    /// When the point's numbers make no scenario.
    pub fn scenario(&self, point: usize, repeat: u32) -> anyhow::Result<Scenario> {
        let read = |file: &str| self.paths.read(file);
        let document = self.document.with(&self.points[point])?;
        let at_point = |error| format!("{error} (at {})", settings(&self.points[point]));
        let mut scenario = document.scenario(&read).map_err(|error| match self.points[point].is_empty() {
            true => anyhow::Error::from(error),
            false => anyhow::anyhow!(at_point(error)),
        })?;
        if repeat > 0 {
            let seed = scenario.seed.wrapping_add(repeat.into());
            scenario = document.with_seed(seed)?.scenario(&read)?;
        }
        scenario.repeats = self.repeats.unwrap_or(scenario.repeats);
        scenario.deadline = self.deadline.or(scenario.deadline);
        if let Some(devices) = self.devices {
            scenario.sensors = with_devices(&scenario.sensors, devices);
        }
        Ok(scenario)
    }

    /// The same for a short while, with at most `devices_max`, at its own pace or, where
    /// there is one, at `another_pace` in requests a second.
    pub fn shortened(&self, duration: Duration, devices_max: u32, another_pace: Option<f64>) -> Scenario {
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

fn deadline(ms: f64) -> anyhow::Result<Duration> {
    ensure!(ms <= DEADLINE_MS_MAX, "--deadline-ms: found {ms}, expected at most {DEADLINE_MS_MAX}, an hour");
    Ok(Duration::from_secs_f64(ms / 1e3))
}

/// The longest deadline of an experiment, as in a scenario.
const DEADLINE_MS_MAX: f64 = 3.6e6;

/// A point in words.
pub fn settings(point: &[(String, f64)]) -> String {
    let setting = |(key, value): &(String, f64)| format!("{key} = {value}");
    point.iter().map(setting).collect::<Vec<_>>().join(", ")
}
