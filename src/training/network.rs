//! Trains a small neural network: a classifier where rows are labelled healthy or failing, an autoencoder
//! where they are not.
//!
//! Rows come in groups, one a device or file, and three things are decided by groups that a network has not
//! seen: after how many epochs to stop, the threshold, and what is said of its quality. For this the groups
//! are dealt into folds (M. Stone, "Cross-validatory choice and assessment of statistical predictions",
//! Journal of the Royal Statistical Society B 36, 1974), one network is trained without each, and the one
//! that is kept is trained on all, for as many epochs as served the others best. With a single group, its
//! rows are cut into pieces of time in the place of groups.
//!
//! Every group weighs the same, however many rows it has, and so do its healthy and its failing rows: a step
//! draws as many of each. The optimiser is AdamW (I. Loshchilov and F. Hutter, "Decoupled weight decay
//! regularization", 2019) with one cycle of the learning rate (L. N. Smith, "Super-convergence", 2018).
//! The same seed, rows and machine give the same bytes.

mod average;
mod draw;
mod error;
mod fit;
mod folds;
mod held_back;
mod layers;
mod settings;

use self::fit::{Fit, Piece};
use self::folds::Folds;
use super::normalise::{self, Normalisation};

pub use self::error::TrainingError;
pub use self::held_back::{HeldBack, HeldBackGroup};
pub use self::layers::{Layer, Weight};
pub use self::settings::{Convolution, Order, Settings};

/// Between the seeds of networks that are averaged: those of other trainings are not among them.
const SEEDS_APART: u64 = 0x9e37_79b9_7f4a_7c15;

/// What somebody knows of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// All was well.
    Healthy,
    /// It was failing.
    Failing,
    /// Neither is known: the row is scored, and not learnt from.
    Unknown,
}

/// The rows of one device or file, in the order of time.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// Row-major `(rows, inputs)`, in the features' own units.
    pub rows: &'a [f32],
    /// One for each row; empty where nothing is labelled, and all rows are taken to be healthy.
    pub labels: &'a [Label],
}

/// What was trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Gives the logit of the probability that a row is failing.
    Classifier,
    /// Gives its normalised input once more; how badly is the score.
    Autoencoder,
}

/// A trained network, and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// What its output means.
    pub kind: Kind,
    /// First layer first.
    pub layers: Vec<Layer>,
    /// Each tensor under its name in PyTorch's `nn.Sequential` of these layers, such as `0.weight`.
    pub weights: Vec<Weight>,
    /// What happens to a row before the first layer.
    pub normalisation: Normalisation,
    /// A row at or above it is an anomaly: a logit, or a mean squared error.
    pub threshold: f32,
    /// How far a score must grow for the odds of an anomaly to grow by a factor of e: 1 for logits.
    pub scale: f32,
    /// The mean loss of each epoch of what is kept, the first one first.
    pub losses: Vec<f32>,
    /// What networks say of groups that they have not seen: single ones, where several are averaged.
    pub held_back: HeldBack,
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Epochs that are done, over all networks that are trained.
    pub epoch: usize,
    /// Of so many at the most.
    pub of: usize,
    /// The mean loss of this one.
    pub loss: f32,
}

/// Trains a network on `groups`, whose rows have `inputs` features.
///
/// It is a classifier if any row is labelled. `progress` hears of each epoch.
///
/// # Errors
/// Where the data or the settings are not enough to train from, with what to do about it; or where the loss
/// is no number.
pub fn train(
    groups: &[Group<'_>],
    inputs: usize,
    settings: &Settings,
    progress: &mut dyn FnMut(Progress),
) -> Result<Trained, TrainingError> {
    settings.check(inputs)?;
    let kind = kind_of(groups, inputs)?;
    let normalisation = Normalisation::fit(
        groups.iter().map(|group| group.rows),
        inputs,
        Some(settings.clip),
        normalise::Fit { log: settings.log, trims: kind == Kind::Autoencoder },
    )
    .ok_or(TrainingError::Constant)?;
    let rows: Vec<Vec<f32>> = groups.iter().map(|group| normalisation.apply(group.rows)).collect();
    let folds = Folds::deal(groups, &rows, inputs, settings)?;
    let layers = layers::chain(kind, inputs, settings);
    let fit = Fit { kind, inputs, layers: &layers, settings };
    let of = (folds.len() + settings.averaged) * settings.epochs_max;
    let mut epoch = 0;
    let mut each = |loss| {
        epoch += 1;
        progress(Progress { epoch, of, loss });
    };
    let mut networks = Vec::with_capacity(folds.len());
    for fold in 0..folds.len() {
        networks.push(fit.run(&folds.others(fold), settings.epochs_max, &mut each)?);
    }
    let (held_back, epochs) = HeldBack::judge(&fit, groups, &rows, &folds, &networks)?;
    let all: Vec<Piece<'_>> = folds.all();
    let (mut kept, mut losses) = (Vec::with_capacity(settings.averaged), Vec::new());
    for network in 0..settings.averaged {
        let settings = Settings {
            seed: settings.seed.wrapping_add((network as u64).wrapping_mul(SEEDS_APART)),
            ..settings.clone()
        };
        let mut course = Fit { settings: &settings, ..fit }.run(&all, epochs, &mut each)?;
        kept.push(course.epochs.pop().expect("there is at least one epoch"));
        losses.push(course.losses);
    }
    let mean = |at: usize| losses.iter().map(|one| one[at]).sum::<f32>() / losses.len() as f32;
    let losses = (0..epochs).map(mean).collect();
    let (layers, weights) = average::average(&layers, &kept);
    let (threshold, scale) = held_back.threshold(kind);
    Ok(Trained { kind, layers, weights, normalisation, threshold, scale, losses, held_back })
}

/// What the labels allow, if they and the rows are sound.
fn kind_of(groups: &[Group<'_>], inputs: usize) -> Result<Kind, TrainingError> {
    let mut rows = 0;
    let (mut healthy, mut failing, mut labelled) = (0, 0, false);
    for (at, group) in groups.iter().enumerate() {
        let here = group.rows.len() / inputs;
        if group.rows.len() % inputs != 0 || !(group.labels.is_empty() || group.labels.len() == here) {
            return Err(TrainingError::Shape {
                group: at,
                numbers: group.rows.len(),
                inputs,
                labels: group.labels.len(),
            });
        }
        if let Some(place) = group.rows.iter().position(|value| !value.is_finite()) {
            return Err(TrainingError::NotFinite { group: at, row: place / inputs, feature: place % inputs });
        }
        rows += here;
        labelled |= !group.labels.is_empty();
        healthy += group.labels.iter().filter(|label| **label == Label::Healthy).count();
        failing += group.labels.iter().filter(|label| **label == Label::Failing).count();
    }
    if !labelled {
        return if rows < error::ROWS_MIN {
            Err(TrainingError::TooFew { rows })
        } else {
            Ok(Kind::Autoencoder)
        };
    }
    if let Some(at) = groups.iter().position(|group| group.labels.is_empty() && !group.rows.is_empty()) {
        return Err(TrainingError::SomeUnlabelled { group: at });
    }
    if healthy == 0 || failing == 0 {
        return Err(TrainingError::OneClass { healthy, failing });
    }
    if healthy < error::CLASS_ROWS_MIN || failing < error::CLASS_ROWS_MIN {
        return Err(TrainingError::TooFewOfClass { healthy, failing });
    }
    Ok(Kind::Classifier)
}

#[cfg(test)]
mod tests;
