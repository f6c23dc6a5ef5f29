//! What takes time on a simulated clock that is not simulated, forward passes and the
//! way through client and broker: as the user says, or as it is measured at the start.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::error::{PlacementFault, TrialError};
use super::given::{Given, names};
use super::models::Placed;
use super::virtual_time::Path;
use crate::lab::CostModel;
use crate::lab::experiment::Inputs;
use crate::lab::observation::{BySite, Cost};
use crate::lab::scenario::{HybridPlacement, Placement};
use crate::model::Detector;

/// What is simulated by what is said or was measured, by placement.
#[derive(Debug, Clone)]
pub struct Costs {
    /// What forward passes take, by placement and site.
    pub passes: Vec<BySite<Cost>>,
    /// The way through client and broker.
    pub paths: Vec<BySite<Path>>,
}

impl Costs {
    /// Passes whose basis says what the way does, because figures are of both.
    pub fn new(mut passes: Vec<BySite<Cost>>, paths: Vec<BySite<Path>>) -> Self {
        for (cost, path) in passes.iter_mut().zip(&paths) {
            add_to_basis(&mut cost.edge, &path.edge);
            if let (Some(cost), Some(path)) = (&mut cost.cloud, &path.cloud) {
                add_to_basis(cost, path);
            }
        }
        Self { passes, paths }
    }
}

fn add_to_basis(cost: &mut Cost, path: &Path) {
    if path.quantiles().is_empty() {
        return;
    }
    let ms = |share: f64| path.at(share).as_secs_f64() * 1e3;
    let (median, p99) = (ms(0.5), ms(0.99));
    write!(
        cost.basis,
        "; the way through client and broker takes {median:.3} ms (median), {p99:.3} ms (99th percentile)"
    )
    .expect("memory takes everything");
}

/// How many rows are measured in one pass.
const ROWS: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Passes that are measured of each, of which the middle one counts: now and then
/// the system takes the processor away.
const PASSES: usize = 25;
/// Passes before them, so that the model is warm.
const WARM_UP_PASSES: usize = 5;

/// What every site's forward passes take. A cloud of which nothing is said, and that
/// has the edge's model, is like the edge.
///
/// # Errors
/// When something is said of a site that is not there, or a model cannot be called.
pub fn passes(
    given: &Given,
    placements: &[Placement],
    placed: &mut [Placed],
    inputs: &Inputs,
) -> Result<Vec<BySite<Cost>>, TrialError> {
    let mut costs = Vec::with_capacity(placements.len());
    for ((placement, said), placed) in placements.iter().zip(given.costs_of(placements)?).zip(placed) {
        let cost = |said: Option<CostModel>, detector: &mut Detector| match said {
            Some(model) => Ok(Cost { model, basis: "given with --cost".to_owned() }),
            None => fitted(detector, inputs)
                .map_err(|fault| TrialError::Placement { placement: placement.name.clone(), fault }),
        };
        let edge = cost(said.edge, &mut placed.detector)?;
        let is_same = |hybrid: &HybridPlacement| hybrid.model_beside(placement) == placement.model;
        let cloud = match (said.cloud, &mut placed.cloud) {
            (Some(None), _) if placement.hybrid.as_ref().is_some_and(is_same) => Some(edge.clone()),
            (Some(said), Some(detector)) => Some(cost(said, detector)?),
            _ => None,
        };
        costs.push(BySite { edge, cloud });
    }
    Ok(costs)
}

fn fitted(detector: &mut Detector, inputs: &Inputs) -> Result<Cost, PlacementFault> {
    let mut scores = Vec::new();
    let mut measured = Vec::with_capacity(ROWS.len());
    for rows in ROWS {
        let batch: Vec<f32> =
            (0..rows).flat_map(|row| inputs.features(row % inputs.len()).iter().copied()).collect();
        let mut times = Vec::with_capacity(PASSES);
        for pass in 0..WARM_UP_PASSES + PASSES {
            let began = Instant::now();
            detector.predict_batch(&batch, &mut scores)?;
            if pass >= WARM_UP_PASSES {
                times.push(began.elapsed());
            }
        }
        // The median, which the few passes that the system has interrupted do not move.
        times.sort_unstable();
        measured.push((rows, times[PASSES / 2]));
    }
    let model = CostModel::fit(&measured).ok_or(PlacementFault::NoTime)?;
    let basis = format!("fitted to {} passes of 1 to 128 rows on this machine", ROWS.len() * PASSES);
    Ok(Cost { model, basis })
}

/// What it costs, said beside what was measured or given.
pub fn sentences(placements: &[Placement], costs: &Costs) -> Vec<String> {
    let us = |time: Duration| time.as_nanos() as f64 / 1e3;
    let sentence = |(name, cost): (String, Cost)| {
        let (batch, row) = (us(cost.model.per_batch), us(cost.model.per_row));
        format!("{name}: a forward pass takes {batch} us and {row} us a row, {}", cost.basis)
    };
    placements.iter().flat_map(names).zip(costs.passes.iter().cloned().flatten()).map(sentence).collect()
}

/// The flags of `nearfar compare` that give the same again, one a line.
pub fn as_flags(placements: &[Placement], costs: &Costs) -> String {
    let mut text = String::new();
    let us = |time: &Duration| (time.as_nanos() as f64 / 1e3).to_string();
    let named = || placements.iter().flat_map(names);
    for (name, cost) in named().zip(costs.passes.iter().cloned().flatten()) {
        let (batch, row) = (us(&cost.model.per_batch), us(&cost.model.per_row));
        writeln!(text, "--cost {name}={batch},{row}").expect("memory takes everything");
    }
    for (name, path) in named().zip(costs.paths.iter().cloned().flatten()) {
        let quantiles: Vec<_> = path.quantiles().iter().map(us).collect();
        if !quantiles.is_empty() {
            writeln!(text, "--path {name}={}", quantiles.join(",")).expect("memory takes everything");
        }
    }
    text
}
