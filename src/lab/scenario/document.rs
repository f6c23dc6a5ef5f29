//! A scenario file: its tree, the scenario it describes, and the same with other numbers in it.

use super::{Remark, Scenario, Sweep, own, replaced};
use crate::settings::old::{Fields, Setting, SettingError, Value};
use crate::settings::yaml;

/// The most points of a sweep, all combinations counted.
pub const SWEEP_POINTS_MAX: usize = 1_000;

/// A scenario file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {error}")]
pub struct ScenarioError {
    /// The file.
    pub file: String,
    /// Line, key, what was found, what was expected.
    pub error: SettingError,
}

/// A scenario file, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    file: String,
    tree: Setting,
}

impl Document {
    /// Reads `text`, which `file` names in errors.
    ///
    /// # Errors
    /// [`ScenarioError`] with the line of what is no YAML.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let file = file.to_owned();
        match yaml::parse(text) {
            Ok(tree) => Ok(Self { file, tree }),
            Err(error) => Err(ScenarioError { file, error }),
        }
    }

    /// The scenario that it describes. `read` gives the text of a file that it names.
    ///
    /// # Errors
    /// [`ScenarioError`] naming line and key.
    pub fn scenario(
        &self,
        read: &dyn Fn(&str) -> Result<Option<String>, String>,
    ) -> Result<Scenario, ScenarioError> {
        let failed = |error| ScenarioError { file: self.file.clone(), error };
        let scenario = scenario(&self.tree, read).map_err(failed)?;
        for sweep in &scenario.sweeps {
            // A number that is not there cannot be varied.
            self.with(&[(sweep.key.clone(), 0.0)])?;
        }
        Ok(scenario)
    }

    /// The same with other numbers at some keys. Items of a list are found by their `id`
    /// or `name`, or by their number from 0.
    ///
    /// # Errors
    /// [`ScenarioError`] when there is no number at a key.
    pub fn with(&self, numbers: &[(String, f64)]) -> Result<Self, ScenarioError> {
        let mut changed = self.clone();
        for (key, number) in numbers {
            let Some(setting) = find(&mut changed.tree, key) else {
                let problem = "found no number there, expected the key of one, such as simulation.seed";
                let error = SettingError { line: 0, key: key.clone(), problem: problem.to_owned() };
                return Err(ScenarioError { file: self.file.clone(), error });
            };
            let is_whole = number.fract() == 0.0 && number.abs() < WHOLE_MAX;
            setting.value = if is_whole { Value::Whole(*number as i128) } else { Value::Number(*number) };
        }
        Ok(changed)
    }

    /// The same with another seed.
    ///
    /// # Errors
    /// [`ScenarioError`] when there is none to change.
    pub fn with_seed(&self, seed: u64) -> Result<Self, ScenarioError> {
        // Larger ones are no floats.
        let mut changed = self.with(&[("simulation.seed".to_owned(), 0.0)])?;
        if let Some(setting) = find(&mut changed.tree, "simulation.seed") {
            setting.value = Value::Whole(seed.into());
        }
        Ok(changed)
    }

    /// Every combination of what `sweeps` vary, the last of them varying fastest; one
    /// empty point without any.
    ///
    /// # Errors
    /// [`ScenarioError`] when there are more than [`SWEEP_POINTS_MAX`].
    pub fn points(&self, sweeps: &[Sweep]) -> Result<Vec<Vec<(String, f64)>>, ScenarioError> {
        let count = sweeps.iter().fold(1_usize, |count, sweep| count.saturating_mul(sweep.values.len()));
        if count > SWEEP_POINTS_MAX {
            let problem = format!("found {count} points, expected at most {SWEEP_POINTS_MAX}");
            let error = SettingError { line: 0, key: "sweep".to_owned(), problem };
            return Err(ScenarioError { file: self.file.clone(), error });
        }
        let mut points = vec![Vec::new()];
        for sweep in sweeps {
            let extend = |point: &Vec<(String, f64)>| {
                let point = point.clone();
                sweep
                    .values
                    .iter()
                    .map(move |value| [point.as_slice(), &[(sweep.key.clone(), *value)]].concat())
            };
            points = points.iter().flat_map(extend).collect();
        }
        Ok(points)
    }
}

/// Beyond it not every whole number is a float.
const WHOLE_MAX: f64 = 9e15;

fn scenario(
    tree: &Setting,
    read: &dyn Fn(&str) -> Result<Option<String>, String>,
) -> Result<Scenario, SettingError> {
    let mut file = Fields::of(tree, "")?;
    let simulation = file.table("simulation")?;
    let mut remarks = Vec::new();
    let mut scenario = own::simulation(file.required("simulation", simulation)?, &mut remarks)?;
    replaced::read(&mut file, &mut scenario, &mut remarks)?;
    own::read(&mut file, &mut scenario, read)?;
    file.finish()?;
    if scenario.sensors.is_empty() {
        remark(&mut remarks, tree.line, "sensors", "there is none that can be simulated or replayed");
    }
    remarks.sort_by_key(|remark| remark.line);
    Ok(Scenario { remarks, ..scenario })
}

pub(super) fn remark(remarks: &mut Vec<Remark>, line: usize, subject: &str, remark: impl Into<String>) {
    remarks.push(Remark { line, subject: subject.to_owned(), remark: remark.into() });
}

/// The number at a dotted key.
fn find<'a>(tree: &'a mut Setting, key: &str) -> Option<&'a mut Setting> {
    let found = key.split('.').try_fold(tree, |setting, level| match &mut setting.value {
        Value::Table(entries) => {
            entries.iter_mut().find(|(name, _)| name == level).map(|(_, setting)| setting)
        }
        Value::List(items) => {
            let index =
                items.iter().position(|item| is_called(item, level)).or_else(|| level.parse().ok())?;
            items.get_mut(index)
        }
        _ => None,
    })?;
    matches!(found.value, Value::Whole(_) | Value::Number(_)).then_some(found)
}

fn is_called(item: &Setting, wanted: &str) -> bool {
    let Value::Table(entries) = &item.value else { return false };
    entries.iter().any(|(name, setting)| {
        (name == "id" || name == "name") && matches!(&setting.value, Value::Text(text) if text == wanted)
    })
}
