//! Experiments that were run: written down by hand, or simulated.

use std::sync::Arc;
use std::time::Duration;

use nearfar::lab::experiment::Fleet;
use nearfar::lab::observation::{BySite, Clock, Cost, End, Mark, Observation, Point, Run, Stages, Usage};
use nearfar::lab::scenario::{Document, Scenario};
use nearfar::trial::virtual_time::{self, CostModel, Experiment, WorkerModel, simulate};

pub fn ms(milliseconds: f64) -> Duration {
    Duration::from_secs_f64(milliseconds / 1e3)
}

pub fn scenario(text: &str) -> Scenario {
    Document::parse("test.yaml", text).unwrap().scenario(&|_| Ok(None)).unwrap()
}

/// A run without observations.
pub fn run(text: &str) -> Run {
    Run {
        scenario: scenario(text),
        source: "experiments/test.yaml".to_owned(),
        source_text: text.to_owned(),
        clock: Clock::Real,
        points: vec![Point::default()],
        devices: vec![Arc::from("press-1")],
        observations: Vec::new(),
        usages: Vec::new(),
        marks: Vec::new(),
        remarks: Vec::new(),
        began_us: 1_764_000_000_000_000,
        machine: "2 cores, x86_64 Linux".to_owned(),
        version: "0.1.0".to_owned(),
    }
}

/// An observation with a result, due ten milliseconds after the one before it.
pub fn answered(placement: u16, input: u32, total_ms: f64) -> Observation {
    Observation {
        point: 0,
        repeat: 0,
        placement,
        device: 0,
        input,
        due: ms(f64::from(input) * 10.0),
        sent_late: Duration::ZERO,
        total: Some(ms(total_ms)),
        end: End::Answered,
        stages: Stages::default(),
        prediction: Some(0.1),
        is_anomaly: Some(false),
        truth: None,
        request_bytes: 400,
        answer_bytes: 200,
        choice: None,
    }
}

/// The same without a result.
pub fn unanswered(placement: u16, input: u32, end: End) -> Observation {
    Observation {
        total: None,
        end,
        prediction: None,
        is_anomaly: None,
        answer_bytes: 0,
        ..answered(placement, input, 0.0)
    }
}

pub const TWO: &str = "simulation: {duration_s: 10, seed: 7}\nplacements:\n  - {name: edge, model: models/anomaly_detector}\n  \
                       - {name: cloud, model: models/anomaly_detector, network: cloud-region}\n\
                       sensors: [{id: press, count: 4, rate_hz: 5}]\n";

/// A run on a simulated clock, of every point and repeat of a scenario, with decisions that
/// depend on the input alone, the truth besides when `has_truth`, and outages as marks.
pub fn simulated(text: &str, has_truth: bool) -> Run {
    let document = Document::parse("test.yaml", text).unwrap();
    let whole = scenario(text);
    let points = document.points(&whole.sweeps).unwrap();
    let cost = CostModel { per_batch: Duration::from_micros(120), per_row: Duration::from_micros(15) };
    let devices: u32 = whole.sensors.iter().map(|sensor| sensor.count).sum();
    let mut run = Run {
        clock: Clock::Virtual(
            whole
                .placements
                .iter()
                .map(|_| {
                    let basis = "fitted to 200 passes of 1 to 128 rows on this machine".to_owned();
                    BySite { edge: Cost { model: cost, basis }, cloud: None }
                })
                .collect(),
        ),
        points: points.iter().map(|settings| Point { settings: settings.clone() }).collect(),
        devices: (1..=devices).map(|device| Arc::from(format!("press-{device}"))).collect(),
        began_us: 0,
        machine: String::new(),
        ..self::run(text)
    };
    for (point, settings) in points.iter().enumerate() {
        for repeat in 0..whole.repeats {
            let seed = ("simulation.seed".to_owned(), whole.seed as f64 + f64::from(repeat));
            let changed = document.with(&[settings.as_slice(), &[seed]].concat()).unwrap();
            let changed = changed.scenario(&|_| Ok(None)).unwrap();
            let fleet = Fleet::of(&changed, &vec![None; changed.sensors.len()]).unwrap();
            for (placement, place) in changed.placements.iter().enumerate() {
                let worker = WorkerModel { queue_requests_max: 1_000, ..WorkerModel::like_a_node(cost) };
                let experiment = Experiment::of(&changed, &fleet, place, worker);
                let mut of_this = Vec::new();
                simulate(&experiment, &|_, _| Some(0.1), &mut |record| {
                    if !record.is_copy {
                        of_this.push(observation((point, repeat, placement), record, has_truth));
                    }
                });
                of_this.sort_by_key(|observation| observation.input);
                run.observations.append(&mut of_this);
                run.usages.push(Usage {
                    point: point as u16,
                    repeat: repeat as u16,
                    placement: placement as u16,
                    cpu: Some(ms(90.0 + 4.0 * placement as f64)),
                });
            }
        }
    }
    run
}

fn observation(
    (point, repeat, placement): (usize, u32, usize),
    record: &virtual_time::Record,
    has_truth: bool,
) -> Observation {
    let end = match record.end {
        virtual_time::End::Answered => End::Answered,
        virtual_time::End::Overloaded => End::Refused("OVERLOADED"),
        virtual_time::End::Lost(_) if record.number.is_multiple_of(3) => End::Silent,
        virtual_time::End::Superseded => End::Refused("SUPERSEDED"),
        virtual_time::End::Expired => End::Refused("DEADLINE_EXCEEDED"),
        virtual_time::End::NonFinite => End::Refused("NON_FINITE"),
        virtual_time::End::Lost(_) => End::Refused("NETWORK_LOST"),
    };
    let has_result = end == End::Answered;
    // Something that looks like chance and is none.
    let noise = (record.number.wrapping_mul(2_654_435_761) % 1_000) as f32 / 1_000.0;
    let is_broken = record.sent_at > Duration::from_secs(5) && record.device.is_multiple_of(2);
    // Later placements have better models.
    let sharpness = 0.3 + 0.15 * placement as f32;
    let score = (noise * (1.0 - sharpness) + if is_broken { sharpness } else { 0.0 }).min(1.0);
    Observation {
        point: point as u16,
        repeat: repeat as u16,
        placement: placement as u16,
        device: record.device,
        input: record.number as u32,
        due: record.sent_at,
        sent_late: Duration::ZERO,
        total: (end != End::Silent).then(|| record.ended_at - record.sent_at),
        end,
        stages: Stages {
            network: record.uplink + record.downlink,
            queue: record.queue,
            inference: record.inference,
        },
        prediction: has_result.then_some(score),
        is_anomaly: has_result.then_some(score >= 0.5),
        truth: has_truth.then_some(is_broken),
        request_bytes: 400,
        answer_bytes: if has_result { 220 } else { 0 },
        choice: None,
    }
}

pub fn mark(placement: u16, from_s: f64, until_s: f64, what: &str) -> Mark {
    let (from, until) = (Duration::from_secs_f64(from_s), Duration::from_secs_f64(until_s));
    Mark { point: 0, repeat: 0, placement, from, until, what: what.to_owned() }
}
