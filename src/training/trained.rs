//! From a fleet to a model: the way through all steps.

use super::calibrating;
use super::choosing::{self, Tried};
use super::network;
use super::networked;
use super::normalise::{Fit, Normalisation};
use super::plan::{Choice, Plan};
use super::rows::Rows;
use crate::detection::{
    self, Baseline, DAY_S, DEVIATION_FLOOR, DetectorSettings, EpisodeRule, Kind, Network, Period, Seasonal,
    Settings, Span, T2, T2_ROWS, T2_WINDOW, WEEK_S, univariate,
};
use crate::model::{Config, Feature, Tensor};
use crate::sensors::recorded::{Fleet, Recorded};

/// The fewest sound rows that anything is learnt from.
pub const ROWS_MIN: usize = 100;
/// A device's warm-up where recordings are long.
const WARM_UP_DEFAULT: u64 = 200;
/// A device's warm-up is at most this part of the rows that the shortest of them has.
const WARM_UP_PART: u64 = 4;

/// How far training has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What is done.
    pub step: &'static str,
    /// How much of it is done.
    pub done: usize,
    /// Out of how much.
    pub of: usize,
}

/// A trained model, ready to be written with [`save`](crate::model::save).
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Its description, without the file of weights.
    pub config: Config,
    /// What belongs into that file.
    pub tensors: Vec<Tensor>,
    /// What was learnt from how much, in sentences.
    pub said: Vec<String>,
    /// What was tried to choose the detector, the best first; empty where it was said.
    pub tried: Vec<Tried>,
}

/// Why nothing was trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// There are too few rows of which nothing bad is known.
    #[error(
        "there are {rows} rows without an anomaly, expected at least {ROWS_MIN}; give more files, or longer ones"
    )]
    TooFew {
        /// How many there are.
        rows: usize,
    },
    /// No column changes.
    #[error("all {features} features are constant: there is nothing to learn from them")]
    AllConstant {
        /// How many there are.
        features: usize,
    },
    /// The data do not have what a detector needs.
    #[error("--detector {detector} needs {needs}")]
    Unsuited {
        /// The detector's name.
        detector: &'static str,
        /// What it needs, and what was found.
        needs: String,
    },
    /// The network could not be trained.
    #[error("the network: {0}")]
    Network(#[from] network::TrainingError),
    /// No detector could be chosen.
    #[error(
        "none of the detectors that were tried found any of the injected faults: say which one is wanted (--detector)"
    )]
    NoneSuits,
}

/// Trains what `plan` asks for on `fleet`.
///
/// # Errors
/// [`TrainingError`], which says what to do.
pub fn train(
    fleet: &Fleet,
    plan: &Plan,
    progress: &mut dyn FnMut(Progress),
) -> Result<Trained, TrainingError> {
    let features = fleet.features.len();
    let of_each = sound_rows(fleet);
    let sound = of_each.iter().sum();
    if sound < ROWS_MIN {
        return Err(TrainingError::TooFew { rows: sound });
    }
    let network = match plan.detectors.contains(&Choice::Network) {
        true => Some(networked::train(fleet, plan, progress)?),
        false => None,
    };
    let normalisation = match &network {
        // One that both stand behind.
        Some(network) => network.normalisation.clone(),
        None => normalisation(fleet, plan)?,
    };
    let mut said = fleet.remarks.clone();
    said.extend(sentences(fleet, sound, &normalisation));
    let mut rows = Rows::new(fleet, &normalisation);
    let (detectors, tried) = match plan.detectors.as_slice() {
        [] => choosing::choose(fleet, &rows, &normalisation, plan, progress)?,
        detectors => (detectors.to_vec(), Vec::new()),
    };
    let mut settings = described(&detectors, &rows, plan)?;
    settings.is_together = plan.is_together;
    settings.warm_up = plan.warm_up.unwrap_or_else(|| settings.warm_up.min(warm_up(&of_each)));
    let mut config = Config::new(plan.name.clone(), features);
    config.features = fleet.features.iter().map(|name| Feature { name: name.clone(), unit: None }).collect();
    config.normalisation = Some(normalisation.in_a_model());
    let mut tensors = Vec::new();
    if let Some(network) = network {
        for (device, unseen) in rows.devices.iter_mut().zip(networked::unseen(&network)) {
            device.network = unseen;
        }
        said.push(networked::sentence(&network));
        tensors = networked::describe(network, &mut config);
    }
    tensors.extend(calibrated(&settings, &rows, progress)?);
    config.set_detection(settings);
    Ok(Trained { config, tensors, said, tried })
}

