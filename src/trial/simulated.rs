//! A repeat on a simulated clock. Scores are the models' own, of the same inputs.

use std::io;
use std::time::Duration;

use super::choices::Choices;
use super::cost::Costs;
use super::hybrids;
use super::models::Placed;
use super::repeat::{Measured, Outcome, Repeat};
use super::{MessageType, Results, TrialError};
use crate::inference::{Decision, ErrorCode, Site};
use crate::lab::experiment::{Due, Inputs};
use crate::lab::observation::{BySite, End, Observation, Stages, Usage};
use crate::model::{Detector, ModelError};
use crate::network::Lost;
use crate::trial::virtual_time::{self, Experiment, Record, WorkerModel, simulate};
use crate::wire::client::RequestBody;

/// Runs `repeat`, whose clock is at `began` when it begins.
///
/// # Errors
/// When a model cannot be called, or results cannot be written.
pub fn run(
    repeat: &Repeat,
    mut placed: Vec<Placed>,
    costs: &Costs,
    began: Duration,
    results: &mut dyn Results,
) -> Result<Measured, TrialError> {
    let request_bytes = request_bytes(repeat);
    let mut observations = Vec::with_capacity(repeat.due.len() * placed.len());
    let mut choices = Choices::default();
    for (placement, placed) in placed.iter_mut().enumerate() {
        let scores = scores_of(placed, &repeat.inputs)?;
        let score = |site: Site, due: &Due| {
            scores.of(site).and_then(|scores| scores[repeat.inputs.index(due.device, due.row)])
        };
        let experiment = Experiment { request_bytes, ..experiment(repeat, placement, costs) };
        let mut first: Vec<Option<Record>> = vec![None; repeat.due.len()];
        simulate(&experiment, &score, &mut |record| note(&mut first, record));
        for (input, record) in first.iter().enumerate() {
            let made = record.as_ref().and_then(|record| record.made);
            let score = score(made.map_or(Site::Edge, |made| made.site), &repeat.due[input]);
            let outcome = outcome(record.as_ref(), score, &experiment, &mut choices);
            observations.push(repeat.observation(placement, input, outcome));
        }
    }
    let began_us = began.as_micros() as i64;
    write(repeat, &observations, began_us, results)?;
    let usage = |placement: u16| Usage { point: repeat.point, repeat: repeat.number, placement, cpu: None };
    let usages = (0..placed.len() as u16).map(usage).collect();
    Ok(Measured { observations, usages, marks: repeat.outages(Duration::ZERO), began_us })
}

/// What is simulated of one placement.
fn experiment(repeat: &Repeat, placement: usize, costs: &Costs) -> Experiment {
    let (scenario, of) = (&repeat.scenario, &repeat.scenario.placements[placement]);
    let (cost, path) = (&costs.passes[placement], &costs.paths[placement]);
    let worker = WorkerModel::like_a_node(cost.edge.model);
    let edge = Experiment::of(scenario, &repeat.fleet, of, worker);
    let edge = Experiment { path: path.edge.clone(), ..edge };
    match (&of.hybrid, &cost.cloud, &path.cloud) {
        (Some(hybrid), Some(cost), Some(path)) => {
            let (thresholds, costs) = (repeat.thresholds[placement], (cost.model, path.clone()));
            edge.with_cloud(hybrids::simulated(hybrid, thresholds, costs, scenario))
        }
        _ => edge,
    }
}

/// Keeps what the requester hears first: the network may make copies.
fn note(first: &mut [Option<Record>], record: &Record) {
    if record.end == virtual_time::End::Lost(Lost::Silence) {
        return;
    }
    let Some(slot) = first.get_mut(record.number as usize) else { return };
    if slot.is_none_or(|known| record.ended_at < known.ended_at) {
        *slot = Some(*record);
    }
}

