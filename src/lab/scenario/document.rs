//! A scenario file: its tree, the scenario it describes, and the same with other numbers in it.

use super::{Remark, Scenario, Sweep, own, replaced};
use crate::network::settings::Read;
use crate::settings::{Entry, Origin, Setting, SettingError, Table, Value, yaml};

/// The most points of a sweep, all combinations counted.
pub const SWEEP_POINTS_MAX: usize = 1_000;

/// A scenario file, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    tree: Setting,
}

impl Document {
    /// Reads `text`, which `file` names in errors.
    ///
    /// # Errors
    /// [`SettingError`] with the line of what is no YAML.
    pub fn parse(file: &str, text: &str) -> Result<Self, SettingError> {
        Ok(Self { tree: yaml::parse(Some(file), text)? })
    }

    /// The scenario that it describes. `read` gives the text of a file that it names.
    ///
    /// # Errors
    /// [`SettingError`] for the first thing that is wrong.
    pub fn scenario(&self, read: Read<'_>) -> Result<Scenario, SettingError> {
        let scenario = scenario(&self.tree, read)?;
        let entries = self.tree.get("sweep").map(|sweeps| Entry::new("sweep", sweeps).items()).transpose()?;
        for (entry, sweep) in entries.into_iter().flatten().zip(&scenario.sweeps) {
            // A number that is not there cannot be varied.
            let of_the_sweep = |error| SettingError { origin: entry.setting().origin.clone(), ..error };
            self.with(&[(sweep.key.clone(), 0.0)]).map_err(of_the_sweep)?;
        }
        Ok(scenario)
    }

    /// This document with other numbers at some keys. Items of a list are found by their `id`
    /// or `name`, or by their number from 0.
    ///
    /// # Errors
    /// [`SettingError`] when there is no number at a key.
    pub fn with(&self, numbers: &[(String, f64)]) -> Result<Self, SettingError> {
        let mut changed = self.clone();
        for (key, number) in numbers {
            let Some(setting) = find(&mut changed.tree, key) else {
                let problem = "found no number there, expected the key of one, such as simulation.seed";
                return Err(SettingError::new(self.tree.origin.clone(), key.as_str(), problem));
            };
            let is_whole = number.fract() == 0.0 && number.abs() < WHOLE_MAX;
            setting.value = if is_whole { Value::Whole(*number as i128) } else { Value::Number(*number) };
        }
        Ok(changed)
    }

    /// This document with another seed.
    ///
    /// # Errors
    /// [`SettingError`] when there is none to change.
    pub fn with_seed(&self, seed: u64) -> Result<Self, SettingError> {
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
    /// [`SettingError`] when there are more than [`SWEEP_POINTS_MAX`].
    pub fn points(&self, sweeps: &[Sweep]) -> Result<Vec<Vec<(String, f64)>>, SettingError> {
        let count = sweeps.iter().fold(1_usize, |count, sweep| count.saturating_mul(sweep.values.len()));
        if count > SWEEP_POINTS_MAX {
            let problem = format!("found {count} points, expected at most {SWEEP_POINTS_MAX}");
            return Err(SettingError::new(self.tree.origin.clone(), "sweep", problem));
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

fn scenario(tree: &Setting, read: Read<'_>) -> Result<Scenario, SettingError> {
    if !matches!(tree.value, Value::Table(_) | Value::Nothing) {
        return Err(Entry::new("", tree).wrong(
            "a scenario, which begins with `simulation:`; measurements are compared with --csv, and a recording is the `file` of one \
             of a scenario's `sensors`",
        ));
    }
    let mut file = Table::of(tree, "")?;
    let simulation = file.find_table("simulation")?;
    let mut remarks = Vec::new();
    let mut scenario = own::simulation(file.required("simulation", simulation)?, &mut remarks)?;
    replaced::read(&mut file, &mut scenario, &mut remarks)?;
    own::read(&mut file, &mut scenario, read)?;
    file.finish()?;
    if scenario.sensors.is_empty() {
        let text = "there is none that can be simulated or replayed";
        remark(&mut remarks, &tree.origin, "sensors", text);
    }
    remarks.sort_by_key(|remark| remark.line);
    Ok(Scenario { remarks, ..scenario })
}

/// Adds what becomes of a part of the file.
pub fn remark(remarks: &mut Vec<Remark>, origin: &Origin, subject: &str, remark: impl Into<String>) {
    let line = origin.line().unwrap_or_default();
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
