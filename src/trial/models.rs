//! The placements' models, and whether one input can go to all of them.

use std::path::Path;

use anyhow::{Context, ensure};

use super::paths::Paths;
use crate::features::{FEATURE_NAMES, FEATURES};
use crate::lab::scenario::{Placement, Scenario, Source};
use crate::model::Detector;
use crate::sensors::recorded::Columns;
use crate::shipped;

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
pub fn load(paths: &Paths, scenario: &Scenario) -> anyhow::Result<Vec<Placed>> {
    let placed = scenario.placements.iter().map(|placement| one(paths, placement));
    let placed = placed.collect::<anyhow::Result<Vec<_>>>()?;
    check(scenario, &placed)?;
    Ok(placed)
}

fn one(paths: &Paths, placement: &Placement) -> anyhow::Result<Placed> {
    let name = &placement.name;
    let detector = detector(paths, &placement.model, placement.threshold)
        .with_context(|| format!("placement {name:?}"))?;
    let Some(hybrid) = &placement.hybrid else { return Ok(Placed { detector, cloud: None }) };
    let (model, threshold) = (hybrid.model_beside(placement), hybrid.threshold_beside(placement));
    let cloud =
        self::detector(paths, model, threshold).with_context(|| format!("placement {name:?}: its cloud"))?;
    Ok(Placed { detector, cloud: Some(cloud) })
}

fn detector(paths: &Paths, model: &Path, threshold: Option<f64>) -> anyhow::Result<Detector> {
    let found = paths.model(model).map_err(anyhow::Error::msg)?;
    let detector = shipped::detector(found.path.as_deref())?;
    let Some(threshold) = threshold else { return Ok(detector) };
    let (info, model) = detector.into_parts();
    Ok(Detector::from_parts(info.with_threshold(threshold as f32), model))
}

/// Every input goes to every placement, and at a hybrid to either site.
fn check(scenario: &Scenario, placed: &[Placed]) -> anyhow::Result<()> {
    let Some(first) = placed.first().map(|placed| &placed.detector) else { return Ok(()) };
    let all = scenario.placements.iter().zip(placed).flat_map(|(placement, placed)| {
        let cloud = placed.cloud.as_ref().map(|cloud| (placement, "its cloud's model", cloud));
        [(placement, "its model", &placed.detector)].into_iter().chain(cloud)
    });
    for (placement, which, detector) in all {
        let (name, inputs, expected) = (&placement.name, detector.info().inputs, first.info().inputs);
        ensure!(
            inputs == expected,
            "placement {name:?}: {which} has {inputs} inputs and that of {:?} has {expected}, expected as many: every input goes \
             to every placement",
            scenario.placements[0].name
        );
        let is_simulated = scenario.sensors.iter().any(|one| matches!(one.source, Source::Bearing { .. }));
        ensure!(
            !is_simulated || inputs == FEATURES,
            "placement {name:?}: {which} has {inputs} inputs, expected {FEATURES}, which is what a simulated bearing has; record \
             your own inputs and replay them (sensors, file)"
        );
    }
    Ok(())
}

/// The columns of a recording that hold what `detector` takes, by their names.
pub fn columns(detector: &Detector, label: Option<&str>) -> anyhow::Result<Columns> {
    let info = detector.info();
    let named: Vec<_> = info.features.iter().map(|feature| feature.name.clone()).collect();
    let columns = match named.is_empty() {
        false => Columns::named(named),
        true if info.inputs == FEATURES => Columns::named(FEATURE_NAMES),
        true => anyhow::bail!(
            "model {:?} does not name its {} inputs, so that no columns of a recording can be found for them: name them in its \
             config.json",
            info.name,
            info.inputs
        ),
    };
    Ok(match label {
        Some(label) => columns.label(label),
        None => columns,
    })
}