fn outcome(
    record: Option<&Record>,
    score: Option<f32>,
    experiment: &Experiment,
    choices: &mut Choices,
) -> Outcome {
    let silent = Outcome {
        sent_late: Duration::ZERO,
        total: None,
        end: End::Silent,
        stages: Stages::default(),
        prediction: None,
        request_bytes: experiment.request_bytes as u32,
        answer_bytes: 0,
        choice: None,
    };
    let Some(record) = record else { return silent };
    let heard = Outcome {
        total: Some(record.ended_at - record.sent_at),
        answer_bytes: experiment.answer_bytes as u32,
        ..silent
    };
    let refused = |code: ErrorCode| End::Refused(code.as_str());
    match record.end {
        virtual_time::End::Answered => {
            let (network, queue) = (record.uplink + record.downlink, record.queue);
            let stages = Stages { network, queue, inference: record.inference };
            let words = |made: Decision| (made.site.as_str(), made.reason.as_str());
            let choice = record.made.map(words).and_then(|(made_by, reason)| choices.of(made_by, reason));
            Outcome { end: End::Answered, stages, prediction: score, choice, ..heard }
        }
        virtual_time::End::Overloaded => Outcome { end: refused(ErrorCode::Overloaded), ..heard },
        virtual_time::End::Superseded => Outcome { end: refused(ErrorCode::Superseded), ..heard },
        virtual_time::End::Expired => Outcome { end: refused(ErrorCode::DeadlineExceeded), ..heard },
        virtual_time::End::NonFinite => Outcome { end: refused(ErrorCode::NonFinite), ..heard },
        virtual_time::End::Lost(_) => Outcome { end: refused(ErrorCode::NetworkLost), ..heard },
    }
}

/// How many rows a model is given at once.
const ROWS: usize = 128;

/// The scores of every input at each site.
fn scores_of(placed: &mut Placed, inputs: &Inputs) -> Result<BySite<Vec<Option<f32>>>, ModelError> {
    let cloud = placed.cloud.as_mut().map(|cloud| scores(cloud, inputs)).transpose()?;
    Ok(BySite { edge: scores(&mut placed.detector, inputs)?, cloud })
}

/// The score of every input; none where the model's answer is no number.
fn scores(detector: &mut Detector, inputs: &Inputs) -> Result<Vec<Option<f32>>, ModelError> {
    let mut all = Vec::with_capacity(inputs.len());
    let mut scores = Vec::with_capacity(ROWS);
    let indices: Vec<_> = (0..inputs.len()).collect();
    for batch in indices.chunks(ROWS) {
        let rows: Vec<f32> = batch.iter().flat_map(|index| inputs.features(*index)).copied().collect();
        detector.score_batch(&rows, &mut scores)?;
        all.extend(scores.iter().map(|score| score.is_finite().then_some(*score)));
    }
    Ok(all)
}

/// Topic and payload of the first request, for all of them.
fn request_bytes(repeat: &Repeat) -> usize {
    let Some(due) = repeat.due.first() else { return 0 };
    let request = RequestBody {
        device_id: &repeat.fleet.devices[due.device as usize],
        timestamp_us: Some(TIMESTAMP_US),
        request_id: Some("1000"),
        features: repeat.inputs.features(repeat.inputs.index(due.device, due.row)),
        ..RequestBody::default()
    };
    "p0/ml/inference/request".len() + request.to_json().len()
}

/// One with as many digits as those of today.
const TIMESTAMP_US: i64 = 1_700_000_000_000_000;

fn write(
    repeat: &Repeat,
    observations: &[Observation],
    began_us: i64,
    results: &mut dyn Results,
) -> io::Result<()> {
    for seen in observations {
        let due = repeat.due[seen.input as usize];
        let us = |at: Duration| began_us + at.as_micros() as i64;
        let features = repeat.inputs.features(repeat.inputs.index(due.device, due.row)).len();
        results.message(us(due.at), MessageType::Request, seen.request_bytes as usize, features)?;
        let Some(total) = seen.total else { continue };
        let is_result = seen.end == End::Answered;
        let kind = if is_result { MessageType::Result } else { MessageType::Error };
        results.message(us(due.at + total), kind, seen.answer_bytes as usize, 0)?;
        if is_result && due.at >= repeat.scenario.warm_up {
            let device = &repeat.fleet.devices[due.device as usize];
            let name = &repeat.scenario.placements[seen.placement as usize].name;
            results.answer(us(due.at), device, name, &seen.stages, total)?;
        }
    }
    Ok(())
}
