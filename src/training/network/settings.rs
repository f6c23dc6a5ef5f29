//! How a network is built and trained.

use super::error::TrainingError;

/// The most numbers that one layer may give, and the most layers.
const LAYER_WIDTH_MAX: usize = 4_096;
const DEPTH_MAX: usize = 16;
/// The most networks whose mean is taken.
const AVERAGED_MAX: usize = 16;

/// How a network is built and trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How many numbers each hidden layer gives, first layer first. An autoencoder goes through these and
    /// back in the reverse order.
    pub hidden: Vec<usize>,
    /// Where a row is a sequence: what comes before the dense layers.
    pub convolution: Option<Convolution>,
    /// After how many epochs training ends, where nothing says that fewer are better.
    pub epochs_max: usize,
    /// So many steps are an epoch, whatever the number of rows.
    pub steps_per_epoch: usize,
    /// So many rows are a step, half of them failing where there are labels.
    pub batch_rows: usize,
    /// The learning rate at the top of its cycle.
    pub learning_rate: f64,
    /// AdamW's, for weights; biases do not decay.
    pub weight_decay: f64,
    /// Into how many folds groups are dealt at most.
    pub folds_max: usize,
    /// Of so many networks, each from a seed of its own, what is kept gives the mean.
    pub averaged: usize,
    /// How far a normalised feature may be from 0.
    pub clip: f32,
    /// Whether logarithms of the features are taken; found out where nothing is said.
    pub log: Option<bool>,
    /// Where every random draw comes from.
    pub seed: u64,
}

/// In which order a row's features form a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// All samples of the first channel, then those of the second.
    ChannelsSamples,
    /// All channels of the first sample, then those of the second.
    SamplesChannels,
}

/// A convolution over the samples of a row, and a ReLU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// How the row is read.
    pub order: Order,
    /// Numbers in one sample.
    pub channels: usize,
    /// Points in time.
    pub samples: usize,
    /// How many filters there are.
    pub filters: usize,
    /// How many samples each sees; odd, so that there are as many samples behind it.
    pub kernel: usize,
}

impl Default for Settings {
    /// 32-16-1 for rows of 32 features. Steps, batch, rate and decay are those of the bearings' detector
    /// (models/README.md), where training three times as long was no better on held-back bearings.
    fn default() -> Self {
        Self {
            hidden: vec![16],
            convolution: None,
            epochs_max: 30,
            steps_per_epoch: 20,
            batch_rows: 128,
            learning_rate: 3e-3,
            weight_decay: 0.1,
            folds_max: 6,
            averaged: 1,
            clip: 10.0,
            log: None,
            seed: 0,
        }
    }
}

impl Settings {
    /// Whether a network of so many `inputs` can be built so.
    pub fn check(&self, inputs: usize) -> Result<(), TrainingError> {
        let refuse = |found: String, expected: &str| {
            Err(TrainingError::Setting { found, expected: expected.to_owned() })
        };
        if !(1..=65_536).contains(&inputs) {
            return refuse(format!("{inputs} features"), "1 to 65,536 of them");
        }
        if self.hidden.len() > DEPTH_MAX
            || self.hidden.iter().any(|width| !(1..=LAYER_WIDTH_MAX).contains(width))
        {
            return refuse(
                format!("hidden layers {:?}", self.hidden),
                "at most 16, each of 1 to 4,096 numbers",
            );
        }
        if self.epochs_max == 0 || self.steps_per_epoch == 0 || self.batch_rows < 2 || self.folds_max < 2 {
            return refuse(
                "no epochs, steps, rows or folds".to_owned(),
                "at least one epoch of one step, two rows a step and two folds",
            );
        }
        if !(1..=AVERAGED_MAX).contains(&self.averaged) {
            return refuse(format!("{} networks to average", self.averaged), "1 to 16 of them");
        }
        let is_rate = |rate: f64, least: f64| rate.is_finite() && rate >= least;
        if !is_rate(self.learning_rate, f64::MIN_POSITIVE)
            || !is_rate(self.weight_decay, 0.0)
            || self.clip <= 0.0
        {
            return refuse("a rate, decay or clip that is none".to_owned(), "numbers above 0");
        }
        let Some(Convolution { channels, samples, filters, kernel, .. }) = self.convolution else {
            return Ok(());
        };
        if channels.checked_mul(samples) != Some(inputs) {
            return refuse(
                format!("{samples} samples of {channels} channels"),
                &format!("as many as there are features, {inputs}"),
            );
        }
        if !(1..=LAYER_WIDTH_MAX).contains(&filters) || kernel % 2 == 0 || kernel > samples {
            return refuse(
                format!("{filters} filters over {kernel} samples"),
                &format!("1 to 4,096 filters over an odd number of samples, at most {samples}"),
            );
        }
        Ok(())
    }
}