/// The detection that `detectors` make.
pub fn described(detectors: &[Choice], rows: &Rows, plan: &Plan) -> Result<Settings, TrainingError> {
    if let [Choice::Univariate] = detectors {
        return match rows.features {
            1 => Ok(univariate(plan.false_alarms)),
            found => Err(TrainingError::Unsuited { detector: "univariate", needs: of_one_feature(found) }),
        };
    }
    let all = detectors.iter().map(|choice| settings_of(*choice, rows)).collect::<Result<_, _>>()?;
    let mut settings = Settings::new(all, plan.false_alarms);
    settings.fusion = plan.fusion;
    settle(&mut settings, rows.features, rows.count_sound());
    Ok(settings)
}

fn of_one_feature(found: usize) -> String {
    format!("rows of one feature, and these have {found}: name one (--features)")
}

/// Sets what follows from the detectors: one that judges windows has rows that count in crowds, and a score
/// which does not fall at once.
pub fn settle(settings: &mut Settings, features: usize, rows: usize) {
    let crowd = |one: &DetectorSettings| match one.kind {
        Kind::T2 { window, rows } => T2::new(features, window, rows).crowd(),
        _ => 1.0,
    };
    settings.crowd = settings.detectors.iter().map(crowd).fold(1.0, f64::max);
    if settings.crowd > 1.0 {
        settings.caution = CAUTION_OF_WINDOWS;
        settings.episode.hysteresis = HYSTERESIS_OF_WINDOWS;
    }
    if settings.detectors.iter().any(|one| matches!(one.kind, Kind::Network { .. })) {
        settle_with_network(settings, rows);
    }
}

/// What suits machines that wear and a network which was taught what failing is (models/README.md): a row is
/// believed as far as the data behind it reach, and an alarm is what lasts.
fn settle_with_network(settings: &mut Settings, rows: usize) {
    for one in &mut settings.detectors {
        match one.kind {
            Kind::Network { .. } => {
                one.is_shared = true;
                one.surprisal_max = (rows as f64).ln();
            }
            _ => one.surprisal_max = SURPRISAL_OF_ONE_DEVICE,
        }
    }
    settings.surprisal_max = SURPRISAL_OF_WEAR;
    (settings.below_max, settings.caution) = (0.0, 0.0);
    settings.episode = EpisodeRule { hysteresis: 0.5, clear_after: Span::Rows(30), ..EpisodeRule::new(3, 5) };
    settings.warm_up = WARM_UP_OF_WEAR;
}

/// What one device's own scores can know, beside a network: about the logarithm of how many independent ones
/// its warm-up has.
const SURPRISAL_OF_ONE_DEVICE: f64 = 4.0;
/// What the budget alone may ask for: so many devices that wore out could not know more.
const SURPRISAL_OF_WEAR: f64 = 5.0;
/// A machine may be one of few thousand rows: its warm-up is short.
const WARM_UP_OF_WEAR: u64 = 60;

/// How much higher the threshold is soon after an alarm, and how far a score must fall in one, where windows
/// are judged: measured on water loops, docs/detectors.md.
const CAUTION_OF_WINDOWS: f64 = 0.25;
const HYSTERESIS_OF_WINDOWS: f64 = 0.8;

/// Centre and spread of the rows of which nothing bad is known.
fn normalisation(fleet: &Fleet, plan: &Plan) -> Result<Normalisation, TrainingError> {
    let features = fleet.features.len();
    let is_sound = fleet.soundness();
    let sound = |device: &Recorded| -> Vec<f32> {
        let rows = device.features.chunks_exact(features).zip(&device.truth);
        rows.filter(|(_, truth)| is_sound(truth)).flat_map(|(row, _)| row.iter().copied()).collect()
    };
    let groups: Vec<Vec<f32>> = fleet.devices.iter().map(sound).collect();
    let fitted = Normalisation::fit(
        groups.iter().map(Vec::as_slice),
        features,
        None,
        Fit { log: plan.log, trims: true },
    );
    fitted.ok_or(TrainingError::AllConstant { features })
}

/// Of how many rows of each device nothing bad is known.
fn sound_rows(fleet: &Fleet) -> Vec<usize> {
    let is_sound = fleet.soundness();
    let count = |device: &Recorded| device.truth.iter().filter(|truth| is_sound(truth)).count();
    fleet.devices.iter().map(count).collect()
}

/// So many rows that the shortest recording has something left to say.
fn warm_up(sound: &[usize]) -> u64 {
    let shortest = sound.iter().min().copied().unwrap_or(0) as u64;
    WARM_UP_DEFAULT.min(shortest / WARM_UP_PART).max(1)
}

