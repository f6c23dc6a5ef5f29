//! The placements' models, and whether one input can go to all of them.

use anyhow::{Context, ensure};
use nearfar::Detector;
use nearfar::features::{FEATURE_NAMES, FEATURES};
use nearfar::lab::scenario::{Placement, Scenario, Source};
use nearfar::sensors::recorded::Columns;

use super::paths::Paths;
use crate::cli::shipped;

/// The model of every placement, with the placement's threshold.
pub fn load(paths: &Paths, scenario: &Scenario) -> anyhow::Result<Vec<Detector>> {
    let detectors = scenario.placements.iter().map(|placement| one(paths, placement));
    let detectors = detectors.collect::<anyhow::Result<Vec<_>>>()?;
    check(scenario, &detectors)?;
    Ok(detectors)
}

fn one(paths: &Paths, placement: &Placement) -> anyhow::Result<Detector> {
    let name = &placement.name;
    let found =
        paths.model(&placement.model).map_err(|problem| anyhow::anyhow!("placement {name:?}: {problem}"))?;
    let detector = shipped::detector(found.path.as_deref()).with_context(|| format!("placement {name:?}"))?;
    let Some(threshold) = placement.threshold else { return Ok(detector) };
    let (mut info, model) = detector.into_parts();
    info.threshold = threshold as f32;
    Ok(Detector::from_parts(info, model))
}

/// Every input goes to every placement.
fn check(scenario: &Scenario, detectors: &[Detector]) -> anyhow::Result<()> {
    let Some(first) = detectors.first() else { return Ok(()) };
    for (placement, detector) in scenario.placements.iter().zip(detectors) {
        let (name, inputs, expected) = (&placement.name, detector.info().inputs, first.info().inputs);
        ensure!(
            inputs == expected,
            "placement {name:?}: its model has {inputs} inputs and that of {:?} has {expected}, expected as many: every input goes \
             to every placement",
            scenario.placements[0].name
        );
        let is_simulated = scenario.sensors.iter().any(|one| matches!(one.source, Source::Bearing { .. }));
        ensure!(
            !is_simulated || inputs == FEATURES,
            "placement {name:?}: its model has {inputs} inputs, expected {FEATURES}, which is what a simulated bearing has; record \
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
