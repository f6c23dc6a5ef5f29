//! The placements' models, and whether one input can go to all of them.

use std::path::Path;

use super::error::{PlacementFault, SensorFault, TrialError};
use super::paths::Paths;
use crate::features::{FEATURE_NAMES, FEATURES};
use crate::lab::scenario::{Placement, Scenario, Source};
use crate::model::Detector;
use crate::sensors::recorded::{Columns, Input};
use crate::shipped;
use crate::suggestion;

/// What answers at one placement.
pub struct Placed {
    /// The model; a hybrid's at the edge.
    pub detector: Detector,
    /// The model of a hybrid's cloud.
    pub cloud: Option<Detector>,
}

/// The thresholds of one placement's models.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// That of the model; a hybrid's at the edge.
    pub model: f32,
    /// That of a hybrid's cloud.
    pub cloud: Option<f32>,
}

impl Placed {
    pub fn thresholds(&self) -> Thresholds {
        let cloud = self.cloud.as_ref().map(|cloud| cloud.info().threshold);
        Thresholds { model: self.detector.info().threshold, cloud }
    }
}

/// The models of every placement, with the placement's thresholds.
pub fn load(paths: &Paths, scenario: &Scenario) -> Result<Vec<Placed>, TrialError> {
    let at = |placement: &Placement| {
        let placement = placement.name.clone();
        |fault| TrialError::Placement { placement, fault }
    };
    let placed = scenario.placements.iter().map(|placement| one(paths, placement).map_err(at(placement)));
    let placed = placed.collect::<Result<Vec<_>, _>>()?;
    for (placement, one) in scenario.placements.iter().zip(&placed) {
        check(scenario, &placed[0].detector, one).map_err(at(placement))?;
    }
    Ok(placed)
}

fn one(paths: &Paths, placement: &Placement) -> Result<Placed, PlacementFault> {
    let detector = detector(paths, &placement.model, placement.threshold)?;
    let Some(hybrid) = &placement.hybrid else { return Ok(Placed { detector, cloud: None }) };
    let (model, threshold) = (hybrid.model_beside(placement), hybrid.threshold_beside(placement));
    let cloud =
        self::detector(paths, model, threshold).map_err(|fault| PlacementFault::Cloud(Box::new(fault)))?;
    Ok(Placed { detector, cloud: Some(cloud) })
}

fn detector(paths: &Paths, model: &Path, threshold: Option<f64>) -> Result<Detector, PlacementFault> {
    let found = paths.model(model)?;
    let detector = shipped::detector(found.path.as_deref())?;
    let Some(threshold) = threshold else { return Ok(detector) };
    let (mut info, model) = detector.into_parts();
    info.threshold = threshold as f32;
    Ok(Detector::from_parts(info, model))
}

/// Every input goes to every placement, and at a hybrid to either site.
fn check(scenario: &Scenario, first: &Detector, placement: &Placed) -> Result<(), PlacementFault> {
    let is_simulated = scenario.sensors.iter().any(|one| matches!(one.source, Source::Bearing { .. }));
    let cloud = placement.cloud.as_ref().map(|cloud| ("its cloud's model", cloud));
    for (which, detector) in [("its model", &placement.detector)].into_iter().chain(cloud) {
        let (inputs, expected) = (detector.info().inputs, first.info().inputs);
        if inputs != expected {
            let first = scenario.placements[0].name.clone();
            return Err(PlacementFault::Inputs { which, inputs, first, expected });
        }
        if is_simulated && inputs != FEATURES {
            return Err(PlacementFault::NotForBearings { which, inputs, expected: FEATURES });
        }
    }
    Ok(())
}

/// The columns of a recording that hold what `detector` takes, by their names, or by those that `others`
/// gives to inputs.
pub fn columns(
    detector: &Detector,
    label: Option<&str>,
    others: &[(String, String)],
) -> Result<Columns, SensorFault> {
    let info = detector.info();
    let mut inputs: Vec<_> = match info.features.is_empty() {
        false => info.features.iter().map(|it| Input::named(&it.name, it.unit.as_deref())).collect(),
        true if info.inputs == FEATURES => FEATURE_NAMES.map(|name| Input::named(name, None)).to_vec(),
        true => {
            return Err(SensorFault::UnnamedInputs { model: info.name.clone(), inputs: info.inputs });
        }
    };
    for (name, column) in others {
        let Some(input) = inputs.iter_mut().find(|input| input.name == *name) else {
            let meant = suggestion::meant(name, inputs.iter().map(|input| input.name.as_str()));
            let hint = meant.map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
            return Err(SensorFault::UnknownInput { model: info.name.clone(), input: name.clone(), hint });
        };
        input.column = Some(column.clone());
    }
    let columns = Columns::inputs(inputs);
    Ok(match label {
        Some(label) => columns.label(label),
        None => columns,
    })
}