/// What the data are, for people.
fn sentences(fleet: &Fleet, sound: usize, normalisation: &Normalisation) -> Vec<String> {
    let devices = fleet.devices.len();
    let mut said = vec![format!(
        "{} rows of {devices} {}, {} features; what is normal is learnt from {sound} of them",
        fleet.rows(),
        if devices == 1 { "device" } else { "devices" },
        fleet.features.len(),
    )];
    let count = |of: Option<bool>| {
        fleet.devices.iter().flat_map(|device| &device.truth).filter(|truth| **truth == of).count()
    };
    let (anomalies, unlabelled) = (count(Some(true)), count(None));
    if anomalies > 0 {
        said.push(format!("{anomalies} rows are said to be anomalies"));
    }
    if unlabelled > 0 && sound < fleet.rows() - anomalies {
        said.push(format!("{unlabelled} rows have no label, and teach nothing"));
    }
    let names = fleet.features.iter().zip(&normalisation.constant);
    let constant: Vec<_> = names.filter(|(_, constant)| **constant).map(|(name, _)| name.as_str()).collect();
    if !constant.is_empty() {
        said.push(format!("constant, so that any change of it is unusual: {}", constant.join(", ")));
    }
    if normalisation.log_offset.is_some() {
        said.push("logarithms are taken, for the features are sizes that span octaves".to_owned());
    }
    said
}

/// How many samples a subsequence has where rows have no period, and how many samples are remembered.
const DISCORD_LENGTH: usize = 50;
const DISCORD_SAMPLES: usize = 1_000;
/// What a device may keep for a seasonal detector, in bytes.
const SEASONAL_BYTES: usize = 1_024;

/// What suits most data for a detector.
pub fn settings_of(choice: Choice, rows: &Rows) -> Result<DetectorSettings, TrainingError> {
    let unsuited = |needs: String| TrainingError::Unsuited { detector: choice.as_str(), needs };
    let kind = match choice {
        Choice::Baseline => {
            let Baseline { rate, smoothing, two_sided, .. } = Baseline::new(rows.features);
            Kind::Baseline { rate, smoothing, two_sided }
        }
        Choice::Seasonal => {
            let days = rows.days().ok_or_else(|| unsuited("times, and the rows have none".to_owned()))?;
            if days < 2.0 {
                return Err(unsuited(format!("at least two days of a device, and there are {days:.1}")));
            }
            let period = if days >= 21.0 { Period::Week } else { Period::Day };
            let period_s = if period == Period::Week { WEEK_S } else { DAY_S };
            let Seasonal { buckets, .. } = Seasonal::within(rows.features, period_s, SEASONAL_BYTES);
            Kind::Seasonal { period, buckets }
        }
        Choice::Discord if rows.features > 1 => return Err(unsuited(of_one_feature(rows.features))),
        Choice::Discord => {
            let length =
                rows.period().unwrap_or(DISCORD_LENGTH).clamp(DISCORD_LENGTH / 4, DISCORD_SAMPLES / 4);
            let deviation_floor = DEVIATION_FLOOR;
            Kind::Discord { feature: 0, length, samples: DISCORD_SAMPLES, deviation_floor }
        }
        Choice::Linear => Kind::Linear { order: 6, keeps: 0.999 },
        Choice::T2 => {
            // Where recordings are shorter, training itself learns from a part of them.
            let rows = T2_ROWS.min(rows.shortest() as u32).max(T2::WARM_UP_MIN);
            Kind::T2 { window: T2_WINDOW.min(rows), rows }
        }
        Choice::Univariate => {
            return Err(unsuited("to be alone: it is several detectors already".to_owned()));
        }
        Choice::Network => Kind::Network { rate: Network::default().rate },
    };
    Ok(DetectorSettings::new(kind))
}

/// The tensors of what each detector's scores are like.
fn calibrated(
    settings: &Settings,
    rows: &Rows,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Tensor>, TrainingError> {
    let mut tensors = Vec::new();
    for (at, one) in settings.detectors.iter().enumerate() {
        progress(Progress { step: "calibrating", done: at, of: settings.detectors.len() });
        let unsuited = |needs| TrainingError::Unsuited { detector: one.kind.as_str(), needs };
        let mut tell = |name: &str, values: Vec<f32>| {
            tensors.push(Tensor {
                name: format!("detection.{at}.{name}"),
                shape: vec![values.len()],
                values,
            });
        };
        if let Kind::T2 { window, rows: warm_up } = one.kind {
            // It knows how to leave out what is contaminated, and what devices have in common.
            let sound: Vec<Vec<f32>> =
                rows.devices.iter().map(|device| device.sound(rows.features)).collect();
            let sound: Vec<&[f32]> = sound.iter().map(Vec::as_slice).collect();
            let t2 = T2::new(rows.features, window, warm_up);
            if let Some((fitted, calibration)) = detection::fit_t2(&t2, &sound) {
                tell("wander", fitted.wander);
                tell("calibration", detection::numbers_of(&calibration));
            }
            continue;
        }
        if matches!(one.kind, Kind::Baseline { .. }) && one.window == 0 {
            // Its scores are measured by each device's own.
            continue;
        }
        let detector = one.detector(at, rows.features, &mut Default::default()).map_err(unsuited)?;
        let calibration =
            calibrating::calibrate(detector.as_ref(), &rows.sound(), rows.features, settings.warm_up);
        if let Some(calibration) = calibration {
            tell("calibration", detection::numbers_of(&calibration));
        }
    }
    Ok(tensors)
}
